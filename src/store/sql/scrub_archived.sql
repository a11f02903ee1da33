-- As scrub_rows.sql, in the archive. By ctid, which row locks keep: a position may be there more than once.
with known as materialized (
  select e.ctid from :"schema".event_archive e
   where e.seq = any ($1::bigint[]) and e.status = any ($3::text[])
     and case e.status when 'published' then e.published_at else e.created_at end
         < pg_catalog.statement_timestamp() - $2::bigint * interval '1 millisecond'
     and ($4::text is null or e.tenant_id = $4)
     and ($5::text is null or e.event_type like $5)
     and ($6::text is null or e.aggregate_id = $6)
     for update skip locked
), scrubbed as (
  update :"schema".event_archive e
     set payload = '{"scrubbed": true}', headers = null
   where e.ctid = any (array(select k.ctid from known k))
  returning e.seq
)
select pg_catalog.count(*) from scrubbed
