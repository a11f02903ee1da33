-- Events in the order of the arrays, all or none: one column of `enqueue.sql` an array. The subquery keeps the order
-- in which the function is called, and so the events' positions.
select :"schema".enqueue(tenant_id => e.tenant_id, event_type => e.event_type, payload => e.payload::jsonb,
                         aggregate_type => e.aggregate_type, aggregate_id => e.aggregate_id, id => e.id,
                         headers => e.headers::jsonb, occurred_at => e.occurred_at::timestamptz,
                         traceparent => e.traceparent)
from (
  select *
  from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) with ordinality
       as u (tenant_id, event_type, payload, aggregate_type, aggregate_id, id, headers, occurred_at, traceparent, place)
  order by place
  offset 0
) e
