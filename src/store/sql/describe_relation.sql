-- What generated triggers must know of table $2 in schema $1: one row a column. Texts of types and
-- defaults are qualified, for search_path is empty then.
select c.oid::bigint as oid, c.relkind::text as kind, pg_catalog.pg_get_userbyid(c.relowner)::text as owner,
       a.attname::text as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
       case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, null)
            when t.typtype = 'e' then 'enum' else pg_catalog.format_type(a.atttypid, null) end as base,
       array(select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = a.atttypid order by e.enumsortorder) as labels,
       a.attnotnull as required, pg_catalog.pg_get_expr(d.adbin, d.adrelid) as default_value,
       exists (select from pg_catalog.pg_index i
                where i.indrelid = c.oid and i.indkey[0] = a.attnum and i.indisvalid and i.indpred is null) as indexed,
       -- Behind them are columns that the index only includes.
       case when pg_catalog.array_position(k.indkey::smallint[], a.attnum) < k.indnkeyatts
            then pg_catalog.array_position(k.indkey::smallint[], a.attnum) else -1 end::integer as key_place,
       a.attgenerated <> '' as generated,
       (select pg_catalog.format('%I.%I', m.nspname, p.relname)
          from pg_catalog.pg_inherits i
          join pg_catalog.pg_class p on p.oid = i.inhparent
          join pg_catalog.pg_namespace m on m.oid = p.relnamespace
         where i.inhrelid = c.oid order by i.inhseqno limit 1) as parent,
       c.relkind = 'r' and exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as inherited,
       c.relrowsecurity and c.relforcerowsecurity and not o.rolsuper and not o.rolbypassrls as hides_rows
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_roles o on o.oid = c.relowner
  join pg_catalog.pg_type t on t.oid = a.atttypid
  left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  left join pg_catalog.pg_index k on k.indrelid = c.oid and k.indisprimary
 where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')
 order by a.attnum
