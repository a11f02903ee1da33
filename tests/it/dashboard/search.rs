//! Searches over many rows: right, by pages, and bounded.

use std::time::Instant;

use super::*;

/// 300,000 rows of history, some thousand of them failed, five of them pending and paused.
async fn many(site: &Site) -> TestClient {
    let client = site.outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.pause (scope, target, until, actor) values ('all', '', 'infinity', 'a test');
             alter table outbox.event disable trigger user;
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, published_at, error)
             select 't' || n % 1000, 'Order', 'o-' || n, 'orders.order.created', '{}',
                    case when n % 100 = 0 then 'failed' else 'published' end, case when n % 100 <> 0 then now() end,
                    case when n % 100 = 0 then '{\"code\":\"ABLY_ERROR\",\"ablyErrorCode\":40031,\"message\":\"no\"}'::jsonb end
               from generate_series(1, 300000) n;
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'p' || n % 2, 'Order', 'p-' || n, 'orders.order.created', '{}' from generate_series(1, 5) n;
             alter table outbox.event enable trigger user; analyze outbox.event",
        )
        .await
        .unwrap();
    client
}

/// Every page, and how many there were.
async fn pages(site: &Site, query: &str) -> (Vec<i64>, usize) {
    let (mut seqs, mut more, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let begun = Instant::now();
        let (status, page) = site.get(&format!("events?{query}{more}")).await;
        assert_eq!(status, 200, "{page}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        pages += 1;
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 50 && events.iter().all(|event| event.get("payload").is_none()));
        seqs.extend(events.iter().map(|event| event["seq"].as_i64().unwrap()));
        more = match (&page["next"]["before"], &page["next"]["after"]) {
            (Value::Number(before), _) => format!("&before={before}"),
            (_, Value::Number(after)) => {
                format!("&after={after}&after_tenant={}", page["next"]["tenant"].as_str().unwrap())
            }
            _ => return (seqs, pages),
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_each_event_once_however_many_there_are() {
    let site = Site::acting("pages").await;
    let _client = many(&site).await;
    // One row in a thousand, newest first, a window of 100,000 positions at a time.
    let (seqs, looked) = pages(&site, "tenant=t7").await;
    assert_eq!(seqs.len(), 300);
    assert!(seqs.is_sorted_by(|a, b| a > b), "newest first, each once");
    assert!((6..=12).contains(&looked), "{looked} pages");
    let (nothing, looked) = pages(&site, "tenant=nobody").await;
    assert!(nothing.is_empty() && (3..=5).contains(&looked), "{looked} windows");
    let (failed, _) = pages(&site, "status=failed&tenant=t500").await;
    assert_eq!(failed.len(), 300);
    let (pending, _) = pages(&site, "status=pending").await;
    assert_eq!(pending.len(), 5);
    assert_eq!(pages(&site, "aggregate=o-299999").await.0.len(), 1);
    assert_eq!(pages(&site, "id=300003").await.0, [300_003]);
    assert_eq!(
        pages(&site, "status=failed&code=40031&ago=3600&type=orders.order.created").await.0.len(),
        3_000
    );
    assert_eq!(pages(&site, "status=failed&code=99999").await.0.len(), 0);
    let (_, letters) = site.get("dead-letters").await;
    assert_eq!(letters["events"], 3_000, "{letters}");
    assert_eq!(letters["groups"][0]["code"], "40031");
    assert_eq!(letters["groups"][0]["tenants"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_pending_events_are_looked_at_by_windows_too() {
    let site = Site::acting("windows").await;
    let client = site.outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.pause (scope, target, until, actor) values ('all', '', 'infinity', 'a test');
             alter table outbox.event disable trigger user;
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, error)
             select 't', 'Order', 'o-' || n, 'orders.order.created', '{}', s, case when s = 'failed' then '{\"code\":\"X\"}'::jsonb end
               from generate_series(1, 45000) n, unnest(array['failed', 'pending']) s;
             alter table outbox.event enable trigger user; analyze outbox.event",
        )
        .await
        .unwrap();
    for status in ["failed", "pending"] {
        let (nothing, looked) = pages(&site, &format!("status={status}&type=x.y.z")).await;
        assert!(nothing.is_empty());
        assert_eq!(looked, 3, "windows of {status} events");
        let (two, _) = pages(&site, &format!("status={status}&aggregate=o-22222")).await;
        assert_eq!(two.len(), 1, "behind the first window of {status} events");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_requeue_goes_on_request_by_request_under_one_operation() {
    let site = Site::acting("largerequeue").await;
    let client = many(&site).await;
    let mut order = json!({ "filter": { "code": "40031" }, "reason": "all of them" });
    let (mut changed, mut requests) = (0, 0);
    loop {
        let (status, done) = site.post("requeue", &order).await;
        assert_eq!(status, 200, "{done}");
        changed += done["changed"].as_i64().unwrap();
        requests += 1;
        let Some(next) = done["next"].as_object() else { break };
        order["operation"] = next["operation"].clone();
        order["last"] = next["last"].clone();
    }
    assert_eq!((changed, count(&client, "failed").await), (3_000, 0));
    assert!((6..=7).contains(&requests), "{requests} requests");
    let operations = client
        .query_one(
            "select count(distinct operation), sum(cardinality(seqs)) from outbox.audit",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((operations.get::<_, i64>(0), operations.get::<_, i64>(1)), (1, 3_000));
}
