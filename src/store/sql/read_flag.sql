-- Until when a relay has said that it is awake, how many milliseconds ahead that lies, and whether this
-- role may say so; all null when there is no sequence, the first two when it was never set. For the
-- remedy: the sequence's name and the role's.
select f.until, f.until - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint as ahead,
       pg_catalog.has_sequence_privilege(f.flag, 'UPDATE') as raisable,
       pg_catalog.quote_ident(:'schema') || '.awake_until' as name, pg_catalog.quote_ident(current_user::text) as role
  from (select s.flag, pg_catalog.pg_sequence_last_value(s.flag) as until
          from (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.awake_until') as flag offset 0) s offset 0) f
