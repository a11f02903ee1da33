-- The first $1 pending events by tenant and position: how many, the age of the oldest in seconds, and the $2 tenants and
-- types with most of them. As JSON. Index: event_pending.
with pending as materialized (
  select e.tenant_id, e.event_type, e.created_at from :"schema".event e
   where e.status = 'pending' order by e.tenant_id, e.seq limit $1
)
select pg_catalog.json_build_object(
  'events', (select pg_catalog.count(*) from pending),
  'more', (select pg_catalog.count(*) from pending) >= $1,
  'oldest_age_seconds', (select greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.min(p.created_at)), 0)
                           from pending p where pg_catalog.isfinite(p.created_at)),
  'tenants', (select coalesce(pg_catalog.json_agg(t), '[]') from (
      select p.tenant_id as name, pg_catalog.count(*) as events,
             greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
               - pg_catalog.min(p.created_at) filter (where pg_catalog.isfinite(p.created_at))), 0) as oldest_age_seconds
        from pending p group by p.tenant_id order by 2 desc, 1 limit $2) t),
  'types', (select coalesce(pg_catalog.json_agg(t), '[]') from (
      select p.event_type as name, pg_catalog.count(*) as events,
             greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
               - pg_catalog.min(p.created_at) filter (where pg_catalog.isfinite(p.created_at))), 0) as oldest_age_seconds
        from pending p group by p.event_type order by 2 desc, 1 limit $2) t)
)::text
