create or replace trigger {{copy_name}}
  after insert on {{on}} referencing new table as new_rows
  for each statement execute function {{copy}}();
