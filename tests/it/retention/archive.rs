//! What is archived is what was there, and it is safe before anything is deleted.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio_postgres::Client;

use super::{command, number, run, run_json, settled, text};
use crate::support::local_ably::LIMIT;
use crate::support::outbox::{Outbox, insert};

/// Every row as PostgreSQL prints it, in order.
const ROWS: &str = "select string_agg(e::text, E'\\n' order by seq) from outbox.event e";

/// What JSON readers with 64-bit floats or careless strings would spoil.
const AWKWARD: [&str; 5] = [
    r#"{"n": 9007199254740993, "m": 0.1000, "k": 1e400, "neg": -0.0}"#,
    r#"{"big": 123456789012345678901234567890.123456789012345678901234567890}"#,
    r#"{"text": "quote \" backslash \\ newline \n tab \t emoji 🍕 rtl שלום \u2028", "": null}"#,
    r#"[[[[[[]]]]], {"a": {"b": {}}}, true]"#,
    r#""just text""#,
];

async fn awkward_rows(client: &Client) {
    for payload in AWKWARD {
        insert(client, "tenant \"with\" quotes", payload).await;
    }
    client
        .batch_execute(
            "update outbox.event set status = 'published', published_at = '2026-01-02 03:04:05.678901+02',
                    created_at = '2026-01-02 03:04:05.1+02', occurred_at = '-infinity', headers = '{\"h\": 12345678901234567890}'",
        )
        .await
        .unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Puts an archive's lines back, as the README says.
async fn restore(client: &Client, lines: &[String]) {
    let sql = "insert into outbox.event overriding system value
               select * from json_populate_record(null::outbox.event, $1::text::json)";
    for line in lines {
        client.execute(sql, &[line]).await.unwrap();
    }
}

#[tokio::test]
async fn an_archive_file_holds_every_row_byte_for_byte_and_can_be_restored() {
    let outbox = Outbox::create("archive").await;
    let client = outbox.connect().await;
    awkward_rows(&client).await;
    settled(&client, "a", "published", 700, 8).await;
    settled(&client, "a", "pending", 3, 8).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl.zst");
    let archive = path.to_str().unwrap();
    let before = text(&client, ROWS).await;
    let first =
        ["prune", "--published-older-than", "1d", "--max-rows", "300", "--archive", archive];
    let report = run_json(&outbox, &[&first[..], &["--batch", "100"]].concat());
    assert_eq!((report["deleted"].as_i64(), report["archived"].as_i64()), (Some(300), Some(300)));
    assert_eq!(lines(&path).len(), 300);
    // The second run appends.
    let report =
        run_json(&outbox, &["prune", "--published-older-than", "1d", "--archive", archive]);
    assert_eq!(report["archived"].as_i64(), Some(405), "{report}");
    assert_eq!(number(&client, "select count(*) from outbox.event").await, 3);

    let lines = lines(&path);
    assert_eq!(lines.len(), 705);
    for payload in &AWKWARD[..2] {
        let printed = text(&client, &format!("select '{payload}'::jsonb::text")).await;
        let line = lines.iter().find(|line| line.contains(&printed));
        assert!(line.is_some(), "{printed}");
    }
    restore(&client, &lines).await;
    assert_eq!(text(&client, ROWS).await, before);
}

#[tokio::test]
async fn the_archive_table_holds_every_row_as_it_was() {
    let outbox = Outbox::create("table").await;
    let client = outbox.connect().await;
    awkward_rows(&client).await;
    settled(&client, "a", "published", 300, 8).await;
    settled(&client, "a", "failed", 3, 8).await;
    let rows = "select string_agg(e::text, E'\\n' order by seq) from outbox.event e where status = 'published'";
    let before = text(&client, rows).await;
    let args = ["prune", "--published-older-than", "1d", "--archive-table", "--batch", "100"];
    let report = run_json(&outbox, &args);
    assert_eq!((report["deleted"].as_i64(), report["archived"].as_i64()), (Some(305), Some(305)));
    assert_eq!(number(&client, "select count(*) from outbox.event").await, 3);
    let columns = text(
        &client,
        "select string_agg(attname, ', ' order by attnum) from pg_attribute
          where attrelid = 'outbox.event'::regclass and attnum > 0 and not attisdropped",
    )
    .await;
    client
        .batch_execute(&format!(
            "insert into outbox.event overriding system value select {columns} from outbox.event_archive"
        ))
        .await
        .unwrap();
    assert_eq!(text(&client, rows).await, before);
}

#[tokio::test]
async fn the_archive_table_has_the_columns_of_the_outbox_behind_its_own() {
    let outbox = Outbox::create("columns").await;
    let client = outbox.connect().await;
    let columns = |table: &str| {
        format!(
            "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
               from pg_attribute where attrelid = 'outbox.{table}'::regclass and attnum > 0 and not attisdropped"
        )
    };
    let (event, archive) =
        (text(&client, &columns("event")).await, text(&client, &columns("event_archive")).await);
    let expected = format!("archived_at timestamp with time zone, {event}");
    assert_eq!(
        archive, expected,
        "a column added to event is added to event_archive, in the same order"
    );
}

#[tokio::test]
async fn killed_between_file_and_table_it_loses_nothing() {
    let outbox = Outbox::create("killed").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 500, 8).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl.zst");
    let args = ["prune", "--published-older-than", "1d", "--batch", "200", "--archive"];
    let args = [&args[..], &[path.to_str().unwrap()], &["--yes", "--json"]].concat();
    // A lock that lets it find and lock rows, and not delete any.
    let mut other = outbox.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("lock table outbox.event in share mode").await.unwrap();
    let mut child = command(&outbox, &args).spawn().unwrap();
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock' and query like '%delete from%'";
    let wait = async {
        while number(&client, waits).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("it waits for the lock");
    child.kill().unwrap();
    child.wait().unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(lines(&path).len(), 200, "the batch was safe on disk before its rows were touched");
    assert_eq!(number(&client, "select count(*) from outbox.event").await, 500);

    let output = run(&outbox, &by_four(&path));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(number(&client, "select count(*) from outbox.event").await, 0);
    let lines = lines(&path);
    assert_eq!(lines.len(), 700, "the batch is there twice");
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 500, "and every row at least once");
}

