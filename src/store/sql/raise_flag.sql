-- Says that a relay is awake for the next $1 milliseconds, and returns until when. Nothing waits for the disk:
-- after a crash of PostgreSQL an older time at worst is back, and has passed. Null when there is no sequence.
select pg_catalog.setval(s.flag, (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint + $1) as until
  from (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.awake_until') as flag,
               pg_catalog.set_config('synchronous_commit', 'off', true)) s
