//! What is in the outbox, and who works on it.

use super::Subject;
use super::finding::{Finding, Report};
use super::server::critical;
use crate::store::diagnose::ServerFacts;
use crate::store::observe::{OBSERVED_MAX, Observation, TableHealth};
use crate::store::session::Store;

const OUTBOX: &str = "outbox";

/// Ages in seconds from which on a pending event is a warning, and critical.
const PENDING_WARN: f64 = 60.0;
const PENDING_CRITICAL: f64 = 300.0;

/// From this share of the notification queue on somebody should look for the listener that does not read.
const NOTIFY_QUEUE_WARN: f64 = 0.5;

/// Dead rows worth a word: so many, and more than the living.
const DEAD_TUPLES_MIN: i64 = 10_000;

pub(super) async fn examine(
    report: &mut Report,
    store: &Store,
    server: &ServerFacts,
    subject: &Subject,
) {
    report.add(relays(server));
    if server.standby || server.read_only {
        return report.add(Finding::skipped(OUTBOX, "readable", "looked at on a primary only"));
    }
    let looked = async { Box::pin(store.observer()).await?.look().await };
    match looked.await {
        Ok(seen) => judge(report, &seen, &store.schema().to_string()),
        Err(error) => report.add(critical(OUTBOX, "readable", &error)),
    }
    let rate = subject.channel_rate;
    report.add(channel_rate(rate));
}

fn judge(report: &mut Report, seen: &Observation, schema: &str) {
    report.add(oldest(seen));
    report.add(holds(&seen.held));
    report.add(dead_letters(seen));
    report.add(notify_queue(seen.notify_queue_usage));
    report.add(table(seen.table, schema));
}

fn relays(server: &ServerFacts) -> Finding {
    let check = "relays";
    let versions: Vec<&str> = server.relays.keys().map(String::as_str).collect();
    match versions[..] {
        [] => Finding::warning(
            OUTBOX,
            check,
            "no relay is connected to this database (or this role may not see it)",
            "start `outbox-relay run`",
        ),
        [one] => Finding::ok(OUTBOX, check, format!("{one}, {} sessions", server.relays[one])),
        ref several => Finding::warning(
            OUTBOX,
            check,
            format!("relays of several versions: {}", several.join(", ")),
            "finish the roll-out: a newer schema refuses older relays at their next start",
        ),
    }
    .measured(versions)
}

fn oldest(seen: &Observation) -> Finding {
    let check = "oldest_pending";
    let more = if seen.pending >= OBSERVED_MAX { "more than " } else { "" };
    let Some(age) = seen.oldest_pending_age else {
        return Finding::ok(OUTBOX, check, "nothing waits").measured(0);
    };
    let says = format!("{more}{} events wait, the oldest for {age:.1} s", seen.pending);
    let remedy =
        "see the findings above and below; `outbox-relay holds list` says who waits and why";
    let finding = if age > PENDING_CRITICAL {
        Finding::critical(OUTBOX, check, says, remedy)
    } else if age > PENDING_WARN {
        Finding::warning(OUTBOX, check, says, remedy)
    } else {
        Finding::ok(OUTBOX, check, says)
    };
    finding.measured(age)
}

fn holds(held: &[(String, i64)]) -> Finding {
    // Being slowed down is routine.
    let lasting = held.iter().filter(|(reason, _)| reason != "throttled_channel");
    let lasting: Vec<String> = lasting.map(|(reason, n)| format!("{n} for {reason}")).collect();
    if lasting.is_empty() {
        return Finding::ok(OUTBOX, "holds", "no tenant is on hold but for its rate");
    }
    Finding::warning(
        OUTBOX,
        "holds",
        format!("tenants on hold: {}", lasting.join(", ")),
        "`outbox-relay holds list` says who waits and why",
    )
    .measured(lasting)
}

fn dead_letters(seen: &Observation) -> Finding {
    if seen.dead_letters == 0 {
        return Finding::ok(OUTBOX, "dead_letters", "none").measured(0);
    }
    let more = if seen.dead_letters >= OBSERVED_MAX { "more than " } else { "" };
    Finding::warning(
        OUTBOX,
        "dead_letters",
        format!("{more}{} failed events wait for a decision", seen.dead_letters),
        "`outbox-relay events list` says why; then `events requeue` or `events discard`",
    )
    .measured(seen.dead_letters)
}

fn notify_queue(usage: f64) -> Finding {
    let says = format!("{:.1} % of the server's notification queue is in use", usage * 100.0);
    let finding = if usage > NOTIFY_QUEUE_WARN {
        let remedy = "end the session that listens inside a transaction; when the queue is full, commits fail";
        Finding::critical(OUTBOX, "notify_queue", says, remedy)
    } else {
        Finding::ok(OUTBOX, "notify_queue", says)
    };
    finding.measured(usage)
}

fn table(table: Option<TableHealth>, schema: &str) -> Finding {
    let check = "dead_rows";
    let Some(table) = table else {
        return Finding::skipped(OUTBOX, check, "PostgreSQL keeps no statistics of the table");
    };
    let (live, dead) = (table.live_tuples, table.dead_tuples);
    let says = format!("{dead} dead rows beside {live} living ones");
    let finding = if dead >= DEAD_TUPLES_MIN && dead > live {
        let remedy = "see old_snapshots and autovacuum above; then vacuum";
        Finding::warning(OUTBOX, check, says, remedy)
            .sql(format!("vacuum (analyze) {}.event;", super::server::quoted(schema)))
    } else {
        Finding::ok(OUTBOX, check, says)
    };
    finding.measured(dead)
}

fn channel_rate(rate: usize) -> Finding {
    let check = "channel_rate";
    if (1..=50).contains(&rate) {
        return Finding::ok(OUTBOX, check, format!("{rate} publishes a second to one channel"))
            .measured(rate);
    }
    Finding::warning(
        OUTBOX,
        check,
        format!("relay.channel_rate is {rate}; Ably takes 50 publishes a second on a channel, on every plan"),
        "set it to 50 divided by the number of relays that publish to one channel, or to 45",
    )
    .measured(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_critical() {
        assert!(format!("{:?}", notify_queue(0.51)).contains("Critical"));
        assert!(format!("{:?}", notify_queue(0.1)).contains("Ok"));
    }

    #[test]
    fn ages_are_judged_by_the_objective() {
        for (age, level) in [(59.0, "Ok"), (61.0, "Warning"), (301.0, "Critical")] {
            let seen = Observation { oldest_pending_age: Some(age), ..Observation::default() };
            assert!(format!("{:?}", oldest(&seen)).contains(level), "{age}");
        }
    }
}
