-- Whether table with key $1 is adopted, how many of its events wait, and how many outcomes are owed to it.
select exists (select from :"schema".adopted a where a.key = $1) as adopted,
       (select pg_catalog.count(*) from :"schema".event e where e.adopted_from = $1 and e.status = 'pending') as pending,
       (select pg_catalog.count(*) from :"schema".adopted_owed o where o.adopted = $1) as owed
