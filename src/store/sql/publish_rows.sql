-- Settles what Ably has accepted.
-- Index: event_pkey; `status = 'pending'` would let the planner walk all of event_pending instead.
update :"schema".event
   set status = 'published', published_at = pg_catalog.clock_timestamp(), error = null
 where seq = any ($1::bigint[]) and status not in ('published', 'failed')
