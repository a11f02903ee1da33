-- Changes of {{relation_comment}} become events, in the transaction that makes them. Statement by statement: a
-- statement that changes a million rows calls this once.
create or replace function {{function}}() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as {{tag}}
begin
{{branches}}  return null;
end
{{tag}};
