-- One event, as an application writes it: $1 tenant, $2 type, $3 payload as JSON text, $4 and $5 what it is
-- about, $6 its id or null, $7 its headers as JSON text or null, $8 when it happened as text or null, $9 in which
-- trace or null. Named arguments: the function may get more of them.
select :"schema".enqueue(tenant_id => $1, event_type => $2, payload => $3::jsonb,
                         aggregate_type => $4, aggregate_id => $5, id => $6,
                         headers => $7::jsonb, occurred_at => $8::timestamptz, traceparent => $9)
