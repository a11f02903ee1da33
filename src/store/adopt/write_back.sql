-- What has become of events is written into their rows. Returns the ids whose rows somebody else has locked.
create or replace function {{write_back}}(ids text[], statuses text[], errors text[], times timestamptz[]) returns text[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as {{tag}}
declare
  busy text[];
begin
  with locked as (
    select t.{{id}} from {{relation}} t where t.{{id}} = any (ids::{{id_type}}[]) for no key update skip locked
  ), done as (
    update {{relation}} t
       set {{assignments}}
      from unnest(ids, statuses, errors, times) as s(id, status, error, at)
      join locked l on l.{{id}} = s.id::{{id_type}}
     where t.{{id}} = l.{{id}}
    returning t.{{id}}
  )
  select array(select t.{{id}}::text from {{relation}} t
                where t.{{id}} = any (ids::{{id_type}}[]) and not exists (select from done d where d.{{id}} = t.{{id}}))
    into busy;
  return busy;
end
{{tag}};
revoke all on function {{write_back}}(text[], text[], text[], timestamptz[]) from public;
