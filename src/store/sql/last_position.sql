-- The highest position so far; whatever is written from now on gets a higher one. Index: event_pkey.
select coalesce(pg_catalog.max(seq), 0) from :"schema".event
