-- Events at positions below $1 and not below $2, newest first, at most $3: a window that the caller moves, so that
-- no filter reads more of the history at once.
-- Filter, null for any: $4 status, $5 tenant, $6 type, $7 aggregate (its id or its type), $8 code, $9 created since (ms).
-- Index: event_pkey.
select w.seq
  from (select e.seq, e.status, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.error, e.created_at
          from :"schema".event e where e.seq < $1 and e.seq >= $2 order by e.seq desc limit 100000) w
 where ($4::text is null or w.status = $4)
   and ($5::text is null or w.tenant_id = $5) and ($6::text is null or w.event_type = $6)
   and ($7::text is null or w.aggregate_id = $7 or w.aggregate_type = $7)
   and ($8::text is null or w.error ->> 'code' = $8 or w.error ->> 'ablyErrorCode' = $8)
   and ($9::bigint is null or w.created_at >= pg_catalog.to_timestamp($9 / 1000.0))
 limit $3
