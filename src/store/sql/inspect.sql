-- What a relay must know of a database before it claims: is it writable, is the outbox there, and what
-- may this role not do that it must. Asks the catalogue by names, never by regclass: looking up a table
-- in a schema without USAGE raises an error that names no role.
with needed(place, name, privilege, columns) as (
  values (1, 'event', 'SELECT', null::text[]),
         (2, 'event', 'UPDATE', array['status', 'attempts', 'error', 'published_at']),
         (3, 'in_flight', 'SELECT', null), (4, 'in_flight', 'INSERT', null), (5, 'in_flight', 'DELETE', null),
         (6, 'hold', 'SELECT', null), (7, 'hold', 'INSERT', null), (8, 'hold', 'UPDATE', null), (9, 'hold', 'DELETE', null),
         (10, 'server_start', 'SELECT', null), (11, 'server_start', 'INSERT', null),
         (12, 'schema_history', 'SELECT', null),
         (13, 'redelivery', 'SELECT', null), (14, 'tenant_policy', 'SELECT', null),
         (15, 'crash', 'SELECT', null), (16, 'crash', 'INSERT', null), (17, 'crash', 'UPDATE', null), (18, 'crash', 'DELETE', null),
         (19, 'pause', 'SELECT', null)
), space as (
  select n.oid, pg_catalog.quote_ident(n.nspname) as name from pg_catalog.pg_namespace n where n.nspname = :'schema'
), lacking as (
  select 0 as place, 'USAGE ON SCHEMA ' || s.name as privileges
    from space s where not pg_catalog.has_schema_privilege(s.oid, 'USAGE')
  union all
  select min(n.place),
         pg_catalog.string_agg(n.privilege || coalesce(' (' || pg_catalog.array_to_string(n.columns, ', ') || ')', ''),
                               ', ' order by n.place) || ' ON ' || s.name || '.' || n.name
    from needed n cross join space s
    join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relname = n.name
   where case when n.columns is null then not pg_catalog.has_table_privilege(c.oid, n.privilege)
         else exists (select from pg_catalog.unnest(n.columns) as u(name)
                       where not pg_catalog.has_column_privilege(c.oid, u.name, n.privilege)) end
   group by s.name, n.name
)
select pg_catalog.pg_is_in_recovery() as standby,
       pg_catalog.current_setting('transaction_read_only') = 'on' as read_only,
       pg_catalog.current_database()::text as database,
       pg_catalog.current_setting('server_encoding') = 'SQL_ASCII' as no_encoding,
       pg_catalog.quote_ident(current_user::text) as role,
       exists (select from space s join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relname = 'event') as there,
       array(select l.privileges from lacking l order by l.place) as lacking,
       -- No reason to refuse: without, a claim takes longer.
       exists (select from space s join pg_catalog.pg_proc p on p.pronamespace = s.oid
                where p.proname = 'claim_lone' and pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) as may_claim_lone
