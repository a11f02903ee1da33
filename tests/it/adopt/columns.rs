//! Which tables can be adopted, and what is said of those that cannot.

use tokio_postgres::error::SqlState;

use super::{CAMEL, CAMEL_TABLE, MAPPED, MAPPED_TABLE, adopt, run, with_table};

const ODD: &str = r#"
    create schema "We""ird $body$ :'schema' {{relation}}";
    create table "We""ird $body$ :'schema' {{relation}}"."t';drop table x;--" (
        "key $$ '1'" text primary key, "Mandant{{id}}" uuid, "type" text, "data" json, "status" text,
        "aggregateType" text, aggregate_id integer, "E\rror" jsonb
    )"#;

/// A change of the table, how it is adopted then, and what is said: cause and remedy.
const UNMAPPED: [(&str, &[&str], &str, &str); 13] = [
    (
        "",
        &["adopt", "--table", "nowhere.x", "--yes"],
        "there is no table \"nowhere\".\"x\"",
        "schema.table",
    ),
    (
        "alter table \"OutboxEvent\" rename \"tenantId\" to \"tenantRef\"",
        &["adopt", "--table", CAMEL_TABLE, "--yes"],
        "looks like tenant_id",
        "--column tenant_id=COLUMN (its columns are: id, tenantRef, eventType",
    ),
    (
        "",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenant"],
        "no column \"tenant\"",
        "tenantRef",
    ),
    (
        "",
        &[
            "adopt",
            "--table",
            CAMEL_TABLE,
            "--yes",
            "--column",
            "tenant_id=tenantRef",
            "--column",
            "payload=error",
        ],
        "payload must be json or jsonb",
        "--column payload=COLUMN",
    ),
    (
        "alter table \"OutboxEvent\" add aggregate_type text",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenantRef"],
        "has both \"aggregateType\" and \"aggregate_type\"",
        "--column aggregate_type=aggregateType",
    ),
    (
        "alter table \"OutboxEvent\" drop aggregate_type, add check (status <> 'PUBLISHED' or \"publishedAt\" is not null)",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenantRef"],
        "does not take rows with status \"PUBLISHED\"",
        "--waiting-as",
    ),
    (
        "create view v as select 1 as id",
        &["adopt", "--table", "v", "--yes"],
        "is a view",
        "the table that the rows are in",
    ),
    (
        "alter table \"OutboxEvent\" drop constraint \"OutboxEvent_pkey\"",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenantRef"],
        "no index",
        "primary key",
    ),
    (
        "create table \"Späte\" (primary key (id)) inherits (\"OutboxEvent\")",
        // Only ASCII's capitals need quotes.
        &["adopt", "--table", "\"Späte\"", "--yes"],
        "is a part of public.\"OutboxEvent\"",
        "name public.\"OutboxEvent\"",
    ),
    (
        "",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenantRef"],
        "other tables inherit from \"public\".\"OutboxEvent\"",
        "partitioned table",
    ),
    (
        "drop table \"Späte\"; alter table \"OutboxEvent\" drop \"publishedAt\" cascade, add primary key (id),
         add \"publishedAt\" timestamptz generated always as (\"createdAt\") stored",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenantRef"],
        "column \"publishedAt\" of \"public\".\"OutboxEvent\" is generated",
        "--column published_at=COLUMN",
    ),
    (
        "alter table \"OutboxEvent\" drop \"publishedAt\", enable row level security, force row level security;
         do $$ begin create role keeper_of_camels; exception when duplicate_object then null; end $$;
         alter table \"OutboxEvent\" owner to keeper_of_camels",
        &["adopt", "--table", CAMEL_TABLE, "--yes", "--column", "tenant_id=tenantRef"],
        "row security is forced on \"public\".\"OutboxEvent\"'s owner",
        "no force row level security",
    ),
    (
        "",
        &["adopt", "--table", "outbox.event", "--yes"],
        "the outbox itself",
        "the application's own",
    ),
];

