-- Locks the event of each tenant that lock_tenants has locked and that has exactly one, as lock_rows does for all that
-- is sent: in the round trip of the claim, for an outbox that keeps up has little else. Sent behind read_runs, which
-- reads the traces of earlier locks. What is locked here is sent, unless the relay dies first: a trace
-- without a sending costs a repeat by itself, nothing else. An event that came in between is no reason to send
-- the other alone: then there are two, or one that read_runs has not seen, and lock_rows does the rest.
-- Above the floor ($1, see lock_tenants). Index: event_pending, one probe per tenant; event_pkey.
with lone as materialized (
  select o.seq
    from pg_catalog.unnest(nullif(pg_catalog.current_setting('outbox_relay.locked', true), '')::text[]) as t(tenant_id)
   cross join lateral (
     select pg_catalog.min(two.seq) as seq, pg_catalog.count(*) as events
       from (select e.seq from :"schema".event e
              where (e.tenant_id, e.seq) >= (t.tenant_id, $1::bigint) and e.tenant_id <= t.tenant_id and e.status = 'pending'
              order by e.tenant_id, e.seq
              limit 2) two) o
   where o.events = 1
     and not exists (select from :"schema".in_flight f where f.tenant_id = t.tenant_id)
     and not exists (select from :"schema".hold h
                      where h.tenant_id = t.tenant_id and h.until > pg_catalog.statement_timestamp())
)
select e.seq from :"schema".event e
 where e.seq = any (array(select l.seq from lone l)) and e.status not in ('published', 'failed')
   for update skip locked
