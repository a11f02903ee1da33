-- The rows of lock_rows with the traces that they were written in, for a relay whose publishes are traced. A statement of its own and
-- not a column of the claim: other relays read nothing more. What cannot be a traceparent by its length stays behind.
select e.seq, case when pg_catalog.octet_length(e.traceparent) = 55 then e.traceparent end as traceparent
  from :"schema".event e
 where e.seq = any ($1::bigint[]) and e.status not in ('published', 'failed')
   for update skip locked
