-- An adopted table other than $1 whose ids are numbers: such tables count alike, and an event's id is unique.
select a.relation from :"schema".adopted a
 where a.key <> $1
   and exists (select from pg_catalog.pg_attribute t
                where t.attrelid = pg_catalog.to_regclass(a.relation) and t.attname = a.columns ->> 'id'
                  and pg_catalog.format_type(t.atttypid, null) in ('bigint', 'integer'))
 order by a.relation
 limit 1
