-- What is paused, at most $1, everything first. Index: pause_pkey.
select p.scope, p.target, pg_catalog.to_json(p.since) #>> '{}' as since,
       case when pg_catalog.isfinite(p.until) then pg_catalog.to_json(p.until) #>> '{}' end as until, p.actor, p.reason
  from :"schema".pause p
 where p.until > pg_catalog.clock_timestamp()
 order by p.scope, p.target
 limit $1
