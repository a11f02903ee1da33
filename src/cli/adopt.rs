//! `outbox-relay adopt`: publish from an outbox table that the application has already.

use super::consent::consent;
use super::failure::Failure;
use super::{Context, assemble, operate, output, table};
use crate::store::adopt::mapping::{Role, Wishes};
use crate::store::adopt::script::Waiting;
use crate::store::adopt::{Adoption, AdoptionPlan, PENDING_COUNT_MAX};
use crate::store::relation::RelationName;
use crate::store::session::Store;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["table", "list", "write_back"]))]
pub(super) struct Options {
    /// The table, as in SQL: 'tenant."OutboxEvent"'
    #[arg(long, value_name = "TABLE", value_parser = RelationName::parse)]
    table: Option<RelationName>,

    /// A column that is not found by its name, such as tenant_id=tenantRef; may be repeated
    #[arg(long = "column", value_name = "ROLE=COLUMN", value_parser = column, requires = "table")]
    columns: Vec<(Role, String)>,

    /// The status of a row that is to be published [default: pending, in any case]
    #[arg(long, value_name = "STATUS", requires = "table")]
    pending: Option<String>,

    /// The status of a published row [default: published, in any case]
    #[arg(long, value_name = "STATUS", requires = "table")]
    published: Option<String>,

    /// The status of a row that can never be published [default: failed, in any case]
    #[arg(long, value_name = "STATUS", requires = "table")]
    failed: Option<String>,

    /// What a row shows while its event waits [default: the published status, so that no other publisher
    /// takes it; `pending` is the truth, and safe only when there is no other publisher]
    #[arg(long, value_name = "STATUS", requires = "table")]
    waiting_as: Option<String>,

    /// Publish the rows that are pending now, too. Not while a publisher runs that reads them without locks
    #[arg(long, requires = "table", conflicts_with = "remove")]
    take_over: bool,

    /// Undo an adoption
    #[arg(long, requires = "table")]
    remove: bool,

    /// Write the SQL to stdout and change nothing
    #[arg(long, requires = "table")]
    print: bool,

    /// Do it without asking
    #[arg(long, requires = "table")]
    yes: bool,

    /// List the adopted tables
    #[arg(long)]
    list: bool,

    /// With --list: one JSON object a line
    #[arg(long, requires = "list")]
    json: bool,

    /// Write back now what could not be written back before
    #[arg(long)]
    write_back: bool,
}

fn column(text: &str) -> Result<(Role, String), String> {
    let (role, name) =
        text.split_once('=').ok_or("write ROLE=COLUMN, such as tenant_id=tenantRef")?;
    let role = Role::named(role).ok_or_else(|| {
        format!("{role:?} is no role; one of id, tenant_id, event_type, payload, status, aggregate_type, \
                 aggregate_id, created_at, occurred_at, published_at, error, headers")
    })?;
    Ok((role, name.to_owned()))
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let configuration = &context.configuration;
    // The direct connection: waiting for a lock is nothing for a pooler.
    let store = assemble::store(&configuration.settings, configuration.direct_url()?)?;
    let work = async {
        match &options.table {
            Some(name) if options.remove => remove(&store, name, options, context).await,
            Some(name) => adopt(&store, name, options, context).await,
            None if options.list => list(&store, options.json).await,
            None => Ok(store.write_back_owed().await?),
        }
    };
    operate::unless_stopped(&context.stop, work).await
}

async fn adopt(
    store: &Store,
    name: &RelationName,
    options: &Options,
    context: &Context,
) -> Result<(), Failure> {
    let wishes = Wishes {
        columns: options.columns.clone(),
        pending: options.pending.clone(),
        published: options.published.clone(),
        failed: options.failed.clone(),
        waiting_as: options.waiting_as.clone(),
    };
    let waiting = if options.take_over { Waiting::TakeOver } else { Waiting::Leave };
    let adoption = Adoption { table: name.clone(), wishes, waiting };
    let plan = store.plan_adoption(&adoption).await?;
    if options.print {
        return output::line(&format!("begin;\n{}\ncommit;", plan.sql.trim_end()));
    }
    output::line(plan.sql.trim_end())?;
    describe(&plan, options.take_over)?;
    consent(
        options.yes,
        &format!("installs these triggers on {name}"),
        "--print to only see the SQL",
        &context.stop,
    )
    .await?;
    store.adopt(&adoption, &plan).await?;
    output::line(&format!("adopted {name}"))?;
    if plan.pending > 0 && !options.take_over {
        let pending = pending(&plan);
        tracing::warn!(
            "{pending} stay with the publisher that has them; when it has stopped: outbox-relay adopt --table '{name}' --take-over"
        );
    }
    if !plan.mapping.hides() {
        tracing::warn!(
            "rows stay {:?} until they are published: no other publisher may run on {name}",
            plan.mapping.pending
        );
    }
    Ok(())
}

/// The columns found and what becomes of rows, on stdout behind the SQL, as comments: all of it can be run.
fn describe(plan: &AdoptionPlan, take_over: bool) -> Result<(), Failure> {
    output::line("")?;
    for (role, column) in plan.mapping.columns() {
        let name = table::clean(&column.name);
        output::line(&format!(
            "-- {:<14} {name} ({})",
            role.as_str(),
            table::clean(&column.sql_type)
        ))?;
    }
    let mapping = &plan.mapping;
    output::line(&format!(
        "-- {:?} rows become events and show {:?} until they are {:?} or {:?}",
        mapping.pending, mapping.waiting_as, mapping.published, mapping.failed
    ))?;
    let fate = if take_over { "taken over" } else { "left to the publisher that has them" };
    output::line(&format!("-- pending now: {}, {fate}", pending(plan)))
}

fn pending(plan: &AdoptionPlan) -> String {
    let more = if plan.pending >= PENDING_COUNT_MAX { " or more" } else { "" };
    operate::counted(plan.pending, "row") + more
}

async fn remove(
    store: &Store,
    name: &RelationName,
    options: &Options,
    context: &Context,
) -> Result<(), Failure> {
    let sql = store.plan_removal(name).await?;
    if options.print {
        return output::line(&format!("begin;\n{}\ncommit;", sql.trim_end()));
    }
    let what = format!("removes outbox-relay's triggers from {name}");
    consent(options.yes, &what, "--print to only see the SQL", &context.stop).await?;
    store.unadopt(name).await?;
    output::line(&format!("{name} is as it was found"))
}

async fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let all = store.adopted().await?;
    if json {
        return all.iter().try_for_each(operate::json);
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|adopted| {
            let trouble = adopted.problem.or(adopted.error).unwrap_or_default();
            let counts = [adopted.pending.to_string(), adopted.owed.to_string()];
            let [pending, owed] = counts;
            vec![adopted.relation, adopted.waiting_as, adopted.adopted_at, pending, owed, trouble]
        })
        .collect();
    let head = ["TABLE", "WAITING AS", "SINCE", "PENDING", "OWED", "TROUBLE"];
    operate::lines(&table::lines(&head, &rows))
}
