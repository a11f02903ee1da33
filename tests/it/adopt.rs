//! An application's own outbox table, adopted: its rows are published, and learn what became of them.

mod columns;
mod old_publisher;
mod removal;
mod write_back;

use tokio_postgres::{Client, GenericClient};

use crate::support::command::{Ran, run};
use crate::support::outbox::Outbox;
use crate::support::postgres::TestClient;

/// As Prisma makes it from CONTRACT's model: snake_case by `@map`, uuid, an enum.
const MAPPED: &str = r#"
    create schema "tenant";
    create type "tenant"."OutboxStatus" as enum ('pending', 'published', 'failed');
    create table "tenant"."OutboxEvent" (
        "id" uuid not null default gen_random_uuid(),
        "tenant_id" text not null,
        "event_type" text not null,
        "payload" jsonb not null,
        "status" "tenant"."OutboxStatus" not null default 'pending',
        "error" text,
        "created_at" timestamp(3) not null default current_timestamp,
        "published_at" timestamp(3),
        "aggregate_id" text not null,
        "aggregate_type" text not null,
        constraint "OutboxEvent_pkey" primary key ("id")
    )"#;

/// The older shape: camelCase in `public`, cuid, text, json, times with zone.
const CAMEL: &str = r#"
    create table "OutboxEvent" (
        "id" varchar(30) not null primary key,
        "tenantId" varchar(100) not null,
        "eventType" text not null,
        "payload" json not null,
        "status" varchar(12) not null default 'PENDING',
        "error" varchar(60),
        "createdAt" timestamptz not null default current_timestamp,
        "publishedAt" timestamptz,
        "aggregateId" text not null,
        "aggregateType" text not null
    )"#;

const MAPPED_TABLE: &str = "tenant.\"OutboxEvent\"";
const CAMEL_TABLE: &str = "\"OutboxEvent\"";

/// Runs `adopt --table … --yes` and more.
fn adopt(outbox: &Outbox, table: &str, more: &[&str]) -> Ran {
    let args = [&["adopt", "--table", table, "--yes"], more].concat();
    run(&outbox.database.dsn(), &args)
}

/// A database with an outbox and this table.
async fn with_table(hint: &str, sql: &str) -> (Outbox, TestClient) {
    let outbox = Outbox::create(hint).await;
    let client = outbox.connect().await;
    client.batch_execute(sql).await.unwrap();
    (outbox, client)
}

/// The statement that Prisma's `create` sends for the mapped shape; returns the id and the status it got.
async fn insert_mapped(client: &impl GenericClient, tenant: &str, n: i64) -> (String, String) {
    let sql = r#"insert into "tenant"."OutboxEvent" ("id","tenant_id","event_type","payload","status","created_at","aggregate_id","aggregate_type")
        values (gen_random_uuid(), $1, 'kitchen.task.claimed', jsonb_build_object('n', $2::int8),
                cast('pending'::text as "tenant"."OutboxStatus"), now() at time zone 'UTC', 'task-1', 'KitchenTask')
        returning "tenant"."OutboxEvent"."id"::text, "tenant"."OutboxEvent"."status"::text"#;
    let row = client.query_one(sql, &[&tenant, &n]).await.expect("insert");
    (row.get(0), row.get(1))
}

/// The same for the older shape.
async fn insert_camel(client: &Client, id: &str, tenant: &str, n: i64) {
    let sql = r#"insert into "public"."OutboxEvent" ("id","tenantId","eventType","payload","aggregateId","aggregateType")
        values ($1, $2, 'kitchen.task.claimed', json_build_object('n', $3::int8), 'task-1', 'KitchenTask')"#;
    client.execute(sql, &[&id, &tenant, &n]).await.expect("insert");
}