#[tokio::test]
async fn a_table_that_cannot_be_mapped_is_refused_with_what_to_say() {
    let (outbox, client) = with_table("unmapped", CAMEL).await;
    let url = outbox.database.dsn();
    for (change, args, cause, remedy) in UNMAPPED {
        client.batch_execute(change).await.unwrap();
        run(&url, args).fails(65, &[cause, remedy]);
    }
    run(&url, &["adopt", "--table", "a.b.c"]).fails(2, &["is no table's name"]);
    run(&url, &["adopt", "--table", "a", "--column", "x=y"]).fails(2, &["is no role"]);
    let left: i64 = client
        .query_one("select count(*) from pg_proc where proname like 'adopted%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "nothing was installed");
    client
        .batch_execute(
            "alter table \"OutboxEvent\" owner to current_user; drop role if exists keeper_of_camels",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_table_whose_ids_are_numbers_would_have_the_same_ids_and_is_refused() {
    let sql = MAPPED.replace(
        "\"id\" uuid not null default gen_random_uuid()",
        "\"id\" bigint generated always as identity",
    );
    assert_ne!(sql, MAPPED);
    let (outbox, client) = with_table("numbers", &sql).await;
    client
        .batch_execute("create table tenant.second (like tenant.\"OutboxEvent\" including all)")
        .await
        .unwrap();
    adopt(&outbox, MAPPED_TABLE, &[]).ok();
    let refused = adopt(&outbox, "tenant.second", &[]);
    refused.fails(65, &["as are those of \"tenant\".\"OutboxEvent\"", "--schema outbox2"]);
    adopt(&outbox, MAPPED_TABLE, &[]).ok();
    client
        .batch_execute(
            "insert into tenant.\"OutboxEvent\" (tenant_id, event_type, payload, aggregate_id, aggregate_type)
             values ('a', 'a.b', '{}', '1', 'A')",
        )
        .await
        .unwrap();
    let id: String = client.query_one("select id from outbox.event", &[]).await.unwrap().get(0);
    assert_eq!(id, "1");
}

/// They act for the owner of the table: who may call them by a table of his own would write and hide what he likes.
#[tokio::test]
async fn generated_functions_can_be_called_by_nobody_else() {
    let (outbox, client) = with_table("nobodyelse", MAPPED).await;
    let role = format!("stranger of {}", outbox.database.name());
    adopt(&outbox, MAPPED_TABLE, &[]).ok();
    client.batch_execute("create table orders (id int primary key)").await.unwrap();
    let add = ["capture", "add", "orders", "--event-type", "a.b.created", "--tenant-column", "id"];
    run(&outbox.database.dsn(), &add).ok();
    client
        .batch_execute(&format!(
            "create role \"{role}\"; grant usage on schema outbox to \"{role}\";
             grant create, usage on schema public to \"{role}\"; set role \"{role}\";
             create table mine (id text, status text)"
        ))
        .await
        .unwrap();
    let sql = "select oid::regproc::text from pg_proc where proname ~ '^(adopted|captured)_[0-9]+'";
    let functions: Vec<String> =
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(functions.len(), 4, "{functions:?}");
    for function in functions {
        let sql = format!(
            "create trigger t after insert on mine referencing new table as new_rows
               for each statement execute function {function}()"
        );
        let call = format!("select {function}('{{}}', '{{}}', '{{}}', '{{}}')");
        let sql = if function.ends_with("write_back") { &call } else { &sql };
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error}");
    }
    client
        .batch_execute(&format!("reset role; drop owned by \"{role}\"; drop role \"{role}\""))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_enum_without_the_usual_words_is_adopted_with_them_named() {
    let sql = MAPPED.replace("'published', 'failed'", "'done', 'broken', 'busy'");
    let (outbox, client) = with_table("enum", &sql).await;
    adopt(&outbox, MAPPED_TABLE, &[])
        .fails(65, &["no value \"published\"", "--published pending or done"]);
    adopt(
        &outbox,
        MAPPED_TABLE,
        &["--published", "done", "--failed", "broken", "--waiting-as", "busy"],
    )
    .ok();
    let (id, _) = super::insert_mapped(&*client, "a", 1).await;
    let sql = format!("select status::text from {MAPPED_TABLE} where id::text = $1");
    assert_eq!(client.query_one(&sql, &[&id]).await.unwrap().get::<_, String>(0), "busy");
}

#[tokio::test]
async fn names_that_look_like_sql_or_like_a_place_to_fill_are_only_names() {
    let (outbox, client) = with_table("odd", ODD).await;
    let table = r#""We""ird $body$ :'schema' {{relation}}"."t';drop table x;--""#;
    client.batch_execute("create table x ()").await.unwrap();
    let args = [
        "--column",
        "id=key $$ '1'",
        "--column",
        "tenant_id=Mandant{{id}}",
        "--column",
        "error=E\\rror",
        "--pending",
        "wait'ing\\ $body$",
        "--waiting-as",
        "';drop table x;--",
    ];
    adopt(&outbox, table, &args).ok();
    let insert = format!(
        "insert into {table} values ('o''1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a.b', '{{}}', $1, 'T', 7)"
    );
    client.execute(&insert, &[&"wait'ing\\ $body$"]).await.unwrap();
    // What jsonb cannot hold is refused where the developer sees it.
    let zero = insert.replace("'{}'", "'{\"a\": \"\\u0000\"}'").replace("o''1", "o2");
    let error = client.execute(&zero, &[&"wait'ing\\ $body$"]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNTRANSLATABLE_CHARACTER), "{error}");
    let row = client
        .query_one("select id, tenant_id, aggregate_id from outbox.event", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "o'1");
    assert_eq!(row.get::<_, String>(1), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    assert_eq!(row.get::<_, String>(2), "7");
    client
        .batch_execute(
            "update outbox.event set status = 'failed', error = '{\"code\":\"X\"}'; select from x",
        )
        .await
        .unwrap();
    let row = client
        .query_one(&format!("select status, \"E\\rror\" ->> 'code' from {table}"), &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("failed", "X"));
    adopt(&outbox, table, &["--remove"]).ok();
}
