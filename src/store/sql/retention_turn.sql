-- One relay of an outbox prunes at a time. Of the transaction, not of the session: it must also hold
-- through a pooler in transaction mode.
select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('outbox-relay retention ' || :'schema', 0))
