-- Payload and headers of the event at position $1, unless they take more than $2 bytes where they are stored: what is
-- compressed may be many times as long. Index: event_pkey.
select pg_catalog.pg_column_size(e.payload)::bigint as stored_bytes,
       case when pg_catalog.pg_column_size(e.payload) <= $2 then e.payload::text end as payload,
       case when pg_catalog.pg_column_size(e.headers) <= $2 then e.headers::text end as headers
  from :"schema".event e
 where e.seq = $1
