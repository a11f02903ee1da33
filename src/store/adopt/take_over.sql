-- Rows that are {{pending_word}} become events, in their order.
with taken as (
  insert into {{outbox}}.event (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, adopted_from)
  select {{values}}
    from {{relation}} r
   where r.{{status}} = {{pending}}
     and not exists (select from {{outbox}}.event e where e.id = (r.{{id}}::text collate "C"))
   order by {{order}}
  returning id
)
{{taken}}
