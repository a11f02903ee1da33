-- Takes payload and headers out of those of the rows ($1) that still are what was asked for: older than $2
-- milliseconds, of status $3, tenant $4, event type like $5, aggregate $6. Rows that somebody else has locked
-- are passed over. A pending row never: its payload is still to be sent. Index: event_pkey.
with known as materialized (
  select e.seq from :"schema".event e
   where e.seq = any ($1::bigint[]) and e.status = any ($3::text[])
     and case e.status when 'published' then e.published_at else e.created_at end
         < pg_catalog.statement_timestamp() - $2::bigint * interval '1 millisecond'
     and ($4::text is null or e.tenant_id = $4)
     and ($5::text is null or e.event_type like $5)
     and ($6::text is null or e.aggregate_id = $6)
     for update skip locked
), scrubbed as (
  update :"schema".event e
     set payload = '{"scrubbed": true}', headers = null
   where e.seq = any (array(select k.seq from known k)) and e.status <> 'pending'
  returning e.seq
)
select pg_catalog.count(*) from scrubbed
