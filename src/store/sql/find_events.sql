-- The positions of events that are named by id ($1) or by position ($2).
-- Index: the unique index of id, event_pkey.
select e.seq, e.id, true as by_id from :"schema".event e where e.id = any ($1::text[])
union all
select e.seq, e.id, false from :"schema".event e where e.seq = any ($2::bigint[])
