-- Failed events about which nobody has decided, counted up to $1, with the age of the oldest of them; how full
-- the server's queue of notifications is; the state of the table. Index: event_undecided.
select f.events as dead_letters,
       greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - f.oldest), 0) as dead_letter_age,
       pg_catalog.pg_notification_queue_usage() as notify_queue_usage,
       s.n_live_tup as live_tuples, s.n_dead_tup as dead_tuples,
       -- Autovacuum's or somebody's own.
       pg_catalog.date_part('epoch', greatest(s.last_autovacuum, s.last_vacuum)) as vacuumed_at,
       pg_catalog.pg_table_size(s.relid) as table_bytes
  from (select pg_catalog.count(*) as events, pg_catalog.min(d.created_at) filter (where pg_catalog.isfinite(d.created_at)) as oldest
          from (select e.created_at from :"schema".event e
                 where e.status = 'failed' and not (e.error ? 'discarded')
                 order by e.tenant_id, e.seq limit $1) d) f
  left join pg_catalog.pg_stat_user_tables s on s.schemaname = :'schema' and s.relname = 'event'
