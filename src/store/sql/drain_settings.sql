-- The settings of a drain transaction, local to it: behind a pooler the connection is not ours. One prepared
-- statement, since eight SETs take the server 60 microseconds more, a quarter of a small claim.
-- idle_in_transaction: if the relay's host vanishes while the request is out, PostgreSQL frees the
-- tenant within this time, far below the 120 s for which Ably remembers ids. Planner settings: after a
-- bulk load statistics are stale, and a sequential scan of the outbox must not be an option; nor a bitmap scan,
-- which would read all of a tenant's million rows before its limit ends it; nor a sort, of whatever another index
-- has brought (planned when the table was empty: 200 ms a claim).
-- Generic plans: the planner would else look at each array anew, for longer (2 ms) than a small claim takes.
select pg_catalog.set_config('idle_in_transaction_session_timeout', '45s', true),
       pg_catalog.set_config('statement_timeout', '15s', true),
       pg_catalog.set_config('lock_timeout', '5s', true),
       pg_catalog.set_config('enable_seqscan', 'off', true),
       pg_catalog.set_config('enable_bitmapscan', 'off', true),
       pg_catalog.set_config('enable_sort', 'off', true),
       pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
       pg_catalog.set_config('jit', 'off', true)
