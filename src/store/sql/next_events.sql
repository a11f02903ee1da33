-- Positions after $1, at most $2, lowest first. Index: event_pkey.
select e.seq from :"schema".event e where e.seq > $1 order by e.seq limit $2
