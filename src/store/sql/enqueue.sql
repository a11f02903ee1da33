-- One event, as an application writes it: $1 tenant, $2 type, $3 payload as JSON text, $4 and $5 what it is
-- about, $6 its id. Named arguments: the function may get more of them.
select :"schema".enqueue(tenant_id => $1, event_type => $2, payload => $3::jsonb,
                         aggregate_type => $4, aggregate_id => $5, id => $6)
