-- The newest published events, at most $5, among the last $6 positions: history is not searched.
-- Filter: $1 tenant, $2 type, $3 code, $4 created since (ms), each null for any.
-- Index: event_pkey.
select e.seq from :"schema".event e
 where e.seq > (select coalesce(pg_catalog.max(l.seq), 0) from :"schema".event l) - $6 and e.status = 'published'
   and ($1::text is null or e.tenant_id = $1) and ($2::text is null or e.event_type = $2)
   and ($3::text is null or e.error ->> 'code' = $3 or e.error ->> 'ablyErrorCode' = $3)
   and ($4::bigint is null or e.created_at >= pg_catalog.to_timestamp($4 / 1000.0))
 order by e.seq desc
 limit $5
