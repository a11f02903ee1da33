-- The groups of these tenants ($1) are settled, in the same transaction.
delete from :"schema".in_flight where tenant_id = any ($1::text[])
