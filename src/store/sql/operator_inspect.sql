-- Where an operator's commands run: whether the outbox is there, the database, the role, and the server's
-- clock in ms. Asks the catalogue by names: looking up a table in a schema without USAGE raises an error.
select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where n.nspname = :'schema' and c.relname = 'event') as there,
       pg_catalog.current_database()::text as database, session_user::text as role,
       (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint as now_ms
