-- Pending events counted up to $1, and the oldest of: the first event of each of $3 tenants after tenant $2, and
-- the event at position $4, which was the oldest one that an earlier look has seen.
-- Index: event_pending, one probe per tenant however many rows each has; event_pkey for $4, asked for in a way
-- that event_pending cannot serve.
with recursive head as (
  (select e.tenant_id, e.seq, e.created_at, 1 as turn from :"schema".event e
    where e.status = 'pending' and e.tenant_id > $2
    order by e.tenant_id, e.seq limit 1)
  union all
  select n.tenant_id, n.seq, n.created_at, h.turn + 1
    from head h
   cross join lateral (select e.tenant_id, e.seq, e.created_at from :"schema".event e
                        where e.status = 'pending' and e.tenant_id > h.tenant_id
                        order by e.tenant_id, e.seq limit 1) n
   where h.turn < $3
), seen as (
  select h.seq, h.created_at from head h
  union all
  select e.seq, e.created_at from :"schema".event e
   where e.seq = $4 and e.status not in ('published', 'failed')
)
select (select pg_catalog.count(*) from (select from :"schema".event where status = 'pending' limit $1) p) as pending,
       -- Where the next look goes on; null when this one has come to the end.
       (select case when pg_catalog.count(*) >= $3 then pg_catalog.max(h.tenant_id collate "C") end from head h) as last_tenant,
       o.seq as oldest,
       greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - o.created_at), 0) as age
  from (select) one
  left join lateral (select s.seq, s.created_at from seen s where pg_catalog.isfinite(s.created_at)
                      order by s.created_at limit 1) o on true
