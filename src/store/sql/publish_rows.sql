-- Settles what Ably has accepted. Index: primary key.
update :"schema".event
   set status = 'published', published_at = pg_catalog.clock_timestamp(), error = null
 where seq = any ($1::bigint[]) and status = 'pending'
