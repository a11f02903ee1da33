//! Rows that nobody expects: other encodings, odd characters, absurd numbers, depths and sizes. Each is published as
//! it is or fails alone, with memory bounded and its neighbours unharmed.

use outbox_relay::domain::message::MESSAGE_BYTES_MAX_DEFAULT;
use outbox_relay::store::error::StoreError;
use serde_json::Value;

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert, store_at, wait_until};
use crate::support::postgres::{TestDatabase, connect};
use crate::support::relay::RelayProcess;

/// Most memory of a relay, in MiB, whatever the rows are. It starts with about 20, built for debugging.
const MEMORY_MAX: u64 = 120;

async fn in_encoding(hint: &str, encoding: &str) -> String {
    let database = TestDatabase::create(hint).await;
    let client = database.connect().await;
    let name = format!("{}_{}", database.name(), encoding.to_lowercase());
    let sql = format!(
        "create database {name} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
    );
    client.batch_execute(&sql).await.unwrap();
    database.dsn().replace(database.name(), &name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_another_encoding_is_published_in_utf_8() {
    let (dsn, ably) = (in_encoding("latin", "LATIN1").await, LocalAbly::start().await);
    store_at(&dsn, "outbox").migrate_up().await.unwrap();
    let client = connect(&dsn).await;
    insert(&client, "küche", r#"{"n":0,"dish":"crème brûlée"}"#).await;
    let refused = client.execute("select $1::text", &[&"😀"]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "22P05", "what it cannot hold, it refuses");
    let relay = RelayProcess::start(&dsn, &ably);
    let got = ably.wait_for(1).await;
    assert_eq!(
        (got[0].channel.as_str(), got[0].envelope["payload"]["dish"].as_str()),
        ("tenant:küche", Some("crème brûlée"))
    );
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_an_encoding_is_refused_at_the_start() {
    let (dsn, ably) = (in_encoding("ascii", "SQL_ASCII").await, LocalAbly::start().await);
    store_at(&dsn, "outbox").migrate_up().await.unwrap();
    // Such a row, in no matter which tenant, would end every claim that meets it.
    let client = connect(&dsn).await;
    client
        .batch_execute(
            r#"insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
               values ('a', convert_from('\x80ff', 'SQL_ASCII'), 'b', 'c.d', '{}')"#,
        )
        .await
        .unwrap();
    let error = store_at(&dsn, "outbox").session().await.unwrap_err();
    assert!(
        matches!(error, StoreError::NoEncoding { .. }) && error.remedy().contains("UTF8"),
        "{error}"
    );
    let mut relay = RelayProcess::start(&dsn, &ably);
    assert_eq!(relay.wait(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_character_is_refused_where_the_event_is_written() {
    let (outbox, ably) = (Outbox::create("nul").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
               values ('a', 'b', 'c', 'd.e', $1::text::jsonb)";
    let error = client.execute(sql, &[&r#"{"n":0,"s":"a\u0000b"}"#]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22P05");
    // Written out, six characters: an escaped backslash, and no character at all.
    client.execute(sql, &[&r#"{"n":0,"s":"a\\u0000b\u001f\u007f\ud83d\ude00"}"#]).await.unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(1).await;
    assert_eq!(got[0].envelope["payload"]["s"], "a\\u0000b\u{1f}\u{7f}😀");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_no_float_can_hold_arrive_as_postgresql_prints_them() {
    let (outbox, ably) = (Outbox::create("numbers").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let numbers =
        "[9007199254740993, 123456789012345678901234567890, 1e400, -1e-400, -0.0, 1.000, 0.1e-7]";
    insert(&client, "a", numbers).await;
    let printed: String =
        client.query_one("select payload::text from outbox.event", &[]).await.unwrap().get(0);
    assert!(
        printed.contains("9007199254740993, 123456789012345678901234567890, 1000"),
        "{printed}"
    );
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let (_, envelope) = ably.wait_for_texts(1).await.remove(0);
    assert!(envelope.ends_with(&format!(",\"payload\":{printed}}}")), "{envelope}");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_ten_thousand_deep_goes_through() {
    let (outbox, ably) = (Outbox::create("deep").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client.batch_execute("set max_stack_depth = '7MB'").await.unwrap();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    insert(&client, "a", &deep).await;
    // Headers must be flat; these are not, and nobody may run out of stack over them.
    client
        .execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers)
             values ('a', 'b', 'c', 'd.e', '{}', $1::text::jsonb)",
            &[&format!("{{\"h\":{deep}}}")],
        )
        .await
        .unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let (_, envelope) = ably.wait_for_texts(1).await.remove(0);
    assert!(envelope.ends_with(&format!(",\"payload\":{deep}}}")));
    relay.wait_for_log("failed", 1);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!((count(&client, "published").await, count(&client, "failed").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_100_mb_fail_alone_and_take_no_memory() {
    let (outbox, ably) = (Outbox::create("huge").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             values ('a', 'b', 'c', 'd.e', jsonb_build_object('n', 0, 'f', repeat('x', 100000000)));
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'a', 'b', 'c', 'd.e', payload from outbox.event, generate_series(1, 39);
             -- Stored in 460 kB each: many of them are as bad.
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             values ('c', 'b', 'c', 'd.e', jsonb_build_object('n', 0, 'f', repeat('x', 40000000)));
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'c', 'b', 'c', 'd.e', payload from outbox.event, generate_series(1, 9) where tenant_id = 'c'",
        )
        .await
        .unwrap();
    for n in 0..3 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        insert(&client, "b", &format!("{{\"n\":{n},\"f\":\"{}\"}}", "y".repeat(60_000))).await;
    }
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_for(6).await;
    wait_until(&client, "select count(*) = 50 from outbox.event where status = 'failed'").await;
    let peak = relay.peak_memory();
    println!("peak memory: {peak} MiB");
    assert!(peak < MEMORY_MAX, "{peak} MiB");
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!((count(&client, "failed").await, count(&client, "pending").await), (50, 0));
    let codes: i64 = client
        .query_one(
            "select count(*) from outbox.event where error ->> 'code' = 'PAYLOAD_TOO_LARGE'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(codes, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_json_is_never_much_larger_than_its_text() {
    let client = Outbox::create("stored").await.connect().await;
    // The claim takes eight for its bound: see read_runs.sql.
    for element in ["1", "-1", "0", "null", "\"\"", "[]", "{}", "{\"\":1}", "1.5", "[[1]]"] {
        let json = format!("[{}]", vec![element; 20_000].join(","));
        let row = client
            .query_one(
                "select pg_column_size(j)::float8 / octet_length(j::text) from (select $1::text::jsonb as j) x",
                &[&json],
            )
            .await
            .unwrap();
        let ratio: f64 = row.get(0);
        println!("{element}: {ratio:.2}");
        assert!(ratio <= 4.1, "{element}: {ratio}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_in_any_script_have_their_own_channels() {
    let (outbox, ably) = (Outbox::create("scripts").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let tenants = [
        "😀🍜",
        "👩\u{200d}🍳",
        "مطبخ",
        "מטבח-1",
        "\u{202e}txt",
        "é",
        "e\u{301}",
        "厨房/1?x=y&z#%2F",
        "a b+c",
        "..",
        "\u{feff}bom",
        "𝕜",
    ];
    for tenant in tenants {
        insert(&client, tenant, r#"{"n":0}"#).await;
    }
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let mut got: Vec<String> =
        ably.wait_for(tenants.len()).await.into_iter().map(|m| m.channel).collect();
    // One by one they go in the path of a request, not in the body of a batch.
    for tenant in tenants {
        insert(&client, tenant, r#"{"n":1}"#).await;
    }
    let again = ably.wait_for(2 * tenants.len()).await;
    got.sort();
    let mut expected: Vec<String> =
        tenants.iter().map(|tenant| format!("tenant:{tenant}")).collect();
    expected.sort();
    assert_eq!(got, expected, "none is another, normalised or cut");
    assert!(again.iter().all(|m| m.envelope["tenantId"] == m.channel["tenant:".len()..]));
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_exactly_the_limit_is_published_and_one_byte_more_fails() {
    let (outbox, ably) = (Outbox::create("limit").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert(&client, "small", r#"{"f": ""}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let (_, envelope) = ably.wait_for_texts(1).await.remove(0);
    let room = MESSAGE_BYTES_MAX_DEFAULT - envelope.len() - "kitchen.task.claimed".len();
    // Two bytes each in UTF-8, and escaped in JSON: it is the bytes that are sent which count.
    for filler in [
        "x".repeat(room),
        "é".repeat(room / 2) + &"x".repeat(room % 2),
        "\\\"".repeat(room / 2) + &"x".repeat(room % 2),
    ] {
        insert(&client, "exact", &format!(r#"{{"f": "{filler}"}}"#)).await;
        insert(&client, "wider", &format!(r#"{{"f": "{filler}z"}}"#)).await;
    }
    let got = ably.wait_for_texts(4).await;
    relay.wait_for_log("failed", 3);
    assert_eq!(relay.terminate(), Some(0));
    assert!(got[1..].iter().all(|(channel, _)| channel == "tenant:exact"));
    let failed = client
        .query("select tenant_id, error::text from outbox.event where status = 'failed'", &[])
        .await
        .unwrap();
    assert_eq!(failed.len(), 3);
    for row in failed {
        let error: Value = serde_json::from_str(row.get(1)).unwrap();
        assert_eq!((row.get::<_, &str>(0), &error["code"]), ("wider", &"PAYLOAD_TOO_LARGE".into()));
        assert!(error["message"].as_str().unwrap().contains("65537"), "{error}");
    }
}
