-- Pauses in force by scope.
select p.scope, pg_catalog.count(*) from :"schema".pause p where p.until > pg_catalog.clock_timestamp() group by p.scope
