//! The short way of a claim, for the outbox's only pending event: it finds what the long way finds, and where it is not
//! that simple it leaves everything to the long way.

use std::collections::HashSet;

use outbox_relay::domain::event::{Seq, TenantId};
use outbox_relay::store::claim::{Claim, ClaimLimits, Claimed, OpenDrain, Start};
use outbox_relay::store::session::Session;
use outbox_relay::store::statement::ALL;

use crate::support::outbox::{Outbox, insert};

const SHORT: ClaimLimits = ClaimLimits {
    tenants: 100,
    rows_per_tenant: 500,
    bytes_per_tenant: 65_536,
    lock_lone: true,
    lone_first: true,
    traceparents: false,
};

const LONG: ClaimLimits = ClaimLimits { lone_first: false, ..SHORT };

async fn claim(session: Session, limits: ClaimLimits) -> (OpenDrain, Claim) {
    session.claim("", &[], limits, Start::default()).await.unwrap()
}

/// All that is known of an event, but for how long it has waited.
fn told(claimed: &Claimed) -> (String, [Option<String>; 4], [String; 5], bool, Option<i64>) {
    let event = &claimed.event;
    let owned = [&event.id, &event.aggregate_type, &event.aggregate_id, &event.event_type];
    let [id, aggregate_type, aggregate_id, event_type] = owned.map(String::clone);
    assert!(claimed.waited.is_some());
    (
        format!("{event:?}"),
        [
            event.headers.clone(),
            event.traceparent.clone(),
            event.occurred_at.clone(),
            event.payload_occurred_at.clone(),
        ],
        [id, aggregate_type, aggregate_id, event_type, event.payload.clone() + &event.created_at],
        claimed.lock_trace,
        claimed.oversize,
    )
}

#[tokio::test]
async fn the_only_event_is_claimed_as_the_long_way_does() {
    let outbox = Outbox::create("lone").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.tenant_policy (tenant_id, on_failed) values ('a', 'block');
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at)
             values ('a', 'KitchenTask', 'ä', 'kitchen.task.claimed', '{\"occurredAt\": \"2026-01-23T10:30:00Z\", \"n\": 1}',
                     '{\"h\": 1}', '2026-01-24 10:30:00.5+02')",
        )
        .await
        .unwrap();
    let mut session = outbox.store().session().await.unwrap();
    let mut seen = Vec::new();
    // The second and third find the trace of the lock before.
    for (limits, lone_first, trace) in
        [(SHORT, Some(true), false), (LONG, None, true), (SHORT, Some(true), true)]
    {
        let (open, claim) = claim(session, limits).await;
        assert_eq!((claim.lone_first, claim.runs.len()), (lone_first, 1));
        let run = &claim.runs[0];
        assert_eq!((run.group.clone(), run.hold_failures), (None, 0));
        assert_eq!(claim.tenants, [TenantId::new("a")]);
        assert_eq!(run.events[0].lock_trace, trace, "a lock's trace is that of an earlier one");
        assert_eq!(claim.locked, HashSet::from([run.events[0].event.seq]));
        let mut told = told(&run.events[0]);
        told.3 = false;
        seen.push((told, run.on_failed, claim.owner));
        session = open.roll_back().await.unwrap();
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:#?}");
    assert!(seen[0].1.is_some());
}

#[tokio::test]
async fn nothing_to_take_is_said_at_once() {
    let outbox = Outbox::create("lonenone").await;
    let client = outbox.connect().await;
    let session = outbox.store().session().await.unwrap();
    let (open, empty) = claim(session, SHORT).await;
    assert_eq!((empty.lone_first, empty.tenants.len()), (Some(true), 0));
    let session = open.roll_back().await.unwrap();

    insert(&client, "a", "{}").await;
    let (theirs, _) = claim(outbox.store().session().await.unwrap(), LONG).await;
    let (open, other) = claim(session, SHORT).await;
    assert_eq!((other.lone_first, other.tenants.len()), (Some(true), 0), "another relay's");
    let session = open.roll_back().await.unwrap();
    theirs.roll_back().await.unwrap();

    let except = [TenantId::new("a")];
    let (open, excepted) = session.claim("", &except, SHORT, Start::default()).await.unwrap();
    assert_eq!((excepted.lone_first, excepted.tenants.len()), (Some(true), 0));
    open.roll_back().await.unwrap();
}

/// What makes it not simple, what ends that, and how many tenants and rows of `a` the long way finds.
const NOT_SIMPLE: [(&str, &str, usize, usize); 9] = [
    (
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) values ('a', 'K', '1', 'a.b', '{}')",
        "delete from outbox.event where aggregate_type = 'K'",
        1,
        2,
    ),
    (
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) values ('b', 'K', '1', 'a.b', '{}')",
        "delete from outbox.event where aggregate_type = 'K'",
        2,
        1,
    ),
    (
        "insert into outbox.hold (tenant_id, until, reason, message) values ('a', 'infinity', 'blocked', 'm')",
        "delete from outbox.hold",
        0,
        0,
    ),
    (
        "insert into outbox.hold (tenant_id, until, failures, reason, message) values ('a', now(), 3, 'outage', 'm')",
        "delete from outbox.hold",
        1,
        1,
    ),
    (
        "insert into outbox.crash (tenant_id, crashes) values ('a', 1)",
        "delete from outbox.crash",
        1,
        1,
    ),
    (
        "insert into outbox.pause (scope, target, actor) values ('tenant', 'z', 'm')",
        "delete from outbox.pause",
        1,
        1,
    ),
    (
        "insert into outbox.in_flight (tenant_id, base_id, seqs) values ('a', 'b', array[1, 2])",
        "delete from outbox.in_flight",
        1,
        1,
    ),
    // Of the same digit, so that it is stored small and its text is large.
    (
        "update outbox.event set payload = jsonb_build_object('n', repeat('x', 66000))",
        "update outbox.event set payload = '{}'",
        1,
        1,
    ),
    (
        "update outbox.event set payload = (select jsonb_agg(md5(n::text)) from generate_series(1, 500) n)",
        "update outbox.event set payload = '{}'",
        1,
        1,
    ),
];

