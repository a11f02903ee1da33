//! `outbox-relay capture`: changes of a business table become events.

use super::failure::{Exit, Failure};
use super::{Context, assemble, operate, output, table};
use crate::store::capture::{Capture, EventTypes, Payload};
use crate::store::relation::RelationName;
use crate::store::session::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Install triggers that write an event for each changed row; again to change them, or for new partitions
    Add(AddOptions),
    /// List captured tables
    List(ListOptions),
    /// Remove the triggers
    Remove(RemoveOptions),
}

#[derive(Debug, clap::Args)]
struct AddOptions {
    /// The table, as in SQL
    #[arg(value_name = "TABLE", value_parser = RelationName::parse)]
    table: RelationName,

    /// Types of the events: orders.order.{created,updated,deleted}, or those of them that are wanted
    #[arg(long = "event-type", value_name = "TYPE", required = true, num_args = 1..=3)]
    event_types: Vec<String>,

    /// The column that says whose a row is
    #[arg(long, value_name = "COLUMN")]
    tenant_column: String,

    /// Kind of the thing that events are about [default: the table's name]
    #[arg(long, value_name = "TYPE")]
    aggregate_type: Option<String>,

    /// What events say of a row: `all`, `changed` (the key and what an update has changed), or columns, with
    /// commas between them
    #[arg(long, value_name = "WHAT", default_value = "all")]
    payload: String,

    /// A column that no payload says (one of the key is in aggregateId all the same); may be repeated
    #[arg(long, value_name = "COLUMN")]
    except: Vec<String>,

    /// Write the SQL to stdout and change nothing
    #[arg(long)]
    print: bool,
}

#[derive(Debug, clap::Args)]
struct ListOptions {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RemoveOptions {
    /// The table, as in SQL
    #[arg(value_name = "TABLE", value_parser = RelationName::parse)]
    table: RelationName,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let configuration = &context.configuration;
    let store = assemble::store(&configuration.settings, configuration.direct_url()?)?;
    let work = async {
        match &options.action {
            Action::Add(options) => add(&store, options).await,
            Action::List(options) => list(&store, options.json).await,
            Action::Remove(options) => remove(&store, &options.table).await,
        }
    };
    operate::unless_stopped(&context.stop, work).await
}

async fn add(store: &Store, options: &AddOptions) -> Result<(), Failure> {
    let types = event_types(&options.event_types).ok_or_else(|| {
        let cause =
            format!("--event-type {} does not say what is what", options.event_types.join(" "));
        Failure::new(
            Exit::Usage,
            cause,
            "write 'module.thing.{created,updated,deleted}', or those of them that are wanted",
        )
    })?;
    let payload = match options.payload.as_str() {
        "all" => Payload::All,
        "changed" => Payload::Changed,
        columns => {
            Payload::Columns(columns.split(',').map(|name| name.trim().to_owned()).collect())
        }
    };
    let capture = Capture {
        table: options.table.clone(),
        types,
        tenant_column: options.tenant_column.clone(),
        aggregate_type: options.aggregate_type.clone(),
        payload,
        except: options.except.clone(),
    };
    if options.print {
        let sql = store.plan_capture(&capture).await?;
        return output::line(&format!("begin;\n{}\ncommit;", sql.trim_end()));
    }
    store.capture(&capture).await?;
    output::line(&format!("captured {}", capture.table))
}

/// Three types in the order insert, update, delete; fewer by their last words. Braces are taken apart here, where
/// no shell has.
fn event_types(words: &[String]) -> Option<EventTypes> {
    let spread: Vec<String> = words.iter().flat_map(|word| spread(word)).collect();
    if let [created, updated, deleted] = &spread[..] {
        let all = [created, updated, deleted].map(|word| Some(word.clone()));
        let [created, updated, deleted] = all;
        return Some(EventTypes { created, updated, deleted });
    }
    let mut types = EventTypes::default();
    for word in spread {
        let place = match word.rsplit('.').next()? {
            "created" | "inserted" | "added" => &mut types.created,
            "updated" | "changed" => &mut types.updated,
            "deleted" | "removed" => &mut types.deleted,
            _ => return None,
        };
        if place.replace(word).is_some() {
            return None;
        }
    }
    (types != EventTypes::default()).then_some(types)
}

fn spread(word: &str) -> Vec<String> {
    let parts = word.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        Some(inside.split(',').map(|part| format!("{before}{part}{after}")).collect())
    });
    parts.unwrap_or_else(|| vec![word.to_owned()])
}

async fn remove(store: &Store, name: &RelationName) -> Result<(), Failure> {
    if store.release_capture(name).await? {
        return output::line(&format!("{name} is no longer captured"));
    }
    let cause = format!("{name} is not captured");
    Err(Failure::new(Exit::BadData, cause, "see `outbox-relay capture list`"))
}

async fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let all = store.captured().await?;
    if json {
        return all.iter().try_for_each(|captured| {
            let definition: serde_json::Value =
                serde_json::from_str(&captured.definition).unwrap_or_default();
            operate::json(&serde_json::json!({
                "relation": captured.relation, "definition": definition, "problem": captured.problem,
            }))
        });
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|c| vec![c.relation, c.definition, c.problem.unwrap_or_default()])
        .collect();
    operate::lines(&table::lines(&["TABLE", "WHAT", "TROUBLE"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(words: &[&str]) -> Option<[Option<String>; 3]> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        event_types(&words).map(|t| [t.created, t.updated, t.deleted])
    }

    #[test]
    fn types_come_in_braces_apart_or_by_their_last_word() {
        let [a, b, c] = ["o.created", "o.updated", "o.deleted"].map(|t| Some(t.to_owned()));
        let all = Some([a, b.clone(), c]);
        assert_eq!(types(&["o.{created,updated,deleted}"]), all);
        assert_eq!(types(&["o.created", "o.updated", "o.deleted"]), all);
        assert_eq!(types(&["o.updated"]), Some([None, b, None]));
        for bad in [&["o.placed"][..], &["o.updated", "o.changed"]] {
            assert_eq!(types(bad), None, "{bad:?}");
        }
    }
}
