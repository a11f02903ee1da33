-- Opens the drain transaction. One simple-protocol string: it travels with the first statement.
-- idle_in_transaction: if the relay's host vanishes while the request is out, PostgreSQL frees the
-- tenant within this time, far below the 120 s for which Ably remembers ids. Planner settings: after a
-- bulk load statistics are stale, and a sequential scan of the outbox must not be an option; nor a bitmap scan,
-- which would read all of a tenant's million rows before its limit ends it; nor a sort, of whatever another index
-- has brought (planned when the table was empty: 200 ms a claim).
-- Generic plans: the planner would else look at each array anew, for longer (2 ms) than a small claim takes.
-- Isolation: each statement needs a snapshot of its own (read_runs), whatever the database's default is.
begin isolation level read committed;
set local idle_in_transaction_session_timeout = '45s';
set local statement_timeout = '15s';
set local lock_timeout = '5s';
set local enable_seqscan = off;
set local enable_bitmapscan = off;
set local enable_sort = off;
set local plan_cache_mode = force_generic_plan;
set local jit = off
