-- Settings of a look at the outbox for metrics. One simple-protocol string. Rather no numbers than a look that
-- burdens a server which is slow already.
set local statement_timeout = '2s';
set local lock_timeout = '500ms';
set local idle_in_transaction_session_timeout = '5s';
set local enable_seqscan = off;
set local jit = off
