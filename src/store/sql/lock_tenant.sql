-- Waits for the lock of tenant $1, the very one that a drain takes ($2 is the outbox's oid): until this
-- transaction ends no relay publishes for the tenant.
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, $2))
