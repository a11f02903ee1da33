-- Tenants on hold after tenant $1, or tenant $2 only, at most $3, each with its backlog counted up to $4.
-- Index: hold's primary key, event_pending.
select h.tenant_id, pg_catalog.to_json(h.since) #>> '{}' as since,
       case when pg_catalog.isfinite(h.until) then pg_catalog.to_json(h.until) #>> '{}' end as until,
       h.until > pg_catalog.clock_timestamp() as waiting, h.reason, h.failures, h.message,
       (select pg_catalog.count(*) from (select from :"schema".event e
         where e.tenant_id = h.tenant_id and e.status = 'pending' limit $4) p) as backlog
  from :"schema".hold h
 where h.tenant_id > $1 and ($2::text is null or h.tenant_id = $2)
 order by h.tenant_id
 limit $3
