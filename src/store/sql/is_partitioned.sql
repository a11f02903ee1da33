-- Whether the outbox is partitioned. By names: looking up a table in a schema without USAGE raises an error.
select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where n.nspname = :'schema' and c.relname = 'event' and c.relkind = 'p') as partitioned
