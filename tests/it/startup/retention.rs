//! What the role of `prune` and `scrub` needs, found by taking the error's remedy at its word.

use std::process::Command;

use super::fails;
use super::server::Place;

const REMEDY: &str = "run as the outbox's owner: ";

#[tokio::test]
async fn whoever_prunes_or_scrubs_is_told_what_to_grant_and_needs_no_more() {
    for (args, grants) in [
        (
            &["prune", "--published-older-than", "1d", "--dry-run"][..],
            "GRANT USAGE ON SCHEMA outbox TO ROLE; GRANT SELECT ON outbox.event TO ROLE; \
             GRANT SELECT ON outbox.schema_history TO ROLE;",
        ),
        (
            &["prune", "--published-older-than", "1d", "--yes"],
            "GRANT USAGE ON SCHEMA outbox TO ROLE; GRANT SELECT ON outbox.event TO ROLE; \
             GRANT UPDATE (status) ON outbox.event TO ROLE; GRANT DELETE ON outbox.event TO ROLE; \
             GRANT SELECT ON outbox.schema_history TO ROLE;",
        ),
        (
            &["prune", "--published-older-than", "1d", "--yes", "--archive-table"],
            "GRANT USAGE ON SCHEMA outbox TO ROLE; GRANT SELECT ON outbox.event TO ROLE; \
             GRANT UPDATE (status) ON outbox.event TO ROLE; GRANT DELETE ON outbox.event TO ROLE; \
             GRANT SELECT ON outbox.schema_history TO ROLE; GRANT INSERT ON outbox.event_archive TO ROLE;",
        ),
        (
            &["scrub", "--published-older-than", "1d", "--yes"],
            "GRANT USAGE ON SCHEMA outbox TO ROLE; GRANT SELECT ON outbox.event TO ROLE; \
             GRANT UPDATE (payload, headers) ON outbox.event TO ROLE; \
             GRANT SELECT ON outbox.schema_history TO ROLE; GRANT SELECT ON outbox.event_archive TO ROLE; \
             GRANT UPDATE (payload, headers) ON outbox.event_archive TO ROLE;",
        ),
    ] {
        let place = Place::with_outbox().await;
        place
            .sql(
                "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, created_at, published_at)
                   select 'a', 'b', 'c', 'd.e', '{}', 'published', now() - interval '3 days', now() - interval '2 days'
                     from generate_series(1, 10);
                 insert into outbox.redelivery values (3, 1);
                 insert into outbox.event_archive select now(), e.* from outbox.event e",
            )
            .await;
        let failed = fails(args, &[("DATABASE_URL", &place.url())]);
        failed.is(77, &["lacks USAGE"], &[REMEDY]);
        let told = failed.remedy.strip_prefix(REMEDY).unwrap();
        assert_eq!(told, grants.replace("ROLE", &place.name));
        place.sql(told).await;
        let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .args(args)
            .env_clear()
            .env("DATABASE_URL", place.url())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("10 events"));
    }
}
