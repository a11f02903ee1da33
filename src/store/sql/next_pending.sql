-- The first pending position from $1 on, below $2. Index: event_pkey (hence no `status = 'pending'`, see lock_rows): the
-- rows between are read, published ones, each once as the floor rises over them.
select e.seq from :"schema".event e
 where e.seq >= $1 and e.seq < $2 and e.status not in ('published', 'failed')
 order by e.seq limit 1
