//! `outbox-relay events show`.

use serde::Serialize;
use serde_json::Value;

use super::{list, select};
use crate::cli::failure::Failure;
use crate::cli::table::clean;
use crate::cli::{Context, holds, operate};
use crate::domain::event::Seq;
use crate::store::decide::HeldTenant;
use crate::store::stored_event::{AuditRow, StoredEvent};

/// The most decisions about one event that are shown.
const AUDIT_MAX: i64 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The event's id, or its position in the outbox
    #[arg(value_name = "ID")]
    id: String,

    /// Show its payload and headers, which may be personal data
    #[arg(long)]
    payload: bool,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Everything about one event; one object with `--json`.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    event: StoredEvent,
    remedy: Option<&'static str>,
    hold: Option<HeldTenant>,
    audit: Vec<AuditRow>,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let mut operator = operate::operator(context).await?;
    let found =
        select::events(&mut operator, std::slice::from_ref(&options.id), options.payload).await?;
    let Some(event) = found.into_iter().next() else {
        return Err(Failure::internal("the event is gone"));
    };
    let hold = operator.holds("", Some(&event.tenant_id), 1, holds::BACKLOG_MAX).await?;
    let audit = operator.audit_of(Seq(event.seq), AUDIT_MAX).await?;
    let remedy = event.remedy();
    let shown = Shown { event, remedy, hold: hold.into_iter().next(), audit };
    if options.json {
        return operate::json(&shown);
    }
    operate::lines(&text(&shown))
}

fn text(shown: &Shown) -> Vec<String> {
    let event = &shown.event;
    let mut lines = Vec::new();
    let mut say = |name: &str, value: &str| lines.push(format!("{name:<12} {}", clean(value)));
    say("id", &event.id);
    say("position", &event.seq.to_string());
    say("tenant", &event.tenant_id);
    say("type", &event.event_type);
    say("aggregate", &format!("{} {}", event.aggregate_type, event.aggregate_id));
    say("status", &event.status);
    say("attempts", &event.attempts.to_string());
    say("requeued", &format!("{} times", event.generation));
    for (name, time) in [
        ("occurred", event.occurred_at.as_ref()),
        ("created", Some(&event.created_at)),
        ("published", event.published_at.as_ref()),
    ] {
        time.into_iter().for_each(|time| say(name, time));
    }
    if event.error.is_some() {
        let message = event.error_text("message").unwrap_or_default();
        say("error", &format!("{}: {message}", list::code(event)));
    }
    shown.remedy.into_iter().for_each(|remedy| say("remedy", remedy));
    if let Some(discarded) = event.discarded() {
        let part = |name: &str| discarded.get(name).and_then(Value::as_str).unwrap_or("?");
        say("discarded", &format!("{} by {}: {}", part("at"), part("by"), part("reason")));
    }
    if let Some(hold) = &shown.hold {
        say("hold", &holds::in_words(hold));
    }
    for entry in &shown.audit {
        say("audit", &in_words(entry));
    }
    match (&event.payload, &event.headers) {
        (Some(payload), headers) => {
            say("payload", payload.get());
            headers.iter().for_each(|headers| say("headers", headers.get()));
        }
        (None, _) => say("payload", "not shown: it may be personal data; --payload shows it"),
    }
    lines
}

fn in_words(entry: &AuditRow) -> String {
    let AuditRow { at, actor, db_role, action, count, filter, reason, .. } = entry;
    let mut text = format!("{at} {action} by {actor}, role {db_role}");
    if let Some(filter) = filter {
        text += &format!(", one of {count} by filter {filter}");
    }
    if let Some(reason) = reason {
        text += &format!(": {reason}");
    }
    text
}
