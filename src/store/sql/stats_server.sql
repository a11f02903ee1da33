-- The event table as PostgreSQL's statistics have it, its size, and who is connected by our name. As JSON; reads no row.
select pg_catalog.json_build_object(
  'table', (select pg_catalog.json_build_object(
      'live_rows', s.n_live_tup, 'dead_rows', s.n_dead_tup, 'updates', s.n_tup_upd,
      'table_bytes', pg_catalog.pg_table_size(s.relid), 'index_bytes', pg_catalog.pg_indexes_size(s.relid),
      'vacuumed_at', pg_catalog.to_json(greatest(s.last_autovacuum, s.last_vacuum)) #>> '{}',
      'indexes', (select coalesce(pg_catalog.json_agg(i), '[]') from (
          select i.indexrelname as name, pg_catalog.pg_relation_size(i.indexrelid) as bytes
            from pg_catalog.pg_stat_user_indexes i where i.relid = s.relid order by 2 desc, 1) i))
    from pg_catalog.pg_stat_user_tables s where s.schemaname = :'schema' and s.relname = 'event'),
  'relays', (select coalesce(pg_catalog.json_agg(r), '[]') from (
      select a.application_name as name, pg_catalog.count(*) as sessions
        from pg_catalog.pg_stat_activity a
       where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
         and a.application_name like 'outbox-relay%'
       group by a.application_name order by 1 limit 50) r)
)::text
