-- Which of the roles $1 are not there.
select r.name from pg_catalog.unnest($1::text[]) as r(name)
 where not exists (select from pg_catalog.pg_roles k where k.rolname = r.name)
 order by 1
