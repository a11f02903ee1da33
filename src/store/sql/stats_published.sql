-- What was published lately among the last $1 positions: how many in 1 and 5 minutes, and how long they had waited. There is no
-- index on published_at, so while old events are being caught up with they are not among these. As JSON. Index: event_pkey.
with recent as materialized (
  select e.created_at, e.published_at from :"schema".event e
   where e.seq > (select coalesce(pg_catalog.max(l.seq), 0) from :"schema".event l) - $1
     and e.status = 'published' and pg_catalog.isfinite(e.created_at)
), lately as materialized (
  select r.published_at, greatest(pg_catalog.date_part('epoch', r.published_at - r.created_at), 0) as waited from recent r
   where r.published_at > pg_catalog.clock_timestamp() - interval '5 minutes'
)
select pg_catalog.json_build_object(
  'last_minute', (select pg_catalog.count(*) from lately l where l.published_at > pg_catalog.clock_timestamp() - interval '1 minute'),
  'last_5_minutes', (select pg_catalog.count(*) from lately),
  'more', (select pg_catalog.count(*) from lately) > 0 and not exists (
    select from recent r where r.created_at < pg_catalog.clock_timestamp() - interval '5 minutes')
    and exists (select from :"schema".event e
                 where e.seq = (select pg_catalog.max(l.seq) from :"schema".event l) - $1),
  'latency_p50_seconds', (select pg_catalog.percentile_cont(0.5) within group (order by l.waited) from lately l),
  'latency_p99_seconds', (select pg_catalog.percentile_cont(0.99) within group (order by l.waited) from lately l),
  'last_position', (select coalesce(pg_catalog.max(l.seq), 0) from :"schema".event l)
)::text
