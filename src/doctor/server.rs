//! The server, the session, and the way notifications take.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::finding::{Finding, Report};
use super::masked::masked;
use super::{Subject, Trouble, outbox, schema};
use crate::store::diagnose::ServerFacts;
use crate::store::error::StoreError;
use crate::store::session::Store;

const POSTGRES: &str = "postgres";

/// The oldest PostgreSQL that works.
const VERSION_MIN: i32 = 140_000;

/// How long our own notification may take.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);

/// From here on the network between relay and database is part of every event's latency.
const ROUND_TRIP_FAR: Duration = Duration::from_millis(50);

/// Clocks that differ by more make logs hard to compare. No decision of the relay depends on them.
const CLOCK_OFFSET_MAX_MS: i64 = 2_000;

/// Share of the server's connections from which on a failover may find none left.
const CONNECTIONS_FULL: f64 = 0.9;

/// What is wrong as a finding: the store's errors know their remedies.
pub(super) fn critical(category: &'static str, check: &'static str, error: &StoreError) -> Finding {
    Finding::critical(category, check, error.to_string(), error.remedy())
}

pub(super) async fn examine(report: &mut Report, subject: &Subject) {
    let (store, direct) = match &subject.stores {
        Ok(stores) => stores,
        Err(Trouble { cause, remedy }) => {
            return report.add(Finding::critical(POSTGRES, "reachable", cause, remedy));
        }
    };
    let mut examination = match Box::pin(store.examination()).await {
        Ok(examination) => examination,
        Err(error) => return report.add(critical(POSTGRES, "reachable", &error)),
    };
    match examination.server().await {
        Ok(facts) => {
            let text = format!("{} as {}", store.describe(), facts.role);
            report.add(Finding::ok(POSTGRES, "reachable", text));
            judge(report, &facts, subject.max_snapshot_age);
            notifications(report, store, direct, &facts).await;
            schema::examine(report, &mut examination, &facts, subject, store).await;
            outbox::examine(report, store, &facts, subject).await;
        }
        Err(error) => report.add(critical(POSTGRES, "reachable", &error)),
    }
}

fn judge(report: &mut Report, facts: &ServerFacts, snapshot_age: Duration) {
    report.add(version(facts.version));
    report.add(tls(facts));
    report.add(writable(facts));
    report.add(encoding(facts));
    report.add(clock(facts.clock_ms));
    report.add(connections(facts));
    report.add(durability(facts));
    report.add(synchronous_commit(facts));
    report.add(idle_timeout(facts));
    report.add(snapshots(facts, snapshot_age));
}

fn version(version: i32) -> Finding {
    let says = format!("PostgreSQL {}.{}", version / 10_000, version % 10_000);
    if version < VERSION_MIN {
        return Finding::critical(POSTGRES, "version", says, "use PostgreSQL 14 or newer")
            .measured(version);
    }
    Finding::ok(POSTGRES, "version", says).measured(version)
}

