-- The newest failed events, at most $6.
-- Filter: $1 tenant, $2 type, $3 code, $4 created since (ms), each null for any; $5 whether discarded ones count.
-- Index: event_failed or event_undecided; planned with the values, so that what is null costs nothing.
select e.seq from :"schema".event e
 where e.status = 'failed'
   and ($1::text is null or e.tenant_id = $1) and ($2::text is null or e.event_type = $2)
   and ($3::text is null or e.error ->> 'code' = $3 or e.error ->> 'ablyErrorCode' = $3)
   and ($4::bigint is null or e.created_at >= pg_catalog.to_timestamp($4 / 1000.0))
   and ($5::boolean or not (e.error ? 'discarded'))
 order by e.seq desc
 limit $6
