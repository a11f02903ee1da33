-- Rows that are {{pending_word}} now stay with the publisher that has them so far. New events of their tenants wait
-- for {{settle_seconds}} s, so that they do not overtake.
insert into {{outbox}}.hold (tenant_id, until, failures, reason, message)
select distinct coalesce(r.{{tenant_id}}::text, ''), pg_catalog.clock_timestamp() + interval '{{settle_seconds}} s', 0, 'adopted',
       'rows written before the adoption are left to the publisher that has them'
  from {{relation}} r
 where r.{{status}} = {{pending}}
    on conflict (tenant_id) do nothing;
