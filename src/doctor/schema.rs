//! The schema and this role's privileges.

use super::Subject;
use super::finding::{Finding, Report};
use super::server::{critical, quoted};
use crate::store::diagnose::{Examination, SchemaFacts, ServerFacts};
use crate::store::error::StoreError;
use crate::store::migrate::StepState;
use crate::store::session::Store;

const SCHEMA: &str = "schema";
const PRIVILEGES: &str = "privileges";

/// Indexes of the event table, and what works without each only by reading everything.
const INDEXES: [(&str, &str, &str); 5] = [
    (
        "event_pending",
        "the claim",
        "create index concurrently event_pending on {} (tenant_id, seq) where status = 'pending';",
    ),
    ("event_pkey", "settling", "alter table {} add primary key (seq);"),
    ("event_id_key", "finding an event by its id", "alter table {} add unique (id);"),
    (
        "event_failed",
        "listing failures",
        "create index concurrently event_failed on {} (seq) where status = 'failed';",
    ),
    (
        "event_undecided",
        "ending a block",
        "create index concurrently event_undecided on {} (tenant_id, seq) where status = 'failed' and not (error ? 'discarded');",
    ),
];

pub(super) async fn examine(
    report: &mut Report,
    examination: &mut Examination,
    server: &ServerFacts,
    subject: &Subject,
    store: &Store,
) {
    let facts = match examination.schema().await {
        Ok(facts) => facts,
        Err(error) => return report.add(critical(SCHEMA, "there", &error)),
    };
    let name = store.schema().to_string();
    if !facts.there {
        let (schema, database) = (name, server.database.clone());
        return report.add(critical(
            SCHEMA,
            "there",
            &StoreError::SchemaMissing { schema, database },
        ));
    }
    let table = format!("{}.event", quoted(&name));
    report.add(Finding::ok(SCHEMA, "there", format!("{table} is there")));
    // Asked first: what the role may not see ends the transaction of what comes after.
    let enough = privileges(examination, server, &name).await;
    report.add(version(examination).await);
    report.add(triggers(&facts, &table));
    report.add(functions(&facts, store));
    report.add(indexes(&facts, &table));
    if facts.partitioned {
        report.add(partitions(&facts, &name));
    }
    report.add(plan(examination).await);
    report.add(safety(&facts, &table));
    report.add(autovacuum(&facts, server, &table));
    report.add(limits(server, subject));
    report.add(enough);
    report.add(excess(&facts, server, &table));
    report.add(public(&facts, &table));
}

async fn version(examination: &mut Examination) -> Finding {
    let check = "version";
    match examination.migrations().await {
        Err(error) => critical(SCHEMA, check, &error),
        Ok(steps) => {
            let edited = steps.iter().find(|s| s.state == StepState::Changed && !s.repeatable);
            let missing = steps.iter().find(|s| s.state == StepState::Missing);
            let outdated = steps.iter().find(|s| s.state == StepState::Changed);
            match (edited, missing, outdated) {
                (Some(step), ..) => {
                    critical(SCHEMA, check, &StoreError::SchemaEdited { step: step.name.clone() })
                        .measured(step.name.as_str())
                }
                (_, Some(step), _) => {
                    critical(SCHEMA, check, &StoreError::SchemaOlder { step: step.name.clone() })
                        .measured(step.name.as_str())
                }
                (.., Some(step)) => Finding::warning(
                    SCHEMA,
                    check,
                    format!("{} is of another version of this program", step.name),
                    "run `outbox-relay migrate up`",
                )
                .measured(step.name.as_str()),
                (None, None, None) => {
                    Finding::ok(SCHEMA, check, format!("all {} steps are applied", steps.len()))
                }
            }
        }
    }
}