#[tokio::test]
async fn what_is_not_simple_goes_the_long_way_and_was_not_locked() {
    let outbox = Outbox::create("lonelong").await;
    let client = outbox.connect().await;
    insert(&client, "a", "{}").await;
    let limits = ClaimLimits { lock_lone: false, ..SHORT };
    for (begin, end, tenants, rows) in NOT_SIMPLE {
        client.batch_execute(begin).await.unwrap_or_else(|e| panic!("{begin}: {e:?}"));
        let session = outbox.store().session().await.unwrap();
        let (open, claim) = claim(session, limits).await;
        assert_eq!(claim.lone_first, Some(false), "{begin}");
        let of_a = claim.runs.iter().find(|run| run.tenant_id.as_str() == "a");
        let found = (claim.runs.len(), of_a.map_or(0, |run| run.events.len()));
        assert_eq!(found, (tenants, rows), "{begin}");
        let traces = claim.runs.iter().flat_map(|run| &run.events).any(|e| e.lock_trace);
        assert!(!traces && claim.locked.is_empty(), "its row was locked: {begin}");
        open.roll_back().await.unwrap();
        client.batch_execute(end).await.unwrap();
    }
    let (open, claim) = claim(outbox.store().session().await.unwrap(), SHORT).await;
    assert_eq!(claim.lone_first, Some(true), "simple again");
    open.roll_back().await.unwrap();
}

#[tokio::test]
async fn a_row_that_somebody_changes_is_left_to_the_long_way() {
    let outbox = Outbox::create("lonerow").await;
    let (client, operator) = (outbox.connect().await, outbox.connect().await);
    insert(&client, "a", "{}").await;
    operator.batch_execute("begin; select from outbox.event for update").await.unwrap();
    let (open, claim) = claim(outbox.store().session().await.unwrap(), SHORT).await;
    assert_eq!((claim.lone_first, claim.runs.len()), (Some(false), 1));
    let locked: HashSet<Seq> = open.lock_rows(&[claim.runs[0].events[0].event.seq]).await.unwrap();
    assert!(claim.locked.is_empty() && locked.is_empty());
    open.roll_back().await.unwrap();
}

#[tokio::test]
async fn its_settings_are_those_of_a_drain_and_it_reads_the_table_by_index() {
    let outbox = Outbox::create("lonesettings").await;
    let client = outbox.connect().await;
    let of = async |sql: &str| {
        client.batch_execute("discard all").await.unwrap();
        client.batch_execute("begin").await.unwrap();
        client.query(sql, &[]).await.unwrap();
        let changed =
            "select name || '=' || setting from pg_settings where source = 'session' order by 1";
        let rows = client.query(changed, &[]).await.unwrap();
        let scans =
            "select coalesce(seq_scan, 0) from pg_stat_xact_user_tables where relname = 'event'";
        let scans: i64 = client.query_one(scans, &[]).await.unwrap().get(0);
        client.batch_execute("rollback").await.unwrap();
        (rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), scans)
    };
    let drain = ALL.iter().find(|s| s.name == "drain_settings").unwrap();
    // Without statistics, and few enough rows for the planner to like a walk of the table.
    insert(&client, "a", "{}").await;
    let (wanted, _) = of(drain.template).await;
    let (settings, scans) = of("select * from outbox.claim_lone('{}', 65536)").await;
    assert!(wanted.len() >= 8, "{wanted:?}");
    assert_eq!(settings, wanted);
    assert_eq!(scans, 0, "the table was walked");
}

#[tokio::test]
async fn a_role_without_the_function_claims_the_long_way() {
    let outbox = Outbox::create("lonerole").await;
    let client = outbox.connect().await;
    insert(&client, "a", "{}").await;
    client.batch_execute("revoke execute on function outbox.claim_lone from public").await.unwrap();
    // A superuser may call everything, so this one's session stands beside it.
    let role = format!("lone_{}", outbox.database.name());
    client
        .batch_execute(&format!(
            "create role {role} login; grant usage on schema outbox to {role};
             grant all on all tables in schema outbox to {role}; grant all on all sequences in schema outbox to {role}"
        ))
        .await
        .unwrap();
    let dsn = format!("{} user={role}", outbox.database.dsn());
    let session = crate::support::outbox::store_at(&dsn, "outbox").session().await.unwrap();
    let (open, claim) = claim(session, SHORT).await;
    assert_eq!((claim.lone_first, claim.runs.len()), (None, 1));
    open.roll_back().await.unwrap();
    client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
}
