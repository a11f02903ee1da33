-- Waits for the lock of tenant $1, the very one that a drain takes (see lock_tenants.sql): until this
-- transaction ends no relay publishes for the tenant.
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1,
         (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid::bigint)))
