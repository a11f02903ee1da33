insert into {{outbox}}.captured (key, relation, definition)
values ({{key}}, {{relation_text}}, {{definition}})
    on conflict (key) do update set definition = excluded.definition;
