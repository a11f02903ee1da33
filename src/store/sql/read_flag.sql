-- Until when a relay has said that it is awake, how many milliseconds ahead that lies, and whether this
-- role may say so; all null when there is no sequence, the first two when it was never set. For the
-- remedy: the sequence's name and the role's. And whether anything is pending (one probe of event_pending; of
-- event_pkey from the floor $1 on, if there is one), so that an idle relay asks this every 2 s and nothing else.
select f.until, f.until - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint as ahead,
       pg_catalog.has_sequence_privilege(f.flag, 'UPDATE') as raisable,
       pg_catalog.quote_ident(:'schema') || '.awake_until' as name, pg_catalog.quote_ident(current_user::text) as role,
       -- Not EXISTS, which drops the order, and then walks the table where the statistics are old.
       case when $1::bigint > 0
         -- Not `status = 'pending'`: event_pending has a dead entry for all that was published below the floor.
         then (select 1 from :"schema".event e
                where e.seq >= $1 and e.status not in ('published', 'failed') order by e.seq limit 1)
         else (select 1 from :"schema".event e where e.status = 'pending' order by e.tenant_id limit 1)
       end is not null as pending
  from (select s.flag, pg_catalog.pg_sequence_last_value(s.flag) as until
          from (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.awake_until') as flag offset 0) s offset 0) f
