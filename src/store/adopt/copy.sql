-- Rows that are inserted as {{pending_word}} become events, in the same transaction.
create or replace function {{copy}}() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as {{tag}}
begin
  insert into {{outbox}}.event (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, adopted_from)
  select {{values}}
    from new_rows r
   where r.{{status}} = {{pending}};
{{hide}}  return null;
end
{{tag}};
-- Who may execute it may have it fire for a table of his own, and it acts for its owner.
revoke all on function {{copy}}() from public;
