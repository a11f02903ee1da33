-- Captured tables by name, and what is wrong with them.
select c.relation, c.definition::text as definition,
       case when pg_catalog.to_regclass(c.relation) is null then 'the table is gone'
            when exists (select from (select p.relid from pg_catalog.pg_partition_tree(pg_catalog.to_regclass(c.relation)) p
                                       union select pg_catalog.to_regclass(c.relation)) p(relid)
                          where (select pg_catalog.count(*) from pg_catalog.pg_trigger t
                                  where t.tgrelid = p.relid and t.tgenabled <> 'D'
                                    and t.tgname like 'captured\_' || c.key || '\_%')
                                -- One for updates, whatever is captured: a change of the key creates and deletes.
                                < 1 + (c.definition ->> 'created' is not null)::integer + (c.definition ->> 'deleted' is not null)::integer)
              then 'a trigger is missing or disabled, or a partition is new: run capture add again' end as problem
  from :"schema".captured c
 order by c.relation
