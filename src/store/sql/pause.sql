-- Pauses $1 (`all`, `tenant`, `type`) $2 for $3 milliseconds, for ever when null; $4 who, $5 why. Of a pause that is there
-- the beginning stays.
insert into :"schema".pause as p (scope, target, until, actor, reason)
values ($1, $2, coalesce(pg_catalog.clock_timestamp() + $3 * interval '1 millisecond', 'infinity'), $4, $5)
    on conflict (scope, target) do update
   set since = case when p.until > pg_catalog.clock_timestamp() then p.since else excluded.since end,
       until = excluded.until, actor = excluded.actor, reason = excluded.reason
