-- Settings of an operator's transaction. One simple-protocol string. The times are below the 20 s for
-- which an answer is waited for; UTC makes every time print as RFC 3339. A list must not read the whole
-- outbox, also where statistics are stale.
set local statement_timeout = '18s';
set local lock_timeout = '15s';
set local idle_in_transaction_session_timeout = '30s';
set local timezone = 'UTC';
set local enable_seqscan = off;
set local jit = off
