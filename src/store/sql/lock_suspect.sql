-- Locks the tenant that was least recently tried of those that lock_tenants passes over because of their
-- crashes. Index: crash_pkey (the table is all but empty), then event_pending. The key of the lock is
-- lock_tenants'. Tried before $1 milliseconds ago, so that one round meets each of them once.
-- Passes over what is paused, as lock_tenants does.
with waiting as materialized (
  select c.tenant_id, c.crashes, c.tried_at
    from :"schema".crash c
   where c.crashes >= 3 and c.tried_at > pg_catalog.clock_timestamp() - interval '1 hour'
     and c.tried_at < pg_catalog.clock_timestamp() - $1 * interval '1 millisecond'
     and exists (select from :"schema".event e where e.tenant_id = c.tenant_id and e.status = 'pending')
     and not exists (select from :"schema".hold h
                      where h.tenant_id = c.tenant_id and h.until > pg_catalog.statement_timestamp())
     and not exists (select from :"schema".pause p
                      where p.until > pg_catalog.statement_timestamp()
                        and (p.scope = 'all' or p.scope = 'tenant' and p.target = c.tenant_id
                             or p.scope = 'type' and p.target = (select e.event_type from :"schema".event e
                                  where e.tenant_id = c.tenant_id and e.status = 'pending' order by e.seq limit 1)
                                and not exists (select from :"schema".in_flight f where f.tenant_id = c.tenant_id)))
   order by c.tried_at
)
select w.tenant_id, pg_catalog.pg_backend_pid(), w.crashes,
       w.tried_at < pg_catalog.clock_timestamp() - interval '150 seconds' as ids_forgotten
  from waiting w
 where pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(w.tenant_id,
         (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid::bigint)))
 limit 1
