-- Deletes those of the rows ($1) that are published and older than $2 milliseconds, whatever found them said.
-- Rows that somebody else has locked are passed over. Index: event_pkey.
with doomed as materialized (
  select e.seq from :"schema".event e
   where e.seq = any ($1::bigint[]) and e.status = 'published'
     and e.published_at < pg_catalog.statement_timestamp() - $2::bigint * interval '1 millisecond'
     for update skip locked
), gone as (
  delete from :"schema".event e
   where e.seq = any (array(select d.seq from doomed d)) and e.status = 'published'
  returning e.seq
)
select pg_catalog.count(*) from gone