/// Runs a command that may make files of at most 8 blocks, with SIGXFSZ ignored or deadly.
fn with_little_room(outbox: &Outbox, args: &[&str], ignored: bool) -> Output {
    let trap = if ignored { "trap '' XFSZ; " } else { "" };
    Command::new("sh")
        .arg("-c")
        .arg(format!("{trap}ulimit -c 0; ulimit -f 8; exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(args)
        .env_clear()
        .env("DATABASE_URL", outbox.database.dsn())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Rows that no compression makes small, so that one batch does not fit.
async fn incompressible(client: &Client) {
    client
        .batch_execute(
            "update outbox.event set payload = jsonb_build_object('noise',
               (select string_agg(md5(random()::text || seq || i), '') from generate_series(1, 30) i))",
        )
        .await
        .unwrap();
}

/// Archives 60 rows in batches of 4 where a file of a few of them is as large as one may be.
async fn archive_with_little_room(outbox: &Outbox, path: &Path, ignored: bool) -> Output {
    let client = outbox.connect().await;
    settled(&client, "a", "published", 60, 8).await;
    incompressible(&client).await;
    with_little_room(outbox, &by_four(path), ignored)
}

/// Archives batches of 4.
fn by_four(path: &Path) -> Vec<&str> {
    let args = ["prune", "--published-older-than", "1d", "--batch", "4", "--archive"];
    [&args[..], &[path.to_str().unwrap()], &["--yes", "--json"]].concat()
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_deletes_nothing_of_its_batch() {
    let outbox = Outbox::create("full").await;
    let client = outbox.connect().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl.zst");
    let output = archive_with_little_room(&outbox, &path, true).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{stderr}");
    assert!(stderr.contains("cannot be written: File too large"), "{stderr}");
    assert!(stderr.contains("remedy: make room"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ended"].as_str(), Some("failed"));
    let left = number(&client, "select count(*) from outbox.event").await;
    assert!(left > 0);
    assert_eq!(report["deleted"].as_i64(), Some(60 - left));
    // What was written of the batch that did not fit is gone again.
    assert_eq!(i64::try_from(lines(&path).len()).unwrap(), 60 - left);
}

#[tokio::test]
async fn killed_in_the_middle_of_writing_it_goes_on_behind_the_last_complete_batch() {
    let outbox = Outbox::create("torn").await;
    let client = outbox.connect().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl.zst");
    let output = archive_with_little_room(&outbox, &path, false).await;
    assert_eq!(output.status.code(), None, "ended by SIGXFSZ");
    let left = number(&client, "select count(*) from outbox.event").await;
    assert!(left > 0);
    assert!(zstd::stream::decode_all(&std::fs::read(&path).unwrap()[..]).is_err(), "a torn frame");

    let output = run(&outbox, &by_four(&path));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("the archive ended in mid-batch"), "{stderr}");
    let lines = lines(&path);
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 60);
    assert_eq!(number(&client, "select count(*) from outbox.event").await, 0);
}

#[tokio::test]
async fn what_cannot_be_an_archive_is_refused_before_anything_is_deleted() {
    let outbox = Outbox::create("refuse").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 5, 8).await;
    let dir = tempfile::tempdir().unwrap();
    let notes = dir.path().join("notes.txt");
    std::fs::write(&notes, "not an archive").unwrap();
    let locked = dir.path().join("locked.zst");
    let file = std::fs::File::create(&locked).unwrap();
    file.lock().unwrap();
    for (path, code) in [
        (notes.as_path(), 65),
        (&dir.path().join("none/events.zst"), 78),
        (dir.path(), 78),
        (Path::new("/dev/full"), 78),
        (&locked, 75),
    ] {
        let args = ["prune", "--published-older-than", "1d", "--yes", "--archive"];
        let output = run(&outbox, &[&args[..], &[path.to_str().unwrap()]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{}: {stderr}", path.display());
    }
    assert_eq!(number(&client, "select count(*) from outbox.event").await, 5);
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "not an archive");
}
