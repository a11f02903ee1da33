  -- Rows in which nothing has changed that an event would tell are passed over.
  if tg_op = 'UPDATE' then
    insert into {{outbox}}.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
    select {{tenant}}, {{aggregate_type}}, {{aggregate_id}}, {{event_type}}, {{payload}}
      from new_rows r join old_rows o on {{same_key}}
     where {{told}} is distinct from {{told_before}};
  end if;
