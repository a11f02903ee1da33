-- Failed events about which nobody has decided, counted up to $1, with the age of the oldest of them; how full
-- the server's queue of notifications is; the state of the table. Index: event_undecided.
select f.events as dead_letters,
       greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - f.oldest), 0) as dead_letter_age,
       pg_catalog.pg_notification_queue_usage() as notify_queue_usage,
       s.n_live_tup as live_tuples, s.n_dead_tup as dead_tuples,
       -- Autovacuum's or somebody's own.
       pg_catalog.date_part('epoch', greatest(s.last_autovacuum, s.last_vacuum)) as vacuumed_at,
       s.bytes as table_bytes
  from (select pg_catalog.count(*) as events, pg_catalog.min(d.created_at) filter (where pg_catalog.isfinite(d.created_at)) as oldest
          from (select e.created_at from :"schema".event e
                 where e.status = 'failed' and not (e.error ? 'discarded')
                 order by e.tenant_id, e.seq limit $1) d) f
  -- One row, over all partitions where there are any; nulls when the table is not there.
 cross join lateral (
   select pg_catalog.sum(t.n_live_tup)::bigint as n_live_tup, pg_catalog.sum(t.n_dead_tup)::bigint as n_dead_tup,
          pg_catalog.max(t.last_autovacuum) as last_autovacuum, pg_catalog.max(t.last_vacuum) as last_vacuum,
          pg_catalog.sum(pg_catalog.pg_table_size(t.relid))::bigint as bytes
     from pg_catalog.pg_stat_user_tables t
    where t.schemaname = :'schema' and t.relname = 'event'
       or t.relid in (select i.inhrelid from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhparent
                        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                       where n.nspname = :'schema' and c.relname = 'event')) s
