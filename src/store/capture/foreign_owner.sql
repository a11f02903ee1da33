-- The function acts for the owner of the table, not for whoever installs it.
grant usage on schema {{outbox}} to {{owner}};
grant insert (tenant_id, aggregate_type, aggregate_id, event_type, payload) on {{outbox}}.event to {{owner}};
grant execute on function {{outbox}}.uuid_v7() to {{owner}};
alter function {{function}}() owner to {{owner}};
