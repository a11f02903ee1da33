  -- Another key is another thing: the old one is gone, and there is a new one.
  if tg_op = 'UPDATE' then
    insert into {{outbox}}.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
    select {{tenant}}, {{aggregate_type}}, {{aggregate_id}}, {{event_type}}, {{payload}}
      from {{these}} r where not exists (select from {{others}} o where {{same_key}});
  end if;
