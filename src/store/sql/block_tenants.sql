-- Puts the tenants of events ($1) that have just failed on hold until somebody decides: policy `block`.
-- In the transaction that fails them, so that no later event can come in between.
-- Index: event_pkey.
insert into :"schema".hold as h (tenant_id, until, reason, message)
select e.tenant_id, 'infinity', 'blocked',
       pg_catalog.format('event %s (position %s) failed: %s', e.id, e.seq, pg_catalog.left(e.error ->> 'message', 500))
  from :"schema".event e
 where e.seq = any ($1::bigint[]) and e.status not in ('pending', 'published')
    on conflict (tenant_id) do update
   set since = pg_catalog.clock_timestamp(), until = excluded.until, failures = h.failures + 1,
       reason = excluded.reason, message = excluded.message
