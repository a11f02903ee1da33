-- The outbox in the catalogue, as `doctor` judges it. By names, never by regclass: looking up a table in a
-- schema without USAGE raises an error.
with space as (
  select n.oid, n.nspname from pg_catalog.pg_namespace n where n.nspname = :'schema'
), event as (
  select c.* from pg_catalog.pg_class c join space s on s.oid = c.relnamespace where c.relname = 'event' and c.relkind in ('r', 'p')
)
select pg_catalog.json_build_object(
  'there', exists (select from event),
  'owner', (select pg_catalog.pg_get_userbyid(e.relowner) from event e),
  'unlogged', (select e.relpersistence = 'u' from event e),
  'row_security', (select e.relrowsecurity from event e),
  'autovacuum_off', exists (select from event e, pg_catalog.unnest(e.reloptions) o where o in ('autovacuum_enabled=false', 'autovacuum_enabled=off')),
  'indexes', (select coalesce(pg_catalog.json_object_agg(i.relname, x.indisvalid and x.indisready), '{}')
                from event e join pg_catalog.pg_index x on x.indrelid = e.oid join pg_catalog.pg_class i on i.oid = x.indexrelid),
  'triggers', (select coalesce(pg_catalog.json_object_agg(t.tgname, t.tgenabled), '{}')
                 from event e join pg_catalog.pg_trigger t on t.tgrelid = e.oid where not t.tgisinternal),
  'functions', (select coalesce(pg_catalog.json_object_agg(p.proname, p.prosrc), '{}')
                  from space s join pg_catalog.pg_proc p on p.pronamespace = s.oid
                 where p.proname in ('ring_bell', 'refuse_unpublish', 'enqueue')),
  'too_much', (select coalesce(pg_catalog.json_agg(r.privilege), '[]')
                 from event e, pg_catalog.unnest(array['TRUNCATE', 'TRIGGER', 'REFERENCES']) as r(privilege)
                where pg_catalog.has_schema_privilege(e.relnamespace, 'USAGE') and pg_catalog.has_table_privilege(e.oid, r.privilege)),
  'public', (select coalesce(pg_catalog.json_agg(distinct a.privilege_type), '[]')
               from event e, pg_catalog.aclexplode(e.relacl) a where a.grantee = 0)
)::text
