//! One line per delivered event, and the summary: for a person, or as JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::report::{Counts, Percentiles};
use super::subscriber::Delivery;

/// Whether a text has colours.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colours: bool,
}

impl Style {
    /// With colours or without.
    pub fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// Without colours.
    pub fn plain() -> Self {
        Self::new(false)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if !self.colours || text.trim().is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// What is known of a delivered event.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When it was received, by the wall clock.
    pub time: Timestamp,
    /// From COMMIT to the subscriber.
    pub latency: Option<Duration>,
    /// The latency is only that since the event's own time: somebody else wrote it.
    pub estimated: bool,
    /// It had arrived before.
    pub duplicate: bool,
}

#[derive(Serialize)]
struct EventLine<'a> {
    r#type: &'static str,
    time: String,
    channel: &'a str,
    tenant: Option<&'a str>,
    event_type: &'a str,
    id: Option<&'a str>,
    aggregate_id: Option<&'a str>,
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// The line of one event as JSON. No payload: it is for the shape of the traffic, not its content.
pub fn event_json(delivery: &Delivery, seen: Seen) -> String {
    let envelope = delivery.envelope.as_ref();
    let line = EventLine {
        r#type: "event",
        time: format!("{:.3}", seen.time),
        channel: &delivery.channel,
        tenant: envelope.map(|e| e.tenant_id.as_str()),
        event_type: envelope.map_or(&delivery.name, |e| &e.event_type),
        id: envelope.map(|e| e.id.as_str()),
        aggregate_id: envelope.map(|e| e.aggregate_id.as_str()),
        latency_ms: seen.latency.map(millis),
        estimated: seen.estimated,
        duplicate: seen.duplicate,
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&line).unwrap_or_default()
}

/// The line of one event for a person.
pub fn event_text(delivery: &Delivery, seen: Seen, style: Style) -> String {
    let envelope = delivery.envelope.as_ref();
    let time = seen.time.strftime("%H:%M:%S%.3f").to_string();
    let tenant = envelope.map_or(delivery.channel.as_str(), |e| &e.tenant_id);
    let event_type = envelope.map_or(&delivery.name, |e| &e.event_type);
    let detail = envelope.map_or_else(
        || "(not an event of an outbox)".to_owned(),
        |e| detail(&e.aggregate_id, &e.payload),
    );
    let latency = seen.latency.map_or_else(
        || "-".to_owned(),
        |latency| format!("{}{:.1} ms", if seen.estimated { "~" } else { "" }, millis(latency)),
    );
    let mark = if seen.duplicate { "  duplicate" } else { "" };
    format!(
        "{}  {}  {}  {:<28} {:>10}{}",
        style.dim(&time),
        style.paint("36", &format!("{:<16}", printable(tenant))),
        format_args!("{:<22}", printable(event_type)),
        printable(&detail),
        latency,
        style.paint("31", mark),
    )
}

/// What the event is about, and what a kitchen's payload adds to that.
fn detail(aggregate_id: &str, payload: &Value) -> String {
    let mut detail = aggregate_id.to_owned();
    if let Some(employee) = payload.get("employeeId").and_then(Value::as_str) {
        detail.push(' ');
        detail.push_str(employee);
    }
    if let Some(percent) = payload.get("progressPercent").and_then(Value::as_u64) {
        detail.push_str(&format!(" {percent}%"));
    }
    detail
}

/// Rows may hold anything, and a terminal obeys control characters. Long texts are cut.
fn printable(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

#[derive(Serialize)]
struct SummaryLine {
    published: u64,
    delivered: u64,
    duplicates: u64,
    out_of_order: u64,
    latency_ms: LatencyLine,
}

#[derive(Serialize)]
struct LatencyLine {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// The last line as JSON. `published` is what the outbox says.
pub fn summary_json(published: u64, counts: Counts, latency: Option<Percentiles>) -> String {
    let line = SummaryLine {
        published,
        delivered: counts.delivered,
        duplicates: counts.duplicates,
        out_of_order: counts.out_of_order,
        latency_ms: LatencyLine {
            p50: latency.map(|l| millis(l.p50)),
            p95: latency.map(|l| millis(l.p95)),
            p99: latency.map(|l| millis(l.p99)),
        },
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// The last line for a person.
pub fn summary_text(published: u64, counts: Counts, latency: Option<Percentiles>) -> String {
    let Counts { delivered, duplicates, out_of_order } = counts;
    let mut text = format!(
        "{published} published, {delivered} delivered, {duplicates} duplicates, {out_of_order} out of order"
    );
    if let Some(Percentiles { p50, p95, p99 }) = latency {
        let [p50, p95, p99] = [p50, p95, p99].map(millis);
        text.push_str(&format!(
            "; commit to subscriber p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms"
        ));
    }
    text
}

/// Milliseconds with their microseconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn millis(latency: Duration) -> f64 {
    latency.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::dev::subscriber::Envelope;

    fn delivery(tenant: &str) -> Delivery {
        let envelope = Envelope {
            id: "i".to_owned(),
            tenant_id: tenant.to_owned(),
            aggregate_id: "task-abc-7".to_owned(),
            occurred_at: "2026-01-23T10:30:00.000Z".to_owned(),
            event_type: "kitchen.task.progress".to_owned(),
            payload: serde_json::json!({ "employeeId": "emp-03", "progressPercent": 40 }),
        };
        Delivery {
            received: Instant::now(),
            envelope: Some(envelope),
            channel: format!("tenant:{tenant}"),
            name: "kitchen.task.progress".to_owned(),
        }
    }

    fn seen() -> Seen {
        Seen {
            time: "2026-01-23T10:30:00.1234Z".parse().unwrap(),
            latency: Some(Duration::from_micros(3_210)),
            estimated: false,
            duplicate: false,
        }
    }

    #[test]
    fn an_event_is_one_aligned_line() {
        let text = event_text(&delivery("bistro-nord"), seen(), Style::plain());
        assert_eq!(
            text,
            "10:30:00.123  bistro-nord       kitchen.task.progress   task-abc-7 emp-03 40%            3.2 ms"
        );
        let yours = Seen { estimated: true, duplicate: true, ..seen() };
        let text = event_text(&delivery("bistro-nord"), yours, Style::plain());
        assert!(text.ends_with("~3.2 ms  duplicate"), "{text}");
    }

    #[test]
    fn control_characters_of_a_row_do_not_reach_the_terminal() {
        let evil = delivery("a\u{1b}[2Jb\nc");
        let text = event_text(&evil, seen(), Style::plain());
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let json = event_json(&evil, seen());
        assert!(!json.chars().any(char::is_control), "{json:?}");
        assert!(event_text(&evil, seen(), Style::new(true)).contains("\u{1b}[36m"));
    }

    #[test]
    fn an_event_as_json_says_type_first_and_no_payload() {
        let json = event_json(&delivery("bistro-nord"), seen());
        assert_eq!(
            json,
            r#"{"type":"event","time":"2026-01-23T10:30:00.123Z","channel":"tenant:bistro-nord","tenant":"bistro-nord","event_type":"kitchen.task.progress","id":"i","aggregate_id":"task-abc-7","latency_ms":3.21}"#
        );
    }

    #[test]
    fn what_is_no_event_is_shown_all_the_same() {
        let other = Delivery { envelope: None, name: "hello".to_owned(), ..delivery("a") };
        let unknown = Seen { latency: None, ..seen() };
        assert!(event_text(&other, unknown, Style::plain()).contains("hello"));
        assert!(event_json(&other, unknown).contains(r#""tenant":null,"event_type":"hello""#));
    }

    #[test]
    fn the_summary_has_its_keys_in_the_promised_order() {
        let counts = Counts { delivered: 200, duplicates: 0, out_of_order: 0 };
        let ms = Duration::from_millis;
        let latency = Percentiles { p50: ms(2), p95: ms(3), p99: Duration::from_micros(4_500) };
        assert_eq!(
            summary_json(200, counts, Some(latency)),
            r#"{"published":200,"delivered":200,"duplicates":0,"out_of_order":0,"latency_ms":{"p50":2.0,"p95":3.0,"p99":4.5}}"#
        );
        assert!(
            summary_json(0, counts, None)
                .ends_with(r#""latency_ms":{"p50":null,"p95":null,"p99":null}}"#)
        );
        assert_eq!(
            summary_text(200, counts, Some(latency)),
            "200 published, 200 delivered, 0 duplicates, 0 out of order; commit to subscriber p50 2.0 ms, p95 3.0 ms, p99 4.5 ms"
        );
    }
}
