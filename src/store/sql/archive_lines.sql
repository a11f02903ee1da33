-- Locks those of the rows ($1) that are still published and older than $2 milliseconds, and returns each as one
-- line of JSON, as many as fit into $3 bytes, one always. The payload stays the text that jsonb prints:
-- nobody parses its numbers. Rows that somebody else has locked are passed over. Index: event_pkey.
with locked as materialized (
  select e.seq, pg_catalog.row_to_json(e)::text as line
    from :"schema".event e
   where e.seq = any ($1::bigint[]) and e.status = 'published'
     and e.published_at < pg_catalog.statement_timestamp() - $2::bigint * interval '1 millisecond'
     for update skip locked
), summed as (
  select l.seq, l.line,
         pg_catalog.sum(pg_catalog.octet_length(l.line)) over (order by l.seq) - pg_catalog.octet_length(l.line) as bytes_before
    from locked l
)
select s.seq, s.line from summed s where s.bytes_before < $3 order by s.seq
