//! The publisher that the application had before, still running on a table that a relay publishes from:
//! no event is published twice, in every shape of it that the README calls safe.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use outbox_relay::emulator::API_KEY_DEFAULT;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use super::{
    CAMEL, CAMEL_TABLE, MAPPED, MAPPED_TABLE, adopt, insert_camel, insert_mapped, with_table,
};
use crate::support::local_ably::{LocalAbly, http};
use crate::support::outbox::{Outbox, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::RelayProcess;

/// How the old publisher takes rows.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// `select … where status = 'pending'`, publish, `update … set status = 'published'`.
    Plain,
    /// The same in one transaction, `for update skip locked`.
    Locking,
    /// `update … set status = 'busy' … returning`, publish, update again.
    Claiming,
}

/// Which table of CONTRACT's the application has, and how its words are spelt.
#[derive(Clone, Copy, PartialEq)]
enum Table {
    Mapped,
    Camel,
}

impl Table {
    fn sql(self) -> String {
        match self {
            Self::Mapped => {
                MAPPED.replace("'published', 'failed'", "'published', 'failed', 'busy'")
            }
            Self::Camel => CAMEL.to_owned(),
        }
    }

    fn name(self) -> &'static str {
        if self == Self::Mapped { MAPPED_TABLE } else { CAMEL_TABLE }
    }

    fn columns(self) -> &'static str {
        match self {
            Self::Mapped => "id::text, tenant_id, event_type, payload::text",
            Self::Camel => "id::text, \"tenantId\", \"eventType\", payload::text",
        }
    }

    /// Of creation and publication, and the words for rows that wait and that are published.
    fn words(self) -> [&'static str; 4] {
        match self {
            Self::Mapped => ["created_at", "published_at", "pending", "published"],
            Self::Camel => ["\"createdAt\"", "\"publishedAt\"", "PENDING", "PUBLISHED"],
        }
    }

    async fn insert(self, client: &TestClient, tenant: &str, n: i64) -> String {
        if self == Self::Mapped {
            return insert_mapped(&**client, tenant, n).await.0;
        }
        let id = format!("cl-{tenant}-{n}");
        insert_camel(client, &id, tenant, n).await;
        id
    }
}

struct OldPublisher {
    table: Table,
    client: TestClient,
    http: reqwest::Client,
    url: String,
    shape: Shape,
}

impl OldPublisher {
    async fn run(mut self, stop: CancellationToken) -> usize {
        let mut published = 0;
        while !stop.is_cancelled() {
            published += self.turn().await;
        }
        published
    }

    async fn turn(&mut self) -> usize {
        let (table, columns) = (self.table.name(), self.table.columns());
        let [created_at, published_at, waits, published] = self.table.words();
        let pending = format!("where status = '{waits}' order by {created_at} limit 20");
        let take = match self.shape {
            Shape::Plain => format!("select {columns} from {table} {pending}"),
            Shape::Locking => {
                format!("select {columns} from {table} {pending} for update skip locked")
            }
            Shape::Claiming => format!(
                "update {table} set status = 'busy' where id in (select id from {table} {pending} for update skip locked) returning {columns}"
            ),
        };
        if self.shape == Shape::Locking {
            self.client.batch_execute("begin").await.unwrap();
        }
        let rows = self.client.query(&take, &[]).await.unwrap();
        for row in &rows {
            self.publish(row).await;
            let settle = format!(
                "update {table} set status = '{published}', {published_at} = now() where id::text = $1"
            );
            self.client.execute(&settle, &[&row.get::<_, String>(0)]).await.unwrap();
        }
        if self.shape == Shape::Locking {
            self.client.batch_execute("commit").await.unwrap();
        }
        rows.len()
    }

