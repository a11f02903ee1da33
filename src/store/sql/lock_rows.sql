-- Locks the rows ($1) that are about to be sent; those that somebody else is changing are passed over.
-- The tenant's advisory lock keeps other relays away; this keeps operators' statements away, and
-- leaves the trace by which an event that was in flight alone is known after a crash.
select e.seq from :"schema".event e
 where e.seq = any ($1::bigint[]) and e.status = 'pending'
   for update skip locked
