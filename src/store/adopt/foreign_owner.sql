-- The functions act for the owner of the table, not for whoever adopts it.
grant usage on schema {{outbox}} to {{owner}};
grant insert (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, adopted_from),
      select (id, status) on {{outbox}}.event to {{owner}};
grant execute on function {{write_back}}(text[], text[], text[], timestamptz[]) to {{outbox_owner}};
alter function {{copy}}() owner to {{owner}};
alter function {{again}}() owner to {{owner}};
alter function {{write_back}}(text[], text[], text[], timestamptz[]) owner to {{owner}};
