-- What became of the events behind a position ($1) whose aggregate id begins with $2.
-- Index: event_pkey, from that position on.
select pg_catalog.count(*) filter (where e.status = 'published') as published,
       pg_catalog.count(*) filter (where e.status = 'pending') as pending,
       pg_catalog.count(*) filter (where e.status = 'failed') as failed,
       pg_catalog.min(e.error ->> 'message') as an_error
  from :"schema".event e
 where e.seq > $1 and pg_catalog.starts_with(e.aggregate_id, $2)
