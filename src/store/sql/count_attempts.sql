-- A refusal on merits that is not yet final: $1 seqs, $2 the error of each as JSON text.
-- Index: event_pkey; `status = 'pending'` would let the planner walk all of event_pending instead.
update :"schema".event e
   set attempts = e.attempts + 1, error = f.error::jsonb
  from unnest($1::bigint[], $2::text[]) as f(seq, error)
 where e.seq = f.seq and e.status not in ('published', 'failed')
