//! Pruning, archiving and scrubbing: nothing unpublished is ever deleted, and nothing is lost on the way.

mod archive;
mod plan;
mod prune;
mod schedule;
mod scrub;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio_postgres::Client;

use crate::support::outbox::Outbox;

/// The binary, on this outbox.
fn command(outbox: &Outbox, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
    command
        .args(args)
        .env_clear()
        .env("DATABASE_URL", outbox.database.dsn())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(outbox: &Outbox, args: &[&str]) -> Output {
    command(outbox, args).output().unwrap()
}

/// What a command that did what it was asked says in JSON.
fn done(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Runs a command with `--yes` and `--json`.
fn run_json(outbox: &Outbox, args: &[&str]) -> Value {
    done(&run(outbox, &[args, &["--yes", "--json"]].concat()))
}

/// `count` events of a tenant with a status, written and settled `days` ago.
async fn settled(client: &Client, tenant: &str, status: &str, count: i32, days: i32) {
    let sql = "insert into outbox.event
        (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, status, error, created_at, published_at)
      select $1, 'KitchenTask', 'task-' || n, 'kitchen.task.claimed', jsonb_build_object('n', n), '{\"h\": 1}', $2,
             case $2 when 'failed' then '{}'::jsonb end, clock_timestamp() - $4 * interval '1 day' - interval '1 second',
             case $2 when 'published' then clock_timestamp() - $4 * interval '1 day' end
        from generate_series(1, $3) n";
    client.execute(sql, &[&tenant, &status, &count, &f64::from(days)]).await.unwrap();
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get::<_, Option<String>>(0).unwrap_or_default()
}
