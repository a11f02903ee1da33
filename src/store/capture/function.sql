-- Changes of {{relation_comment}} become events, in the transaction that makes them. Statement by statement: a
-- statement that changes a million rows calls this once.
create or replace function {{function}}() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- The plan of a statement that changed one row is kept, and used for one that changes thousands: by a nested loop each
-- new row would be compared with each old one (20,000 rows: minutes; by hashes 0.6 s).
set enable_nestloop = off
as {{tag}}
begin
{{branches}}  return null;
end
{{tag}};
-- Who may execute it may have it fire for a table of his own, and it acts for its owner.
revoke all on function {{function}}() from public;
