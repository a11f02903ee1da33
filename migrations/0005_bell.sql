-- Until when a relay is awake, in milliseconds since 1970 by the server's clock: while that lies ahead,
-- writers need not ring (triggers/event_bell.sql). A sequence and not a row, because its value is read
-- and written outside transactions: a writer in REPEATABLE READ must not see a relay awake that has dozed off
-- since. Before it is first set it has no value, which means that nobody is awake.
create sequence :"schema".awake_until as bigint minvalue 0 start 0 cache 1;
comment on sequence :"schema".awake_until is
  'Until when a relay is awake (ms since 1970); until then writers need not notify it. Set by relays only.';

-- Whoever writes must be able to read it, or rings at every statement; it says nothing but a time.
grant select on sequence :"schema".awake_until to public;
