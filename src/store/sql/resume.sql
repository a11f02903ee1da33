-- Ends the pause of $1 (`all`, `tenant`, `type`) $2. Returns whether it was still in force.
delete from :"schema".pause p where p.scope = $1 and p.target = $2
returning p.until > pg_catalog.clock_timestamp()
