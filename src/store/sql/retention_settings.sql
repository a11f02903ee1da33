-- How a batch of prune or scrub behaves, for its transaction only.
-- Short limits: whoever waits for us is an application. idle_in_transaction: the archive's file is written
-- and flushed in between. No bitmap scan: it would read a whole window before its limit ends it.
-- The time zone: an archived line must not depend on who wrote it.
set local statement_timeout = '15s';
set local lock_timeout = '5s';
set local idle_in_transaction_session_timeout = '60s';
set local enable_seqscan = off;
set local enable_bitmapscan = off;
set local jit = off;
set local timezone = 'UTC'
