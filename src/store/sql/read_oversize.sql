-- What read_runs leaves behind of events ($1) whose payload no message can hold, but for the payload: only where a
-- link takes its place. Names and headers that are themselves larger than a message ($2) stay behind still.
-- Index: event_pkey.
select e.seq, e.aggregate_type, e.aggregate_id, e.event_type, e.headers::text as headers,
       case when pg_catalog.octet_length(e.traceparent) = 55 then e.traceparent end as traceparent
  from :"schema".event e
 where e.seq = any ($1::bigint[])
   and pg_catalog.octet_length(e.event_type)::bigint + pg_catalog.octet_length(e.aggregate_type)
       + pg_catalog.octet_length(e.aggregate_id) + coalesce(pg_catalog.pg_column_size(e.headers), 0) <= $2
