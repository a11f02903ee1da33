//! What `enqueue` refuses and what the relay fails are the same events, rule by rule: each case is asked of the function,
//! and written past it by a plain INSERT for the relay to judge.
//!
//! They may differ where a setting of the relay decides, which the function does not know: the registry, channel templates
//! (a module or aggregate that no channel name can carry), the envelope and the headers that `message.*` adds to the size,
//! a limit other than `outbox.max_message_bytes`; and in a database that is not in UTF-8, where U+0080 to U+009F in a
//! tenant id are for the relay alone to refuse.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::Outbox;
use crate::support::relay::RelayCommand;

/// An event, whole.
#[derive(Debug, Clone)]
struct Case {
    id: String,
    tenant: String,
    event_type: String,
    aggregate_type: String,
    aggregate_id: String,
    payload: String,
    headers: Option<String>,
    occurred_at: Option<&'static str>,
}

impl Case {
    fn new(n: usize) -> Self {
        Self {
            id: format!("e-{n}"),
            tenant: "tenant-abc".into(),
            event_type: "kitchen.task.claimed".into(),
            aggregate_type: "KitchenTask".into(),
            aggregate_id: "task-1".into(),
            payload: "{}".into(),
            headers: None,
            occurred_at: None,
        }
    }
}

/// Texts that are blank to Unicode, and some that only look it.
const BLANK: [&str; 12] = [
    "",
    " ",
    "\t",
    "\n",
    "\u{b}\u{c}\r",
    "\u{85}",
    "\u{a0}",
    "\u{1680}",
    "\u{2000}\u{200a} ",
    "\u{2028}\u{2029}",
    "\u{202f}",
    "\u{205f}\u{3000}",
];
const NOT_BLANK: [&str; 6] = ["\u{200b}", "\u{feff}", "\u{180e}", "ü", " x", "\u{a0}é"];

const TENANTS: &[&str] = &[
    ":",
    "a:b",
    "*",
    "a*",
    ",",
    "a,b",
    "[a",
    "[",
    "a[",
    "a]",
    "a\nb",
    "\r",
    "a\u{1}",
    "a\u{1f}",
    "a\u{7f}",
    "a\u{80}",
    "a\u{9f}",
    "a\u{a0}b",
    "a\u{2028}b",
    "a\u{ad}",
    "é/ü %",
    "a.b",
    "'\"\\",
    "\u{1f600}",
    " [a",
];
const HEADERS: &[&str] = &[
    "{}",
    r#"{"a": 1, "b": "x", "c": null, "d": true}"#,
    r#"{"a": {}}"#,
    r#"{"a": []}"#,
    r#"{"a": [1]}"#,
    "[]",
    "[1]",
    "null",
    "1",
    r#""x""#,
    r#"{"": 1e400}"#,
    r#"{"a": 12345678901234567890}"#,
    r#"{"a": -1e400, "b": "x"}"#,
    r#"{"a": 1e308, "b": "zzz"}"#,
];
const PAYLOADS: &[&str] = &[
    "null",
    "1",
    r#""x""#,
    "[]",
    r#"{"occurredAt": 5}"#,
    r#"{"occurredAt": "soon"}"#,
    r#"{"n": 1e400}"#,
];

/// Every rule of CONTRACT 2, 3 and 6 that one event can break by itself, from both sides.
fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::new(all.len());
        change(&mut case);
        all.push(case);
    };
    add(&|_| {});
    for text in BLANK.into_iter().chain(NOT_BLANK) {
        add(&|c| c.id = text.into());
        add(&|c| c.tenant = text.into());
        add(&|c| c.aggregate_type = text.into());
        add(&|c| c.aggregate_id = text.into());
        for event_type in
            [text.to_owned(), format!("{text}.x"), format!("x.{text}"), format!("x.{text}.y")]
        {
            add(&|c| c.event_type.clone_from(&event_type));
        }
    }
    for event_type in
        ["x", "x.", ".x", "..", "x..", "x..y", ".x.y", "a:b.c", "a.b c", "a.\n", "a\n.b", "a.[*,"]
    {
        add(&|c| c.event_type = event_type.into());
    }
    for tenant in TENANTS.iter().copied() {
        add(&|c| c.tenant = tenant.into());
    }
    for (text, times) in [("x", 2_040), ("x", 2_041), ("é", 1_020), ("é", 1_021)] {
        add(&|c| c.tenant = text.repeat(times));
    }
    for id in ["a:b", "a%b", "x.r7", "1:0", "\"\\\u{1}\u{7f}", &"i".repeat(5_000)] {
        add(&|c| c.id = id.to_owned());
        add(&|c| c.aggregate_id = id.to_owned());
    }
    for headers in HEADERS.iter().copied() {
        add(&|c| c.headers = Some(headers.into()));
    }
    for payload in PAYLOADS.iter().copied() {
        add(&|c| c.payload = payload.into());
    }
    for occurred_at in ["2026-01-23 10:30:00Z", "0001-01-01 00:00:00Z", "9999-12-31 23:59:59.999Z"]
    {
        add(&|c| c.occurred_at = Some(occurred_at));
    }
    all
}

