  if tg_op = 'DELETE' then
    insert into {{outbox}}.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
    select {{tenant}}, {{aggregate_type}}, {{aggregate_id}}, {{event_type}}, {{payload}}
      from old_rows r;
  end if;
