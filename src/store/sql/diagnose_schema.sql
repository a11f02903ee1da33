-- The outbox in the catalogue, as `doctor` judges it. By names, never by regclass: looking up a table in a
-- schema without USAGE raises an error.
with space as (
  select n.oid, n.nspname from pg_catalog.pg_namespace n where n.nspname = :'schema'
), event as (
  select c.* from pg_catalog.pg_class c join space s on s.oid = c.relnamespace where c.relname = 'event' and c.relkind in ('r', 'p')
), leaf as (
  select c.oid, c.reloptions, b.bound = 'DEFAULT' as is_default,
         pg_catalog.substring(b.bound, $re$(?i)from \('?(-?\d+)$re$)::bigint as from_seq
    from event e join pg_catalog.pg_inherits i on i.inhparent = e.oid join pg_catalog.pg_class c on c.oid = i.inhrelid
   cross join lateral (select pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound) b
)
select pg_catalog.json_build_object(
  'there', exists (select from event),
  'owner', (select pg_catalog.pg_get_userbyid(e.relowner) from event e),
  'unlogged', (select e.relpersistence = 'u' from event e),
  'row_security', (select e.relrowsecurity from event e),
  'partitioned', coalesce((select e.relkind = 'p' from event e), false),
  -- How many wait ahead of the last position, and how many rows the default one has, as the statistics go.
  'partitions_ahead', (select pg_catalog.count(*) from leaf l
                        where l.from_seq > coalesce((select pg_catalog.pg_sequence_last_value(q.seqrelid) from pg_catalog.pg_sequence q
                                join pg_catalog.pg_class c on c.oid = q.seqrelid join space s on s.oid = c.relnamespace
                               where c.relname = 'event_seq_seq' and pg_catalog.has_sequence_privilege(q.seqrelid, 'SELECT')), 0)),
  'in_default', (select coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_live_tuples(l.oid)), 0)::bigint from leaf l where l.from_seq is null and l.is_default),
  'autovacuum_off', exists (select from (select e.reloptions from event e union all select l.reloptions from leaf l) e, pg_catalog.unnest(e.reloptions) o where o in ('autovacuum_enabled=false', 'autovacuum_enabled=off')),
  'indexes', (select coalesce(pg_catalog.json_object_agg(i.relname, i.indisvalid and i.indisready), '{}')
                from (select i.relname, x.indisvalid, x.indisready
                        from event e join pg_catalog.pg_index x on x.indrelid = e.oid join pg_catalog.pg_class i on i.oid = x.indexrelid
                      union all
                      -- Partitions have the index on id each for itself.
                      select 'event_id_key', pg_catalog.bool_and(exists (select from pg_catalog.pg_index x join pg_catalog.pg_attribute a
                                on a.attrelid = l.oid and a.attnum = x.indkey[0]
                               where x.indrelid = l.oid and x.indisunique and x.indnkeyatts = 1 and a.attname = 'id' and x.indisvalid)), true
                        from leaf l having pg_catalog.count(*) > 0) i),
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
