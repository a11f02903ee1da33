create or replace trigger {{again_name}}
  after update of {{status}} on {{relation}}
  for each row
  when (new.{{status}} = {{pending}} and old.{{status}} is distinct from new.{{status}} and pg_catalog.pg_trigger_depth() = 0)
  execute function {{again}}();