/// Whether `enqueue` takes it; nothing stays behind.
async fn asked_of_enqueue(client: &Client, case: &Case) -> Result<(), String> {
    client.batch_execute("begin").await.unwrap();
    let sql = "select outbox.enqueue($1, $2, $3::text::jsonb, $4, $5, $6, $7::text::timestamptz, $8::text::jsonb)";
    let Case {
        id,
        tenant,
        event_type,
        aggregate_type,
        aggregate_id,
        payload,
        headers,
        occurred_at,
    } = case;
    let asked = client
        .query_one(
            sql,
            &[tenant, event_type, payload, aggregate_type, aggregate_id, id, occurred_at, headers],
        )
        .await;
    client.batch_execute("rollback").await.unwrap();
    asked.map(|_| ()).map_err(|error| {
        let said = error.as_db_error().unwrap_or_else(|| panic!("{case:?}: {error:?}"));
        assert!(said.hint().is_some(), "the function's own refusal, with a hint: {said:?}");
        said.message().to_owned()
    })
}

/// Writes it past `enqueue`.
async fn insert(client: &Client, case: &Case) {
    let sql = "insert into outbox.event (tenant_id, event_type, payload, aggregate_type, aggregate_id, id, occurred_at, headers)
               values ($1, $2, $3::text::jsonb, $4, $5, $6, $7::text::timestamptz, $8::text::jsonb)";
    let Case {
        id,
        tenant,
        event_type,
        aggregate_type,
        aggregate_id,
        payload,
        headers,
        occurred_at,
    } = case;
    client
        .execute(
            sql,
            &[tenant, event_type, payload, aggregate_type, aggregate_id, id, occurred_at, headers],
        )
        .await
        .unwrap();
}

/// What the relay makes of these, in their order: none when published, else the error.
async fn asked_of_the_relay(
    outbox: &Outbox,
    client: &Client,
    cases: &[Case],
) -> Vec<Option<Value>> {
    for case in cases {
        insert(client, case).await;
    }
    let ably = LocalAbly::start().await;
    let mut relay = RelayCommand::new(&outbox.database.dsn(), &ably).arg("--once").start();
    relay.wait();
    let sql = "select status, error::text from outbox.event order by seq";
    let rows = client.query(sql, &[]).await.unwrap();
    let outcome = |(row, case): (&tokio_postgres::Row, &Case)| match row.get::<_, &str>(0) {
        "published" => None,
        "failed" => Some(serde_json::from_str(row.get(1)).unwrap()),
        other => panic!("{other}: {case:?}"),
    };
    rows.iter().zip(cases).map(outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueue_refuses_exactly_what_the_relay_would_fail() {
    let outbox = Outbox::create("parity").await;
    let client = outbox.connect().await;
    // What the function saves the application from knowing about its session.
    client.batch_execute("set standard_conforming_strings = off").await.unwrap();
    let cases = cases();
    let (mut differ, mut refused) = (Vec::new(), 0);
    let relay = asked_of_the_relay(&outbox, &client, &cases).await;
    client.batch_execute("delete from outbox.event").await.unwrap();
    for (case, relay) in cases.iter().zip(&relay) {
        let enqueue = asked_of_enqueue(&client, case).await;
        refused += usize::from(enqueue.is_err());
        if enqueue.is_err() != relay.is_some() {
            differ.push(format!("{case:?}\n  enqueue {enqueue:?}\n  relay {relay:?}"));
        }
        if let Some(error) = relay {
            assert_eq!(error["code"], "VALIDATION_ERROR", "{case:?}");
        }
    }
    assert!(refused > 100, "both see the rules: {refused} of {}", cases.len());
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_that_enqueue_counts_is_the_relays_to_the_byte() {
    let outbox = Outbox::create("paritysize").await;
    let client = outbox.connect().await;
    // Escapes and characters of two to four bytes in every part that counts.
    let odd = "\"\\\u{1}\u{8}\u{c}\n\u{7f}é\u{2028}\u{1f600}/";
    let mut edges = Vec::new();
    for (n, headers) in
        [None, Some(json!({ "h": odd, "n": 1.50, "no": null }).to_string())].into_iter().enumerate()
    {
        let sized = |characters: usize| Case {
            tenant: "té".into(),
            event_type: format!("k.{odd}"),
            aggregate_type: odd.into(),
            aggregate_id: odd.into(),
            payload:
                json!({ "text": format!("{odd}{}", "x".repeat(characters)), "list": [1, {"a": 1}] })
                    .to_string(),
            headers: headers.clone(),
            ..Case::new(100_000 + n * 200_000 + characters)
        };
        let (mut fits, mut too_large) = (0_usize, 66_000);
        while too_large - fits > 1 {
            let middle = fits.midpoint(too_large);
            match asked_of_enqueue(&client, &sized(middle)).await {
                Ok(()) => fits = middle,
                Err(said) => {
                    assert!(said.starts_with("the message would be"), "{said}");
                    too_large = middle;
                }
            }
        }
        edges.extend([sized(fits), sized(too_large)]);
    }
    let relay = asked_of_the_relay(&outbox, &client, &edges).await;
    let codes: Vec<Option<&str>> =
        relay.iter().map(|error| error.as_ref().and_then(|e| e["code"].as_str())).collect();
    let too_large = Some("PAYLOAD_TOO_LARGE");
    assert_eq!(codes, [None, too_large, None, too_large]);
}
