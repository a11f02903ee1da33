-- Commits the composition of groups before their request leaves, on a connection of its own (the drain
-- transaction must keep its locks). One row per tenant: $1 tenants, $2 base ids, $3 seqs as array
-- literals. A tenant that has a record already is left alone and not returned: the caller drops it.
insert into :"schema".in_flight (tenant_id, base_id, seqs)
select g.tenant_id, g.base_id, g.seqs::bigint[]
  from unnest($1::text[], $2::text[], $3::text[]) as g(tenant_id, base_id, seqs)
    on conflict (tenant_id) do nothing
returning tenant_id
