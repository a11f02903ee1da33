-- Tables, sequences, and functions of the outbox's schema; of functions those that its owner has.
select c.relname::text as name, case c.relkind when 'S' then 'sequence' else 'table' end as kind, null::text as signature
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = :'schema' and c.relkind in ('r', 'p', 'S')
union all
select p.proname::text, 'function',
       pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where n.nspname = :'schema'
   and p.proowner = (select c.relowner from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relname = 'event')
 order by 2, 1
