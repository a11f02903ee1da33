-- Takes back one crash of each of these tenants ($1): they were sent again and came to an orderly end, if
-- to no outcome.
with last as (
  delete from :"schema".crash where tenant_id = any ($1::text[]) and crashes = 1
)
update :"schema".crash set crashes = crashes - 1 where tenant_id = any ($1::text[]) and crashes > 1
