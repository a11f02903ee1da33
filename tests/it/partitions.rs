//! A partitioned outbox: the same guarantees, and old events that go with their partition.

use std::time::Duration;

use outbox_relay::store::retention::Purpose;
use tokio_postgres::error::SqlState;

use crate::drain::assert_complete_and_in_order;
use crate::support::command::run;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert, partition, store_at, wait_until};
use crate::support::postgres::TestDatabase;
use crate::support::relay::RelayProcess;

/// An outbox that is one table, whatever the other tests' are.
async fn plain(hint: &str) -> Outbox {
    let database = TestDatabase::create(hint).await;
    store_at(&database.dsn(), "outbox").migrate_up().await.unwrap();
    Outbox { database }
}

/// One with partitions of five positions each up to 50, and a default one.
async fn partitioned(hint: &str) -> Outbox {
    let outbox = plain(hint).await;
    partition(&*outbox.connect().await).await;
    outbox
}

const NAMES: &str =
    "select coalesce(string_agg(name, ' ' order by from_seq), '') from outbox.partitions()";

async fn text(client: &tokio_postgres::Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

async fn publish_all(client: &tokio_postgres::Client, filter: &str) {
    let sql = format!(
        "update outbox.event set status = 'published', published_at = clock_timestamp() - interval '1 day' where {filter}"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_in_use_is_partitioned_in_place_and_everything_is_published_once_and_in_order() {
    let (outbox, ably) = (plain("convert").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    for n in 0..20 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    ably.wait_for(20).await;
    run(&outbox.database.url(), &["migrate", "partition", "--every", "1d", "--rows", "10000"]).ok();
    // Over the bounds of partitions, which would otherwise take 10,000 events.
    client.batch_execute("select outbox.add_partition(from_seq, from_seq + 10) from (
           select max(below_seq) as from_seq from outbox.partitions()) p;
         select setval('outbox.event_seq_seq', (select max(from_seq) from outbox.partitions()) - 10)")
        .await
        .unwrap();
    for n in 20..60 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    let got = ably.wait_for(60).await;
    assert_complete_and_in_order(&got, 1, 60);
    let leaves = "select count(distinct tableoid) from outbox.event";
    wait_until(&client, "select count(*) = 60 from outbox.event where status = 'published'").await;
    assert!(client.query_one(leaves, &[]).await.unwrap().get::<_, i64>(0) >= 4);
    assert_eq!(relay.terminate(), Some(0));
    run(&outbox.database.url(), &["migrate", "verify"]).ok();
    run(&outbox.database.url(), &["migrate", "partition", "--every", "1d"])
        .fails(65, &["partitioned already", "partitioning"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_drops_partitions_of_published_events_and_no_other() {
    let outbox = partitioned("drop").await;
    let client = outbox.connect().await;
    for n in 0..30 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    // 1..6 all published, 6..11 with a failed one, 11..16 with a pending one, 16..21 published just now, 21..31 all, 31.. open.
    publish_all(&client, "seq not in (7, 12)").await;
    client
        .batch_execute(
            "update outbox.event set status = 'failed', error = '{\"code\": \"x\"}' where seq = 7;
             update outbox.event set created_at = now() - interval '1 day';
             update outbox.event set published_at = now() where seq between 16 and 20",
        )
        .await
        .unwrap();
    let prune = ["prune", "--published-older-than", "1h", "--yes", "--json"];
    let report = run(&outbox.database.url(), &prune).objects().remove(0);
    assert_eq!(
        report["dropped_partitions"],
        serde_json::json!(["event_before", "event_p1"]),
        "{report}"
    );
    // What keeps its partition alone there goes singly; what is behind the young one waits for it.
    assert_eq!(report["deleted"], 8, "{report}");
    assert_eq!(count(&client, "pending").await, 1);
    assert_eq!(count(&client, "failed").await, 1);
    assert_eq!(count(&client, "published").await, 15);
    client
        .batch_execute(
            "update outbox.event set published_at = created_at where seq between 16 and 20",
        )
        .await
        .unwrap();
    let report = run(&outbox.database.url(), &prune).objects().remove(0);
    let dropped = serde_json::json!(["event_p16", "event_p21", "event_p26"]);
    assert_eq!(report["dropped_partitions"], dropped, "{report}");
    assert_eq!((count(&client, "pending").await, count(&client, "failed").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relays_schedule_drops_and_makes_partitions_with_its_own_privileges() {
    let (outbox, ably) = (partitioned("schedule").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let role = format!("{}_relay", outbox.database.name());
    client.batch_execute(&format!("create role {role} login")).await.unwrap();
    run(&outbox.database.url(), &["migrate", "grants", "--relay", &role, "--apply"]).ok();
    client
        .batch_execute(&format!(
            "grant delete on outbox.event to {role};
             grant execute on function outbox.drop_partition(bigint, boolean) to {role};
             select setval('outbox.event_seq_seq', 43)"
        ))
        .await
        .unwrap();
    for n in 0..12 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    let dsn = format!("{} user={role}", outbox.database.dsn());
    let relay = crate::support::relay::RelayCommand::new(&dsn, &ably)
        .env("OUTBOX_RELAY_RETENTION_PUBLISHED", "1s")
        .env("OUTBOX_RELAY_RETENTION_INTERVAL", "1s")
        .start();
    ably.wait_for(12).await;
    relay.wait_for_log("dropped partition event_p41", 1);
    relay.wait_for_log("dropped partition event_p46", 1);
    let ahead = "select count(*) >= 2 from outbox.partitions() where from_seq > 55";
    wait_until(&client, ahead).await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_somebody_writes_to_is_not_dropped_and_nobody_waits_for_long() {
    let outbox = partitioned("writer").await;
    let (client, mut writer) = (outbox.connect().await, outbox.connect().await);
    insert(&client, "a", "{}").await;
    let transaction = writer.transaction().await.unwrap();
    let late = insert(transaction.client(), "a", "{}").await;
    for _ in 0..8 {
        insert(&client, "a", "{}").await;
    }
    publish_all(&client, "true").await;
    let age = Duration::ZERO;
    let mut keeper = outbox.store().keeper(Purpose::Prune).await.unwrap();
    let drop = keeper.drop_partition(age, false).await.unwrap();
    assert!(drop.busy && drop.dropped.is_none(), "{drop:?}");
    // It gave up: a writer that came meanwhile has not failed, and one that comes now does not wait.
    insert(&client, "b", "{}").await;
    transaction.commit().await.unwrap();
    let drop = keeper.drop_partition(age, false).await.unwrap();
    assert!(drop.dropped.as_deref() != Some("event_p1"), "{drop:?}");
    let there = client.query_one("select status from outbox.event where id = $1", &[&late]).await;
    assert_eq!(there.unwrap().get::<_, &str>(0), "pending");
    publish_all(&client, "status = 'pending'").await;
    let drop = keeper.drop_partition(age, false).await.unwrap();
    assert_eq!(drop.dropped.as_deref(), Some("event_p1"), "{drop:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_whose_partition_is_gone_and_one_beyond_all_go_into_the_default_partition() {
    let outbox = partitioned("default").await;
    let client = outbox.connect().await;
    client.batch_execute("select setval('outbox.event_seq_seq', 60)").await.unwrap();
    insert(&client, "a", "{}").await;
    assert_eq!(
        text(&client, "select tableoid::regclass::text from outbox.event").await,
        "outbox.event_default"
    );
    let made = client.query_one("select outbox.make_partitions()", &[]).await.unwrap();
    assert_eq!(made.get::<_, i32>(0), 2);
    // Well behind what may be under way.
    assert!(
        text(&client, NAMES).await.contains(" event_p1062 event_p1067"),
        "{}",
        text(&client, NAMES).await
    );
    let again = client.query_one("select outbox.make_partitions()", &[]).await.unwrap();
    assert_eq!(again.get::<_, i32>(0), 0);
    publish_all(&client, "true").await;
    let mut keeper = outbox.store().keeper(Purpose::Prune).await.unwrap();
    while keeper.drop_partition(Duration::ZERO, false).await.unwrap().dropped.is_some() {}
    assert_eq!(text(&client, NAMES).await, "event_p1062 event_p1067 event_default");
    client
        .batch_execute("insert into outbox.event (seq, tenant_id, aggregate_type, aggregate_id, event_type, payload)
             overriding system value values (3, 'a', 'A', '1', 'a.b', '{}')")
        .await
        .unwrap();
    assert_eq!(count(&client, "pending").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_unique_over_all_partitions_also_beside_a_transaction_that_is_open() {
    const MINE: &str = "insert into outbox.event (id, tenant_id, aggregate_type, aggregate_id, event_type, payload) \
                        values ('mine', 'a', 'A', '1', 'a.b', '{}')";
    let outbox = partitioned("ids").await;
    let (client, mut writer) = (outbox.connect().await, outbox.connect().await);
    let given = insert(&client, "a", "{}").await;
    let transaction = writer.transaction().await.unwrap();
    transaction.batch_execute(MINE).await.unwrap();
    for _ in 0..6 {
        insert(&client, "a", "{}").await;
    }
    // In another partition now. It waits for the first, and is refused when that commits.
    let second = client.batch_execute(MINE);
    let waiting = async {
        let look = outbox.connect().await;
        wait_until(&look, "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%mine%' and datname = current_database())").await;
        transaction.commit().await.unwrap();
    };
    let (second, ()) = tokio::join!(second, waiting);
    assert_eq!(second.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    // One that the outbox itself has made, repeated by who has read it.
    let repeat = MINE.replace("mine", &given);
    let error = client.batch_execute(&repeat).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
    // Free again when its event is gone, as in one table.
    client.batch_execute("delete from outbox.event where id = 'mine'").await.unwrap();
    client.batch_execute(MINE).await.unwrap();
    client.batch_execute("truncate outbox.event cascade").await.unwrap();
    client.batch_execute(MINE).await.unwrap();
    assert_eq!(text(&client, "select count(*)::text from outbox.event_id").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_may_do_and_what_doctor_sees_stays_as_it_was() {
    let outbox = plain("rights").await;
    let client = outbox.connect().await;
    let role = format!("{}_producer", outbox.database.name());
    client.batch_execute(&format!("create role {role}")).await.unwrap();
    let grants =
        ["migrate", "grants", "--producer", &role, "--allow-insert", "--relay", &role, "--apply"];
    run(&outbox.database.url(), &grants).ok();
    const RIGHTS: &str = "select coalesce(string_agg(r, ' ' order by r), '') from (
        select 'event ' || a::text as r from pg_class c, unnest(c.relacl) a where c.oid = 'outbox.event'::regclass
        union all select 'seq ' || a::text from pg_class c, unnest(c.relacl) a where c.oid = 'outbox.event_seq_seq'::regclass
        union all select t.attname || a::text from pg_attribute t, unnest(t.attacl) a where t.attrelid = 'outbox.event'::regclass) x";
    client.batch_execute("alter table outbox.event disable trigger event_again").await.unwrap();
    let before = text(&client, RIGHTS).await;
    assert!(before.contains(&role), "{before}");
    partition(&client).await;
    assert_eq!(text(&client, RIGHTS).await, before);
    let enabled = "select tgenabled::text from pg_trigger where tgrelid = 'outbox.event'::regclass and tgname = 'event_again'";
    assert_eq!(text(&client, enabled).await, "D");
    client.batch_execute("alter table outbox.event enable trigger event_again").await.unwrap();
    client.batch_execute(&format!("set role {role}")).await.unwrap();
    insert(&client, "a", "{}").await;
    client.batch_execute("reset role").await.unwrap();
    run(&outbox.database.url(), &["migrate", "verify"]).ok();
    // No key for Ably here, so it ends with findings; the schema's are what is asked for.
    let doctor = run(&outbox.database.url(), &["doctor", "--json"]).stdout;
    assert!(
        doctor
            .contains("partitions are ahead of the last position, 0 events are in the default one"),
        "{doctor}"
    );
    assert!(doctor.contains("all there and valid"), "{doctor}");
}
