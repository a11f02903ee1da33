-- Claims the outbox's only pending event, with the settings of drain_settings.sql (triggers/claim_lone.sql): the columns of
-- read_runs, `events` and the server process. $1: tenants to pass over; $2: bytes of a message at most.
select c.*, null::text as base_id, null::integer as group_events, 0 as hold_failures, null::text as traceparent,
       false as paused
  from :"schema".claim_lone($1, $2) c