fn triggers(facts: &SchemaFacts, table: &str) -> Finding {
    let check = "triggers";
    for (name, without) in [
        ("event_bell", "events wait for the sweep"),
        ("event_guard", "a published event may become pending again"),
        ("event_again", "events that are requeued may wait for up to 10 s"),
    ] {
        match facts.triggers.get(name).map(String::as_str) {
            None => {
                let remedy =
                    "run `outbox-relay migrate up` after removing its line from schema_history";
                let step = format!(
                    "delete from {} where name = '{name}';",
                    table.replace(".event", ".schema_history")
                );
                let says = format!("trigger {name} is missing: {without}");
                return Finding::critical(SCHEMA, check, says, remedy).measured(name).sql(step);
            }
            // Fires on the replication origin only, as is right, or always.
            Some("O" | "A") => {}
            Some(_) => {
                let says = format!("trigger {name} is disabled: {without}");
                return Finding::critical(SCHEMA, check, says, "enable it")
                    .measured(name)
                    .sql(format!("alter table {table} enable trigger {name};"));
            }
        }
    }
    Finding::ok(SCHEMA, check, "bell and guard are there and enabled")
}

fn functions(facts: &SchemaFacts, store: &Store) -> Finding {
    let changed = facts.changed_functions(store.schema());
    if changed.is_empty() {
        return Finding::ok(SCHEMA, "functions", "unchanged");
    }
    Finding::critical(
        SCHEMA,
        "functions",
        format!("{} is not as this program made it", changed.join(", ")),
        "see who changed it; `outbox-relay migrate print` has the right text, to be run with psql",
    )
    .measured(changed)
}

fn partitions(facts: &SchemaFacts, schema: &str) -> Finding {
    let (ahead, rows) = (facts.partitions_ahead, facts.in_default);
    let says = format!(
        "{ahead} partitions are ahead of the last position, {rows} events are in the default one"
    );
    if ahead > 0 {
        return Finding::ok(SCHEMA, "partitions", says);
    }
    let remedy = "grant a relay EXECUTE on make_partitions (`migrate grants`), or call it now";
    Finding::warning(SCHEMA, "partitions", says, remedy)
        .sql(format!("select {}.make_partitions();", quoted(schema)))
}

fn indexes(facts: &SchemaFacts, table: &str) -> Finding {
    for (name, use_for, create) in INDEXES {
        let create = create.replace("{}", table);
        match facts.indexes.get(name) {
            Some(true) => {}
            Some(false) => {
                let index = table.replace(".event", &format!(".{name}"));
                let says = format!("index {name} is invalid: {use_for} reads the whole table");
                return Finding::critical(SCHEMA, "indexes", says, "make it anew")
                    .measured(name)
                    .sql(format!("reindex index concurrently {index};"));
            }
            None => {
                let says = format!("index {name} is missing: {use_for} reads the whole table");
                return Finding::critical(SCHEMA, "indexes", says, "make it")
                    .measured(name)
                    .sql(create);
            }
        }
    }
    Finding::ok(SCHEMA, "indexes", "all there and valid")
}

async fn plan(examination: &Examination) -> Finding {
    let check = "claim_plan";
    let plans = match examination.claim_plans().await {
        Ok(plans) => plans,
        Err(error) => {
            return Finding::skipped(
                SCHEMA,
                check,
                format!("the claim cannot be explained: {error}"),
            );
        }
    };
    let bad = plans
        .iter()
        .find(|(_, plan)| plan.contains("Seq Scan on event") || !plan.contains("event_pending"));
    match bad {
        Some((name, plan)) => Finding::critical(
            SCHEMA,
            check,
            format!("{name} does not read by index event_pending"),
            "run `analyze` on the table; if that does not help, look at its indexes",
        )
        .measured(plan.as_str()),
        None => Finding::ok(SCHEMA, check, "the claim reads by index event_pending"),
    }
}

fn safety(facts: &SchemaFacts, table: &str) -> Finding {
    let check = "table";
    if facts.unlogged == Some(true) {
        let says = "the event table is unlogged: a crash of PostgreSQL empties it";
        return Finding::critical(SCHEMA, check, says, "make it logged, at a quiet time")
            .measured("unlogged")
            .sql(format!("alter table {table} set logged;"));
    }
    if facts.row_security == Some(true) {
        let says =
            "row level security is on: what its policies hide from the relay is never published";
        return Finding::critical(SCHEMA, check, says, "turn it off; roles protect this table")
            .measured("row level security")
            .sql(format!("alter table {table} disable row level security;"));
    }
    Finding::ok(SCHEMA, check, "logged, without row level security")
}

