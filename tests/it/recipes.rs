//! The code of `docs/recipes`, run for real: every page's events reach a subscriber.

mod claim_task;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::emulator_client::js_client::JsClient;
use crate::support::local_ably::LocalAbly;
use crate::support::npm_workspace;
use crate::support::outbox::{Outbox, wait_until};
use crate::support::postgres::TestClient;
use crate::support::recipe_page::Page;
use crate::support::relay::RelayCommand;
use crate::support::ruby;

/// An outbox beside the table that the pages use.
async fn kitchen(hint: &str) -> (Outbox, TestClient) {
    let outbox = Outbox::create(hint).await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "create table tasks (id text primary key, employee_id text); \
             insert into tasks values ('task-1'), ('task-2')",
        )
        .await
        .unwrap();
    (outbox, client)
}

/// Publishes what is in the outbox; event types in the order in which subscribers get them.
async fn published(outbox: &Outbox, count: usize) -> Vec<String> {
    let ably = LocalAbly::start().await;
    // What the pages write is what the registry takes, or teams would begin with events that fail.
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_REGISTRY_VALIDATE", "reject")
        .start();
    let client = outbox.connect().await;
    wait_until(&client, "select not exists (select from outbox.event where status = 'pending')")
        .await;
    assert_eq!(relay.complaints(), [Value::Null; 0]);
    let got = ably.wait_for(count).await;
    assert_eq!(relay.terminate(), Some(0));
    assert!(got.iter().all(|message| message.channel == "tenant:tenant-abc"));
    assert!(got.iter().all(|message| message.envelope["payload"]["taskId"].is_string()), "{got:?}");
    got.iter().map(|m| m.envelope["eventType"].as_str().unwrap().to_owned()).collect()
}

/// The pages in TypeScript: claim, release, and a claim that must leave nothing behind.
async fn typescript_page(page: &str) {
    let (outbox, client) = kitchen(page).await;
    let script = npm_workspace::script(&format!("recipes/{page}"));
    let mut run = JsClient::start(script.to_str().unwrap(), &[&outbox.database.url()], &[]);
    assert!(run.next("claimed").await["id"].as_str().unwrap().len() == 36);
    run.next("released").await;
    run.next("refused").await;
    assert_eq!(run.end().await, Some(0));
    let types = published(&outbox, 2).await;
    assert_eq!(types, ["kitchen.task.claimed", "kitchen.task.released"]);
    let sql = "select count(*) from outbox.event";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_prisma_works() {
    typescript_page("prisma").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_drizzle_works() {
    typescript_page("drizzle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_plain_pg_works() {
    typescript_page("pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_django_works() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let interpreter = python.join("venv/bin/python");
    if !interpreter.exists() {
        eprintln!("not run: no Django in tests/python/venv; scripts/test installs it");
        return;
    }
    let (outbox, _client) = kitchen("djangopy").await;
    let application = tempfile::tempdir().unwrap();
    let package = application.path().join("tasks");
    std::fs::create_dir(&package).unwrap();
    for (name, text) in Page::read("django").files {
        std::fs::write(package.join(name), text).unwrap();
    }
    let ran = Command::new(interpreter)
        .arg(python.join("django_page.py"))
        .arg(outbox.database.dsn())
        .current_dir(application.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(published(&outbox, 1).await, ["kitchen.task.claimed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_rails_works() {
    if !ruby::has_active_record() {
        eprintln!("not run: no Active Record for ruby; scripts/test installs it on Debian");
        return;
    }
    let (outbox, _client) = kitchen("rubypage").await;
    let models = tempfile::tempdir().unwrap();
    for (name, text) in Page::read("rails").files {
        std::fs::write(models.path().join(name), text).unwrap();
    }
    ruby::run("rails_page.rb", &outbox.database.url(), models.path());
    assert_eq!(published(&outbox, 1).await, ["kitchen.task.claimed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_rust_works() {
    // The page's text and what is compiled here are the same.
    assert_eq!(Page::read("rust").file("claim_task.rs"), include_str!("recipes/claim_task.rs"));
    let (outbox, mut client) = kitchen("rust").await;
    let id = claim_task::claim_task(&mut client, "tenant-abc", "task-1", "e-1").await.unwrap();
    assert_eq!(id.len(), 36);
    assert!(claim_task::claim_task(&mut client, "tenant-abc", "task-1", "e-2").await.is_err());
    let refused = claim_task::claim_task(&mut client, "a:b", "task-2", "e-2").await.unwrap_err();
    assert!(refused.as_db_error().unwrap().hint().unwrap().contains("without ':'"));
    assert_eq!(published(&outbox, 1).await, ["kitchen.task.claimed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_psql_works() {
    let (outbox, client) = kitchen("psql").await;
    for block in Page::read("sql").runs {
        // The role outlives the database, and other tests have databases beside this one.
        let block = block.replace("producer_of_sql_page", outbox.database.name());
        run_by_psql(&outbox, &client, &block).await;
    }
    let types = published(&outbox, 6).await;
    let expected = ["claimed", "released", "progress", "released", "released", "progress"];
    assert_eq!(types, expected.map(|name| format!("kitchen.task.{name}")));
    let name = outbox.database.name();
    let may = format!(
        "set role \"{name}\"; \
         select outbox.enqueue('t', 'a.b', '{{}}', 'A', '1'); reset role"
    );
    client.batch_execute(&may).await.unwrap();
    let denied = format!("set role \"{name}\"; select * from outbox.event");
    assert!(client.batch_execute(&denied).await.is_err());
    client.batch_execute(&format!("drop owned by \"{name}\"; drop role \"{name}\"")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_of_the_pages_for_rails_and_django_works() {
    for name in ["rails", "django"] {
        let (outbox, client) = kitchen(name).await;
        let page = Page::read(name);
        assert_eq!(page.not_run, 0, "{name}");
        for block in &page.runs {
            run_by_psql(&outbox, &client, block).await;
        }
        assert_eq!(published(&outbox, 1).await, ["kitchen.task.claimed"]);
    }
}

/// By psql; where only the server is installed, as one simple query.
async fn run_by_psql(outbox: &Outbox, client: &TestClient, block: &str) {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &outbox.database.dsn(), "-c", block]);
    match psql.stdin(Stdio::null()).output() {
        Ok(output) => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{block}\n{complaint}");
        }
        Err(_) => client.batch_execute(block).await.unwrap(),
    }
}

#[test]
fn the_list_of_recipes_names_every_page() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes");
    let list = std::fs::read_to_string(directory.join("README.md")).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || list.contains(&format!("]({name})")), "{name}");
        if let Some(page) = name.strip_suffix(".md").filter(|page| *page != "README") {
            assert_eq!(Page::read(page).not_run, 0, "every block of {name} is run");
        }
    }
}
