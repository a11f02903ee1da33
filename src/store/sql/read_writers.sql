-- Transactions that have written to the outbox and are not over, all or those of $1: an insert takes this lock
-- before the trigger looks whether a relay is awake, and it goes only when what was committed can be seen.
-- Prepared transactions are among them. A subtransaction's lock is its transaction's.
select l.virtualtransaction
  from pg_catalog.pg_locks l
 where l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.granted
   and l.relation = pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid
   and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
   and l.pid is distinct from pg_catalog.pg_backend_pid()
   and ($1::text[] is null or l.virtualtransaction = any ($1::text[]))
