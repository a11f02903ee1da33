-- The highest position below $1; null when there is none. Index: event_pkey.
select pg_catalog.max(e.seq) from :"schema".event e where e.seq < $1
