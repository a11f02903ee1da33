-- The event table as PostgreSQL's statistics have it, its size, and who is connected by our name. As JSON; reads no row.
-- Over all partitions where there are any.
with event as materialized (
  select c.oid as relid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where n.nspname = :'schema' and c.relname = 'event'
  union all
  select i.inhrelid from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhparent
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where n.nspname = :'schema' and c.relname = 'event'
)
select pg_catalog.json_build_object(
  'table', (select pg_catalog.json_build_object(
      'live_rows', pg_catalog.sum(s.n_live_tup)::bigint, 'dead_rows', pg_catalog.sum(s.n_dead_tup)::bigint,
      'updates', pg_catalog.sum(s.n_tup_upd)::bigint,
      'table_bytes', pg_catalog.sum(pg_catalog.pg_table_size(s.relid))::bigint,
      'index_bytes', pg_catalog.sum(pg_catalog.pg_indexes_size(s.relid))::bigint,
      'vacuumed_at', pg_catalog.to_json(pg_catalog.max(greatest(s.last_autovacuum, s.last_vacuum))) #>> '{}',
      'indexes', (select coalesce(pg_catalog.json_agg(i), '[]') from (
          select i.indexrelname as name, pg_catalog.pg_relation_size(i.indexrelid) as bytes
            from pg_catalog.pg_stat_user_indexes i where i.relid in (select e.relid from event e) order by 2 desc, 1 limit 50) i))
    from pg_catalog.pg_stat_user_tables s where s.relid in (select e.relid from event e)
  having pg_catalog.count(*) > 0),
  'relays', (select coalesce(pg_catalog.json_agg(r), '[]') from (
      select a.application_name as name, pg_catalog.count(*) as sessions
        from pg_catalog.pg_stat_activity a
       where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
         and a.application_name like 'outbox-relay%'
       group by a.application_name order by 1 limit 50) r)
)::text
