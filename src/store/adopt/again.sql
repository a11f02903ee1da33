-- A row that is set to {{pending_word}} later: an event if it is none yet, refused if it has been one.
create or replace function {{again}}() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as {{tag}}
declare
  known text;
begin
  select e.status into known from {{outbox}}.event e where e.id = (new.{{id}}::text collate "C");
  if known is null then
    insert into {{outbox}}.event (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, adopted_from)
    select {{values}} from (select (new).*) r;
  elsif known <> 'pending' then
    raise exception 'event % is % and does not become pending by a change of its row', new.{{id}}, known
      using errcode = 'check_violation', hint = 'outbox-relay events requeue ' || new.{{id}};
  end if;
{{hide}}  return null;
end
{{tag}};
-- Who may execute it may have it fire for a table of his own, and it acts for its owner.
revoke all on function {{again}}() from public;