fn autovacuum(facts: &SchemaFacts, server: &ServerFacts, table: &str) -> Finding {
    let check = "autovacuum";
    if facts.autovacuum_off {
        let says = "autovacuum is off for the event table: it only grows";
        return Finding::critical(SCHEMA, check, says, "turn it on")
            .measured("table")
            .sql(format!("alter table {table} reset (autovacuum_enabled);"));
    }
    if !server.autovacuum {
        let says = "autovacuum is off for the whole server";
        return Finding::critical(SCHEMA, check, says, "turn it on")
            .measured("server")
            .sql("alter system set autovacuum = on; select pg_catalog.pg_reload_conf();");
    }
    Finding::ok(SCHEMA, check, "on")
}

async fn privileges(examination: &Examination, server: &ServerFacts, schema: &str) -> Finding {
    let check = "enough";
    match examination.lacking().await {
        Err(error) => critical(PRIVILEGES, check, &error),
        Ok(lacking) if lacking.is_empty() => {
            Finding::ok(PRIVILEGES, check, format!("{} may claim and settle", server.role))
        }
        Ok(lacking) => {
            let role = quoted(&server.role);
            let grants = lacking.iter().map(|what| format!("grant {what} to {role};"));
            let says = format!("{} lacks {}", server.role, lacking.join("; "));
            let remedy = format!("run this as the owner of {schema}");
            Finding::critical(PRIVILEGES, check, says, remedy)
                .measured(lacking.clone())
                .sql(grants.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn excess(facts: &SchemaFacts, server: &ServerFacts, table: &str) -> Finding {
    let (check, role) = ("not_too_many", &server.role);
    let says = if server.superuser {
        format!("{role} is a superuser")
    } else if facts.owner.as_ref() == Some(role) {
        format!("{role} owns the event table")
    } else if !facts.too_much.is_empty() {
        let many = facts.too_much.join(", ");
        let sql = format!("revoke {many} on {table} from {};", quoted(role));
        let says = format!("{role} has {many} on the event table");
        return Finding::warning(PRIVILEGES, check, says, "take it away: no relay needs it")
            .measured(facts.too_much.clone())
            .sql(sql);
    } else {
        return Finding::ok(PRIVILEGES, check, format!("{role} has no more than it needs"));
    };
    let remedy =
        "let the relay run as a role that may only claim and settle: `outbox-relay migrate grants`";
    Finding::warning(PRIVILEGES, check, says, remedy).measured(role.as_str())
}

fn public(facts: &SchemaFacts, table: &str) -> Finding {
    if facts.public.is_empty() {
        return Finding::ok(PRIVILEGES, "public", "nobody else may read the events");
    }
    let many = facts.public.join(", ");
    Finding::warning(
        PRIVILEGES,
        "public",
        format!("every role of this server has {many} on the event table, payloads included"),
        "take it away",
    )
    .measured(facts.public.clone())
    .sql(format!("revoke all on {table} from public;"))
}

/// `enqueue` refuses by the database's limit, the relay by its own.
fn limits(server: &ServerFacts, subject: &Subject) -> Finding {
    let check = "message_bytes";
    let ours = subject.max_message_bytes;
    let theirs = server.max_message_bytes.as_deref().map_or(Ok(65_536), str::parse::<usize>);
    match theirs {
        Ok(theirs) if theirs == ours => {
            Finding::ok(SCHEMA, check, format!("{ours} for enqueue and for the relay"))
        }
        Ok(theirs) => Finding::warning(
            SCHEMA,
            check,
            format!("enqueue takes messages of {theirs} bytes, the relay of {ours}"),
            "give both the limit of your Ably package",
        )
        .measured(theirs)
        .sql(format!(
            "alter database {} set outbox.max_message_bytes = {ours};",
            quoted(&server.database)
        )),
        Err(_) => Finding::critical(
            SCHEMA,
            check,
            "outbox.max_message_bytes is no number: enqueue fails",
            "set it to a number of bytes",
        )
        .measured(server.max_message_bytes.as_deref().unwrap_or_default())
        .sql(format!(
            "alter database {} reset outbox.max_message_bytes;",
            quoted(&server.database)
        )),
    }
}