fn tls(facts: &ServerFacts) -> Finding {
    let local = facts.address.as_deref().is_none_or(|address| {
        address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    match &facts.tls {
        Some(tls) => Finding::ok(POSTGRES, "tls", tls.as_str()),
        None if local => Finding::ok(POSTGRES, "tls", "none, and none needed on this machine"),
        None => Finding::warning(
            POSTGRES,
            "tls",
            "passwords and events cross the network in the clear",
            "set sslmode=verify-full in DATABASE_URL and DIRECT_URL",
        )
        .measured("none"),
    }
}

fn writable(facts: &ServerFacts) -> Finding {
    if facts.standby {
        return critical(POSTGRES, "primary", &StoreError::Standby).measured("standby");
    }
    if facts.read_only {
        let database = &facts.database;
        return critical(POSTGRES, "primary", &StoreError::ReadOnly).measured("read only").sql(
            format!("alter database {} reset default_transaction_read_only;", quoted(database)),
        );
    }
    Finding::ok(POSTGRES, "primary", "a primary that takes writes")
}

fn encoding(facts: &ServerFacts) -> Finding {
    if facts.encoding == "SQL_ASCII" {
        let error = StoreError::NoEncoding { database: facts.database.clone() };
        return critical(POSTGRES, "encoding", &error).measured(facts.encoding.as_str());
    }
    Finding::ok(POSTGRES, "encoding", facts.encoding.as_str())
}

fn clock(clock_ms: i64) -> Finding {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let offset = clock_ms - i64::try_from(here).unwrap_or(i64::MAX);
    clock_offset(POSTGRES, "PostgreSQL's clock", offset)
}

pub(super) fn clock_offset(category: &'static str, whose: &str, offset_ms: i64) -> Finding {
    let says = format!("{whose} is {offset_ms} ms ahead of this machine's");
    let finding = if offset_ms.abs() > CLOCK_OFFSET_MAX_MS {
        let remedy =
            "let NTP set both clocks; publishing does not depend on it, logs and tokens do";
        Finding::warning(category, "clock", says, remedy)
    } else {
        Finding::ok(category, "clock", says)
    };
    finding.measured(offset_ms)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of connections")]
fn connections(facts: &ServerFacts) -> Finding {
    let (used, most) = (facts.connections, facts.connections_max);
    let says = format!("{used} of {most} connections are in use");
    let finding = if used as f64 >= most as f64 * CONNECTIONS_FULL {
        let remedy = "raise max_connections, or put a pooler in front of the application";
        Finding::warning(POSTGRES, "connections", says, remedy)
    } else {
        Finding::ok(POSTGRES, "connections", says)
    };
    finding.measured(used)
}

fn durability(facts: &ServerFacts) -> Finding {
    let check = "durability";
    if !facts.fsync {
        let remedy =
            "turn fsync on, unless all data may be lost; then read nothing into what is published";
        let says = "fsync is off: a crash of the machine loses committed events";
        return Finding::warning(POSTGRES, check, says, remedy)
            .measured(facts.fsync)
            .sql("alter system set fsync = on; select pg_catalog.pg_reload_conf();");
    }
    Finding::ok(POSTGRES, check, "fsync is on")
}

fn synchronous_commit(facts: &ServerFacts) -> Finding {
    let check = "commit";
    if facts.synchronous_commit != "off" {
        return Finding::ok(POSTGRES, check, "commits are on disk when they are answered");
    }
    let says =
        "synchronous_commit is off: a crash loses the events of the last moments, published or not";
    let remedy = "turn it on for this database, or accept that";
    let sql = format!("alter database {} set synchronous_commit = on;", quoted(&facts.database));
    Finding::warning(POSTGRES, check, says, remedy)
        .measured(facts.synchronous_commit.as_str())
        .sql(sql)
}

fn idle_timeout(facts: &ServerFacts) -> Finding {
    let ms = facts.idle_session_timeout_ms;
    if ms == 0 {
        return Finding::ok(POSTGRES, "idle_timeout", "idle sessions are left alone");
    }
    let says = format!("idle_session_timeout ends the listening session every {ms} ms");
    let remedy = "turn it off for the relay's role";
    let sql = format!("alter role {} set idle_session_timeout = 0;", quoted(&facts.role));
    Finding::warning(POSTGRES, "idle_timeout", says, remedy).measured(ms).sql(sql)
}

fn snapshots(facts: &ServerFacts, most: Duration) -> Finding {
    let check = "old_snapshots";
    if let Some(slot) = facts.idle_slots.first() {
        let says = format!("replication slot {slot} is not in use and holds vacuum back");
        let remedy = "let its consumer come back, or drop it if nobody will";
        return Finding::warning(POSTGRES, check, says, remedy).measured(facts.idle_slots.clone());
    }
    let oldest = facts.old_snapshots.first();
    let Some((old, age)) = oldest.and_then(|old| Some((old, old.age_s?))) else {
        return Finding::ok(POSTGRES, check, "nobody holds vacuum back");
    };
    let says = format!("{} has had a snapshot for {age:.0} s", old.who);
    if age <= most.as_secs_f64() {
        return Finding::ok(POSTGRES, check, says).measured(age);
    }
    let query = masked(&old.query);
    let says = format!("{says}: dead rows of the outbox stay until it ends; it runs: {query}");
    let finding = Finding::warning(POSTGRES, check, says, "end that transaction").measured(age);
    match old.pid {
        Some(pid) => finding.sql(format!("select pg_catalog.pg_terminate_backend({pid});")),
        None => finding,
    }
}

async fn notifications(report: &mut Report, store: &Store, direct: &Store, facts: &ServerFacts) {
    let check = "listen";
    if facts.standby || facts.read_only {
        return report.add(Finding::skipped(POSTGRES, check, "notifications need a primary"));
    }
    let finding = match Box::pin(store.round_trip(direct, ROUND_TRIP_MAX)).await {
        Ok(Some(took)) => {
            let ms = took.as_secs_f64() * 1_000.0;
            let says = format!("a notification takes {ms:.1} ms");
            let finding = if took > ROUND_TRIP_FAR {
                let remedy =
                    "run the relay next to the database: in its region, better in its zone";
                Finding::warning(POSTGRES, check, says, remedy)
            } else {
                Finding::ok(POSTGRES, check, says)
            };
            finding.measured((ms * 10.0).round() / 10.0)
        }
        Ok(None) => Finding::critical(
            POSTGRES,
            check,
            "LISTEN was accepted, but our own notification did not arrive: a pooler in transaction mode",
            "set DIRECT_URL to a connection that is not pooled; until then the relay polls",
        )
        .measured(format!("not within {} s", ROUND_TRIP_MAX.as_secs())),
        Err(error) => critical(POSTGRES, check, &error),
    };
    report.add(finding);
}

/// An identifier as SQL takes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(what: &serde_json::Value) -> ServerFacts {
        let mut facts = serde_json::json!({
            "version": 150_000, "database": "app", "role": "r", "superuser": false, "standby": false,
            "read_only": false, "encoding": "UTF8", "tls": null, "address": null, "clock_ms": 0,
            "idle_session_timeout_ms": 0, "synchronous_commit": "on", "fsync": true, "autovacuum": true,
            "max_message_bytes": null, "connections": 1, "connections_max": 100, "relays": {},
            "old_snapshots": [], "idle_slots": [],
        });
        let more = what.as_object().unwrap().clone();
        facts.as_object_mut().unwrap().extend(more);
        serde_json::from_value(facts).unwrap()
    }

    /// Level, what was measured and the remedy, of a finding that no test server can be brought to.
    fn judged(finding: Finding) -> (String, serde_json::Value, String) {
        let mut report = Report::default();
        report.add(finding);
        let json = report.json()["checks"][0].clone();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        (text("level"), json["measured"].clone(), text("remedy"))
    }

    #[test]
    fn what_no_test_server_can_be_is_judged_all_the_same() {
        let of = |what: serde_json::Value| facts(&what);
        let cases = [
            (version(130_008), "critical", serde_json::json!(130_008), "14 or newer"),
            (version(180_001), "ok", serde_json::json!(180_001), ""),
            (clock_offset(POSTGRES, "x", -3_000), "warning", serde_json::json!(-3_000), "NTP"),
            (clock_offset(POSTGRES, "x", 1_999), "ok", serde_json::json!(1_999), ""),
            (
                tls(&of(serde_json::json!({"address": "10.0.0.7"}))),
                "warning",
                serde_json::json!("none"),
                "sslmode=verify-full",
            ),
            (
                tls(&of(serde_json::json!({"address": "127.0.0.1"}))),
                "ok",
                serde_json::Value::Null,
                "",
            ),
            (
                connections(&of(serde_json::json!({"connections": 95}))),
                "warning",
                serde_json::json!(95),
                "max_connections",
            ),
            (
                durability(&of(serde_json::json!({"fsync": false}))),
                "warning",
                serde_json::json!(false),
                "turn fsync on",
            ),
            (
                snapshots(&of(serde_json::json!({"idle_slots": ["gone"]})), Duration::from_secs(1)),
                "warning",
                serde_json::json!(["gone"]),
                "drop it",
            ),
        ];
        for (finding, level, measured, remedy) in cases {
            let shown = format!("{finding:?}");
            let (found, value, told) = judged(finding);
            assert_eq!((found.as_str(), value), (level, measured), "{shown}");
            assert!(told.contains(remedy) && (level == "ok") == told.is_empty(), "{shown}");
        }
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
