insert into {{outbox}}.adopted (key, relation, waiting_as, columns)
values ({{key}}, {{relation_text}}, {{waiting_text}}, {{columns_json}})
    on conflict (key) do update set waiting_as = excluded.waiting_as, columns = excluded.columns;
