-- Adopted tables by name, with what waits of them, what is owed to them, and what is wrong with them.
-- Index: event_pending, and adopted_owed whole, which is empty but for trouble.
select a.relation, a.waiting_as, a.adopted_by,
       pg_catalog.to_char(a.adopted_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as adopted_at,
       (select pg_catalog.count(*) from :"schema".event e where e.adopted_from = a.key and e.status = 'pending') as pending,
       (select pg_catalog.count(*) from :"schema".adopted_owed o where o.adopted = a.key) as owed,
       (select pg_catalog.min(o.error) from :"schema".adopted_owed o where o.adopted = a.key) as error,
       case when pg_catalog.to_regclass(a.relation) is null then 'the table is gone'
            when (select pg_catalog.count(*) from pg_catalog.pg_trigger t
                   where t.tgrelid = pg_catalog.to_regclass(a.relation) and t.tgenabled <> 'D'
                     and t.tgname in ('adopted_' || a.key || '_copy', 'adopted_' || a.key || '_again')) < 2
              then 'a trigger is missing or disabled: run adopt again'
            when exists (select from pg_catalog.pg_partition_tree(pg_catalog.to_regclass(a.relation)) p
                          where not exists (select from pg_catalog.pg_trigger t
                                             where t.tgrelid = p.relid and t.tgenabled <> 'D' and t.tgname = 'adopted_' || a.key || '_copy'))
              then 'a partition has no trigger: run adopt again' end as problem
  from :"schema".adopted a
 order by a.relation
