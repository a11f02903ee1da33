-- How many failed events there are, counted up to $6, of how many tenants, and where the last failed event stands.
-- Filter: $1 tenant, $2 type, $3 code, $4 created since (ms), each null for any; $5 whether discarded ones count.
-- Index: event_failed or event_undecided.
select pg_catalog.count(*) as events, pg_catalog.count(distinct f.tenant_id) as tenants,
       (select pg_catalog.max(l.seq) from :"schema".event l where l.status = 'failed') as last
  from (select e.tenant_id from :"schema".event e
         where e.status = 'failed'
           and ($1::text is null or e.tenant_id = $1) and ($2::text is null or e.event_type = $2)
           and ($3::text is null or e.error ->> 'code' = $3 or e.error ->> 'ablyErrorCode' = $3)
           and ($4::bigint is null or e.created_at >= pg_catalog.to_timestamp($4 / 1000.0))
           and ($5::boolean or not (e.error ? 'discarded'))
         limit $6) f
