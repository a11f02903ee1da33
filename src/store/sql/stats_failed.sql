-- Failed events about which nobody has decided, the first $1 of them, by code. As JSON. Index: event_undecided.
with failed as materialized (
  select coalesce(e.error ->> 'ablyErrorCode', e.error ->> 'code', 'unknown') as code, e.created_at from :"schema".event e
   where e.status = 'failed' and not (e.error ? 'discarded')
   order by e.tenant_id, e.seq limit $1
)
select pg_catalog.json_build_object(
  'events', (select pg_catalog.count(*) from failed),
  'more', (select pg_catalog.count(*) from failed) >= $1,
  'codes', (select coalesce(pg_catalog.json_agg(c), '[]') from (
      select f.code as name, pg_catalog.count(*) as events,
             greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
               - pg_catalog.min(f.created_at) filter (where pg_catalog.isfinite(f.created_at))), 0) as oldest_age_seconds
        from failed f group by f.code order by 2 desc, 1 limit $2) c)
)::text
