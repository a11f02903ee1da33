-- Locks the rows ($1) that are about to be sent; those that somebody else is changing are passed over.
-- The tenant's advisory lock keeps other relays away; this keeps operators' statements away, and
-- leaves the trace by which an event that was in flight alone is known after a crash.
-- Index: event_pkey; `status = 'pending'` would let the planner walk all of event_pending instead.
select e.seq from :"schema".event e
 where e.seq = any ($1::bigint[]) and e.status not in ('published', 'failed')
   for update skip locked
