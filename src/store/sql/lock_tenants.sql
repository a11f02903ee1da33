-- Locks up to $2 tenants that have pending events, going round from the tenant after $1.
-- Index: event_pending, one probe per tenant however many rows each has. Locks: one transaction-level
-- advisory lock per tenant, keyed by tenant and outbox (the oid of its table), so that two outboxes in one
-- database do not meet. The oid is looked up at each call, not once a connection: when the schema is
-- dropped and made anew, relays with older connections would lock by another key than the rest. A tenant
-- that another relay has is passed over, and so are those in $3, whose channel is at its rate, and those that
-- lock_suspect.sql takes one by one.
-- $4 is the floor (relay::floor), or 0: no pending row is below it. Under a snapshot that is held for long, what was
-- published since leaves its dead entries in event_pending, and each look for a tenant's first row goes to the table
-- for every one of them. So as long as the rows from the floor on are few they are read by position, and say which
-- tenants there are; when they are more, the entries below the floor are at least recognised without the table. $5 is how
-- many rows are few; 0 from whoever knows that there are more, since reading them is two thirds of such a claim.
-- Of what is paused (table pause) nobody is locked: with everything paused the walk does not even begin, and as
-- long as no row is there nothing else is asked. Of a paused type is a tenant whose first event is; the rows behind it
-- are left out where they are read (claim.rs). A recorded group goes all the same: it may be at Ably, and when the pause is over
-- Ably would no longer know it. When there are pauses, a last row without a tenant says how many of each scope, and in how many
-- milliseconds the next one ends.
-- Leaves the tenants in a setting of the transaction, so that read_runs can be sent without waiting for them.
with recursive now_paused as materialized (
  select coalesce(pg_catalog.bool_or(p.scope = 'all'), false) as everything,
         coalesce(pg_catalog.bool_or(p.scope = 'tenant'), false) as tenants,
         coalesce(pg_catalog.bool_or(p.scope = 'type'), false) as types,
         pg_catalog.count(*) as pauses,
         pg_catalog.count(*) filter (where p.scope = 'tenant') as tenants_paused,
         pg_catalog.count(*) filter (where p.scope = 'type') as types_paused,
         pg_catalog.min(p.until) filter (where pg_catalog.isfinite(p.until)) as next_end
    from :"schema".pause p where p.until > pg_catalog.statement_timestamp()
), recent as materialized (
  select e.tenant_id, e.status from :"schema".event e where $4::bigint > 0 and e.seq >= $4 order by e.seq limit $5::bigint + 1
), few as materialized (
  select $4 > 0 and count(*) <= $5 as are from recent
), after_cursor as (
  (select e.tenant_id from :"schema".event e
    where e.status = 'pending' and e.tenant_id > $1 and e.seq >= $4 and not (select are from few)
      and not (select n.everything from now_paused n)
    order by e.tenant_id limit 1)
  union all
  select (select e.tenant_id from :"schema".event e
           where e.status = 'pending' and e.tenant_id > t.tenant_id and e.seq >= $4
           order by e.tenant_id limit 1)
    from after_cursor t where t.tenant_id is not null
), up_to_cursor as (
  (select e.tenant_id from :"schema".event e
    where e.status = 'pending' and e.tenant_id <= $1 and e.seq >= $4 and not (select are from few)
      and not (select n.everything from now_paused n)
    order by e.tenant_id limit 1)
  union all
  select (select e.tenant_id from :"schema".event e
           where e.status = 'pending' and e.tenant_id > t.tenant_id and e.tenant_id <= $1 and e.seq >= $4
           order by e.tenant_id limit 1)
    from up_to_cursor t where t.tenant_id is not null
), near as (
  select r.tenant_id from recent r
   where r.status = 'pending' and (select are from few) and not (select n.everything from now_paused n)
   group by r.tenant_id
   order by r.tenant_id <= $1, r.tenant_id
), waiting as materialized (
  -- Materialised, so that the lock is tried last, and only on what the limit still needs.
  select t.tenant_id
    from (select tenant_id from after_cursor union all select tenant_id from up_to_cursor
          union all select tenant_id from near) t
   where t.tenant_id is not null
     and t.tenant_id <> all ($3::text[])
     and not exists (select from :"schema".hold h
                      where h.tenant_id = t.tenant_id and h.until > pg_catalog.statement_timestamp())
     and not exists (select from :"schema".crash c
                      where c.tenant_id = t.tenant_id and c.crashes >= 3
                        and c.tried_at > pg_catalog.clock_timestamp() - interval '1 hour')
     and case when (select n.tenants from now_paused n) then
           not exists (select from :"schema".pause p where p.scope = 'tenant' and p.target = t.tenant_id
                          and p.until > pg_catalog.statement_timestamp())
         else true end
     and case when (select n.types from now_paused n) then
           not exists (select from :"schema".pause p
                        where p.scope = 'type' and p.until > pg_catalog.statement_timestamp()
                          and p.target = (select e.event_type from :"schema".event e
                                           where e.status = 'pending' and (e.tenant_id, e.seq) >= (t.tenant_id, $4) and e.tenant_id <= t.tenant_id
                                           order by e.tenant_id, e.seq limit 1))
           or exists (select from :"schema".in_flight f where f.tenant_id = t.tenant_id)
         else true end
), locked as materialized (
  select w.tenant_id
    from waiting w
   where pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(w.tenant_id,
           (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid::bigint)))
   limit $2
), told as materialized (
  select pg_catalog.set_config('outbox_relay.locked', pg_catalog.array_agg(l.tenant_id)::text, true) from locked l
)
select l.tenant_id, pg_catalog.pg_backend_pid(), null::boolean as everything, null::bigint as tenants_paused,
       null::bigint as types_paused, null::bigint as ends_in_ms
  from locked l, told
 union all
select null, 0, n.everything, n.tenants_paused, n.types_paused,
       pg_catalog.ceil(1000 * pg_catalog.date_part('epoch', n.next_end - pg_catalog.clock_timestamp()))::bigint
  from now_paused n where n.pauses > 0
