//! An adoption leaves the table as it was found.

use std::process::Command;

use super::{
    CAMEL, CAMEL_TABLE, MAPPED, MAPPED_TABLE, adopt, insert_camel, insert_mapped, run, with_table,
};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::RelayProcess;

/// What pg_dump says of everything but the outbox; none where there is no pg_dump, or only one that is older than the server.
fn dump(outbox: &Outbox, more: &[&str]) -> Option<String> {
    let output = Command::new("pg_dump")
        .args(["--exclude-schema=outbox", "--no-comments"])
        .args(more)
        .arg("--dbname")
        .arg(outbox.database.dsn())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("server version mismatch") {
        return None;
    }
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions bracket the text with a random word.
    Some(text.lines().filter(|line| !line.contains("restrict")).collect::<Vec<_>>().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_the_table_is_as_it_was_found() {
    let (outbox, client) = with_table("removal", MAPPED).await;
    insert_mapped(&*client, "a", 0).await;
    removed_all_is_as_before(&outbox, &client, MAPPED_TABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_an_older_table_is_as_it_was_found() {
    let (outbox, client) = with_table("removalold", CAMEL).await;
    insert_camel(&client, "cl0", "a", 0).await;
    removed_all_is_as_before(&outbox, &client, CAMEL_TABLE).await;
}

/// `table` holds one pending row.
async fn removed_all_is_as_before(outbox: &Outbox, client: &TestClient, table: &str) {
    let ably = LocalAbly::start().await;
    let before = dump(outbox, &[]);
    adopt(outbox, table, &[]).ok();
    assert!(before.is_none() || dump(outbox, &[]) != before, "triggers are seen");
    adopt(outbox, table, &["--remove"]).ok();
    assert_eq!(dump(outbox, &[]), before);
    adopt(outbox, table, &["--remove"]).fails(65, &["is not adopted"]);

    let shape = dump(outbox, &["--schema-only"]);
    adopt(outbox, table, &["--take-over"]).ok();
    adopt(outbox, table, &["--remove"]).fails(65, &["1 events", "let a relay publish them first"]);
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    wait_until(client, "select count(*) = 1 from outbox.event where status = 'published'").await;
    assert_eq!(relay.terminate(), Some(0));
    adopt(outbox, table, &["--remove"]).ok();
    assert_eq!(dump(outbox, &["--schema-only"]), shape);
    let left: i64 = client
        .query_one(
            "select (select count(*) from pg_proc where proname like 'adopted%') + (select count(*) from outbox.adopted)",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn printed_sql_adopts_and_removes_as_the_command_does() {
    let (outbox, client) = with_table("printed", MAPPED).await;
    let url = outbox.database.dsn();
    let sql = run(&url, &["adopt", "--table", MAPPED_TABLE, "--print"]).ok();
    let listed = |url: &str| run(url, &["adopt", "--list", "--json"]).ok();
    assert_eq!(listed(&url), "", "printing installs nothing");
    run(&url, &["adopt", "--table", MAPPED_TABLE])
        .fails_in_the_end(2, &["--print to only see the SQL"]);
    client.batch_execute(&sql).await.unwrap();
    assert!(listed(&url).contains(r#""problem":null"#), "{}", listed(&url));
    insert_mapped(&*client, "a", 1).await;
    client.batch_execute("alter table tenant.\"OutboxEvent\" disable trigger all").await.unwrap();
    assert!(listed(&url).contains("missing or disabled"));
    client.batch_execute("alter table tenant.\"OutboxEvent\" enable trigger all").await.unwrap();
    client
        .batch_execute("update outbox.event set status = 'published', published_at = now()")
        .await
        .unwrap();
    let sql = run(&url, &["adopt", "--table", MAPPED_TABLE, "--remove", "--print"]).ok();
    client.batch_execute(&sql).await.unwrap();
    assert_eq!(listed(&url), "");
}
