-- Makes failed events ($2) of tenant $1 pending again, discarded ones if $3, each under a new generation.
-- Returns what has changed. A statement of its own after the lock: it sees what the last drain has settled.
-- Index: event_pkey.
with requeued as (
  update :"schema".event e
     set status = 'pending', attempts = 0, error = null
   where e.seq = any ($2::bigint[]) and e.tenant_id = $1 and e.status not in ('pending', 'published')
     and ($3::boolean or not (e.error ? 'discarded'))
  returning e.seq
), counted as (
  insert into :"schema".redelivery as r (seq, generation)
  select q.seq, 1 from requeued q
      on conflict (seq) do update set generation = r.generation + 1
)
select q.seq from requeued q order by q.seq
