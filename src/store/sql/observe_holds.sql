-- Tenants on hold by reason, counted up to $1 together.
select h.reason, pg_catalog.count(*)
  from (select h.reason from :"schema".hold h where h.until > pg_catalog.clock_timestamp() limit $1) h
 group by h.reason
