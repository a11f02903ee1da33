-- Failed events about which nobody has decided, the first $1 of them, by code: how many, of how many tenants, since when,
-- and what the newest says. As JSON, at most 50 groups. Index: event_undecided.
with failed as materialized (
  select e.seq, e.tenant_id, e.event_type, e.created_at, e.error ->> 'code' as kind, e.error ->> 'ablyErrorCode' as ably_code,
         pg_catalog.left(e.error ->> 'message', 300) as message
    from :"schema".event e
   where e.status = 'failed' and not (e.error ? 'discarded')
   order by e.tenant_id, e.seq limit $1
)
select pg_catalog.json_build_object(
  'events', (select pg_catalog.count(*) from failed),
  'more', (select pg_catalog.count(*) from failed) >= $1,
  'groups', (select coalesce(pg_catalog.json_agg(g), '[]') from (
      select coalesce(f.ably_code, f.kind, 'unknown') as code, pg_catalog.min(f.kind) as kind, pg_catalog.count(*) as events,
             pg_catalog.count(distinct f.tenant_id) as tenants, pg_catalog.count(distinct f.event_type) as types,
             pg_catalog.to_json(pg_catalog.min(f.created_at)) #>> '{}' as oldest,
             pg_catalog.to_json(pg_catalog.max(f.created_at)) #>> '{}' as newest,
             (pg_catalog.array_agg(f.message order by f.seq desc))[1] as message
        from failed f group by 1 order by 3 desc, 1 limit 50) g)
)::text
