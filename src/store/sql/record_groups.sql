-- Commits the composition of groups before their request leaves, on a connection of its own (the drain
-- transaction must keep its locks). One row per tenant: $1 tenants, $2 base ids, $3 seqs as array
-- literals. A tenant that has a record already is left alone and not returned: the caller drops it.
-- So is a tenant whose lock the drain's server process ($4) no longer holds: a relay that was stopped or cut
-- off between reading and recording would otherwise leave a record of what others have regrouped since.
-- Flushed even where the database answers commits before they are on disk: a record that a crash of
-- PostgreSQL takes back would let its events go in other company.
with held as materialized (
  select l.classid::bigint << 32 | l.objid::bigint as key
    from pg_catalog.pg_locks l
   where l.locktype = 'advisory' and l.pid = $4 and l.granted and l.objsubid = 1
     and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
), flushed as materialized (
  select pg_catalog.set_config('synchronous_commit', case pg_catalog.current_setting('synchronous_commit')
           when 'off' then 'local' else pg_catalog.current_setting('synchronous_commit') end, true)
)
insert into :"schema".in_flight (tenant_id, base_id, seqs)
select g.tenant_id, g.base_id, g.seqs::bigint[]
  from flushed, unnest($1::text[], $2::text[], $3::text[]) as g(tenant_id, base_id, seqs)
 where pg_catalog.hashtextextended(g.tenant_id,
         (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid::bigint))
       in (select h.key from held h)
    on conflict (tenant_id) do nothing
returning tenant_id
