-- What was in flight of these tenants ($1) has its outcome, in the same transaction.
delete from :"schema".crash where tenant_id = any ($1::text[])
