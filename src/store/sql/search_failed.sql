-- Failed events at positions below $1, newest first, at most $2, among the next 20,000 of them.
-- Filter, null for any: $3 tenant, $4 type, $5 aggregate (its id or its type), $6 code, $7 created since (ms), $8 whether discarded.
-- Index: event_failed.
select w.seq
  from (select e.seq, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.error, e.created_at
          from :"schema".event e where e.status = 'failed' and e.seq < $1 order by e.seq desc limit 20000) w
 where ($3::text is null or w.tenant_id = $3) and ($4::text is null or w.event_type = $4)
   and ($5::text is null or w.aggregate_id = $5 or w.aggregate_type = $5)
   and ($6::text is null or w.error ->> 'code' = $6 or w.error ->> 'ablyErrorCode' = $6)
   and ($7::bigint is null or w.created_at >= pg_catalog.to_timestamp($7 / 1000.0))
   and ($8::boolean is null or (w.error ? 'discarded') = $8)
 limit $2
