-- The server and the session, as `doctor` judges them. Asks nothing of the outbox.
select pg_catalog.json_build_object(
  'version', pg_catalog.current_setting('server_version_num')::integer,
  'database', pg_catalog.current_database(),
  'role', session_user,
  'superuser', (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user),
  'standby', pg_catalog.pg_is_in_recovery(),
  'read_only', pg_catalog.current_setting('default_transaction_read_only') = 'on',
  'encoding', pg_catalog.current_setting('server_encoding'),
  'tls', (select s.version || ', ' || s.cipher from pg_catalog.pg_stat_ssl s where s.pid = pg_catalog.pg_backend_pid() and s.ssl),
  'address', pg_catalog.host(pg_catalog.inet_server_addr()),
  'clock_ms', (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint,
  'idle_session_timeout_ms', coalesce((select s.setting::bigint from pg_catalog.pg_settings s where s.name = 'idle_session_timeout'), 0),
  'synchronous_commit', pg_catalog.current_setting('synchronous_commit'),
  'fsync', pg_catalog.current_setting('fsync') = 'on',
  'autovacuum', pg_catalog.current_setting('autovacuum') = 'on',
  'max_message_bytes', nullif(pg_catalog.current_setting('outbox.max_message_bytes', true), ''),
  'connections', (select pg_catalog.count(*) from pg_catalog.pg_stat_activity a where a.backend_type = 'client backend'),
  'connections_max', pg_catalog.current_setting('max_connections')::integer
    - pg_catalog.current_setting('superuser_reserved_connections')::integer,
  'relays', (select coalesce(pg_catalog.json_object_agg(a.application_name, a.sessions), '{}') from (
      select a.application_name, pg_catalog.count(*) as sessions from pg_catalog.pg_stat_activity a
       where a.datname = pg_catalog.current_database() and a.application_name like 'outbox-relay %'
       group by a.application_name) a),
  'old_snapshots', (select coalesce(pg_catalog.json_agg(o), '[]') from (
      select 'session ' || a.pid || coalesce(' of ' || a.usename, '') as who, a.pid,
             pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start) as age_s,
             pg_catalog.left(pg_catalog.regexp_replace(coalesce(a.query, ''), '\s+', ' ', 'g'), 120) as query
        from pg_catalog.pg_stat_activity a
       where a.backend_xmin is not null and a.pid <> pg_catalog.pg_backend_pid()
         and a.backend_type = 'client backend' and a.datname = pg_catalog.current_database()
      union all
      select 'prepared transaction ' || pg_catalog.quote_literal(p.gid), null,
             pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p.prepared), ''
        from pg_catalog.pg_prepared_xacts p where p.database = pg_catalog.current_database()
      order by 3 desc nulls last limit 5) o),
  'idle_slots', (select coalesce(pg_catalog.json_agg(s.slot_name), '[]') from pg_catalog.pg_replication_slots s
                  where not s.active and coalesce(s.xmin, s.catalog_xmin) is not null)
)::text
