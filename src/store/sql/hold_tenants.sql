-- Puts tenants on hold: $1 tenants, $2 for how many milliseconds, $3 reasons, $4 messages.
insert into :"schema".hold as h (tenant_id, until, reason, message)
select n.tenant_id, pg_catalog.clock_timestamp() + n.hold_ms * interval '1 millisecond', n.reason, n.message
  from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) as n(tenant_id, hold_ms, reason, message)
    on conflict (tenant_id) do update
   set until = excluded.until, failures = h.failures + 1, reason = excluded.reason, message = excluded.message
