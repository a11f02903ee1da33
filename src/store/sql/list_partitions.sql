-- The partitions of the table with oid $1, at any depth, without itself: schema and name. A statement trigger
-- fires for the table that the statement names and for no other, so each gets its own.
select n.nspname::text as schema, c.relname::text as name
  from pg_catalog.pg_partition_tree($1::bigint::oid::regclass) p
  join pg_catalog.pg_class c on c.oid = p.relid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where p.level > 0 and c.relkind in ('r', 'p')
 order by 1, 2