    async fn publish(&self, row: &Row) {
        let text = |i: usize| row.get::<_, String>(i);
        let payload: Value = serde_json::from_str(&text(3)).unwrap();
        let envelope = json!({ "id": text(0), "version": 1, "tenantId": text(1), "eventType": text(2), "payload": payload });
        let url = format!("{}/channels/tenant%3A{}/messages", self.url, text(1));
        let key = base64::engine::general_purpose::STANDARD.encode(API_KEY_DEFAULT);
        let body = json!({ "name": text(2), "data": envelope.to_string() }).to_string();
        let reply = self.http.post(url).header("authorization", format!("Basic {key}"));
        let reply = reply
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .expect("publish");
        assert_eq!(reply.status(), 201);
    }
}

/// Writers that never stop while the table is adopted under them.
fn write(
    table: Table,
    outbox: &Outbox,
    stop: &CancellationToken,
    writers: &mut JoinSet<Vec<String>>,
) {
    for writer in 0..3 {
        let (connect, stop) = (outbox.database.dsn(), stop.clone());
        writers.spawn(async move {
            let client = crate::support::postgres::connect(&connect).await;
            let mut ids = Vec::new();
            while !stop.is_cancelled() {
                let n = i64::try_from(ids.len()).unwrap();
                ids.push(table.insert(&client, &format!("t{writer}"), n).await);
                // Slower than the old publisher, which shall look for work while the relay has some.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            ids
        });
    }
}

async fn nothing_is_published_twice(table: Table, shape: Shape, hint: &str, first: &[&str]) {
    let (outbox, client) = with_table(hint, &table.sql()).await;
    let (name, [_, published_at, _, published]) = (table.name(), table.words());
    let ably = LocalAbly::start().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let (writing, publishing) = (CancellationToken::new(), CancellationToken::new());
    let (mut writers, mut publishers) = (JoinSet::new(), JoinSet::new());
    write(table, &outbox, &writing, &mut writers);
    let old = outbox.connect().await;
    let old = OldPublisher { table, client: old, http: http(), url: ably.url(), shape };
    publishers.spawn(old.run(publishing.clone()));
    wait_until(&client, &format!("select count(*) > 20 from {name} where status = '{published}'"))
        .await;
    adopt(&outbox, name, first).ok();
    // Tenants that had pending rows wait for the old publisher; here they shall be published beside it.
    client.batch_execute("delete from outbox.hold where reason = 'adopted'").await.unwrap();
    // Both at work: rows before the adoption are the old publisher's, those after it the relay's.
    wait_until(&client, "select count(*) > 200 from outbox.event").await;
    writing.cancel();
    let mut written: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    publishing.cancel();
    let by_old: usize = publishers.join_all().await.into_iter().sum();
    // Stopped, it may have left rows behind.
    adopt(&outbox, name, &["--take-over"]).ok();
    wait_until(&client, "select not exists (select from outbox.event where status = 'pending')")
        .await;
    wait_until(&client, &format!("select not exists (select from {name} where status <> '{published}' or {published_at} is null)")).await;
    let mut times: HashMap<String, usize> = HashMap::new();
    for got in ably.accepted().await {
        *times.entry(got.envelope["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "published twice: {twice:?}");
    let mut seen: Vec<String> = times.into_keys().collect();
    seen.sort_unstable();
    written.sort_unstable();
    assert_eq!(seen.len(), written.len());
    assert_eq!(seen, written, "every event once");
    assert!(
        by_old > 20 && by_old < written.len(),
        "both have published: {by_old} of {}",
        written.len()
    );
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_publisher_that_reads_without_locks_nothing_is_published_twice() {
    nothing_is_published_twice(Table::Mapped, Shape::Plain, "plain", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_locks_its_rows_may_even_run_while_they_are_taken_over() {
    nothing_is_published_twice(Table::Mapped, Shape::Locking, "locking", &["--take-over"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_claims_by_status_may_even_run_while_rows_are_taken_over() {
    nothing_is_published_twice(Table::Mapped, Shape::Claiming, "claiming", &["--take-over"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_publisher_of_an_older_table_nothing_is_published_twice() {
    nothing_is_published_twice(Table::Camel, Shape::Plain, "oldplain", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_older_table_may_be_taken_over_beside_a_publisher_that_locks_them() {
    nothing_is_published_twice(Table::Camel, Shape::Locking, "oldlocking", &["--take-over"]).await;
}
