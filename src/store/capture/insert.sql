  if tg_op = 'INSERT' then
    insert into {{outbox}}.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
    select {{tenant}}, {{aggregate_type}}, {{aggregate_id}}, {{event_type}}, {{payload}}
      from new_rows r;
  end if;
