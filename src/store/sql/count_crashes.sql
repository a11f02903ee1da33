-- Counts that events of these tenants ($1) were in flight and nobody settled them: before they are sent
-- again, on a connection of its own, so that the count outlives the next crash. Those of more than an hour
-- ago have nothing to do with this one. Returns each tenant with its count.
insert into :"schema".crash as c (tenant_id, crashes)
select t.tenant_id, 1 from pg_catalog.unnest($1::text[]) as t(tenant_id) order by t.tenant_id
    on conflict (tenant_id) do update
   set crashes = case when c.tried_at < pg_catalog.clock_timestamp() - interval '1 hour' then 1 else c.crashes + 1 end,
       tried_at = pg_catalog.clock_timestamp()
returning c.tenant_id, c.crashes
