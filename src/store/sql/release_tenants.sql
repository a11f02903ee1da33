-- These tenants ($1) have been published to again.
delete from :"schema".hold where tenant_id = any ($1::text[])
