-- As prune_rows.sql, moving the rows into the archive in the same statement. Returns nothing of the archive: who
-- moves rows into it need not be able to read it.
with doomed as materialized (
  select e.seq from :"schema".event e
   where e.seq = any ($1::bigint[]) and e.status = 'published'
     and e.published_at < pg_catalog.statement_timestamp() - $2::bigint * interval '1 millisecond'
     for update skip locked
), gone as (
  delete from :"schema".event e
   where e.seq = any (array(select d.seq from doomed d)) and e.status = 'published'
  returning e.*
), archived as (
  insert into :"schema".event_archive
  select pg_catalog.clock_timestamp(), g.* from gone g order by g.seq
)
select pg_catalog.count(*) from gone
