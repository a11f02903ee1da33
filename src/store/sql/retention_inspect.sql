-- Whether this database can be pruned and scrubbed by this role: $1 tables, $2 the privilege needed on each,
-- $3 its columns, separated by commas, or '' for the whole table. By names, never by regclass: looking up a
-- table in a schema without USAGE raises an error that names no role.
with space as (
  select n.oid, pg_catalog.quote_ident(n.nspname) as name from pg_catalog.pg_namespace n where n.nspname = :'schema'
), lacking as (
  select 0::bigint as place, 'USAGE ON SCHEMA ' || s.name as privileges
    from space s where not pg_catalog.has_schema_privilege(s.oid, 'USAGE')
  union all
  select n.place, n.privilege || case n.columns when '' then '' else ' (' || n.columns || ')' end
                  || ' ON ' || s.name || '.' || n.name
    from rows from (unnest($1::text[]), unnest($2::text[]), unnest($3::text[])) with ordinality as n(name, privilege, columns, place)
   cross join space s
    join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relname = n.name
   where case n.columns when '' then not pg_catalog.has_table_privilege(c.oid, n.privilege)
         else exists (select from pg_catalog.unnest(pg_catalog.string_to_array(n.columns, ', ')) as u(name)
                       where not pg_catalog.has_column_privilege(c.oid, u.name, n.privilege)) end
)
select pg_catalog.pg_is_in_recovery() as standby,
       pg_catalog.current_database()::text as database,
       pg_catalog.current_setting('transaction_read_only') = 'on' as read_only,
       pg_catalog.quote_ident(current_user::text) as role,
       exists (select from space s join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relname = 'event') as there,
       array(select l.privileges from lacking l order by l.place) as lacking
