-- Pending events after tenant $1 and position $2, by tenant and position, at most $3, among the next 20,000 of them.
-- Filter, null for any: $4 tenant, $5 type, $6 aggregate (its id or its type), $7 created since (ms).
-- Index: event_pending.
select w.seq
  from (select e.seq, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.created_at
          from :"schema".event e
         where e.status = 'pending' and (e.tenant_id, e.seq) > ($1, $2) and ($4::text is null or e.tenant_id = $4)
         order by e.tenant_id, e.seq limit 20000) w
 where ($5::text is null or w.event_type = $5)
   and ($6::text is null or w.aggregate_id = $6 or w.aggregate_type = $6)
   and ($7::bigint is null or w.created_at >= pg_catalog.to_timestamp($7 / 1000.0))
 limit $3
