drop function if exists {{copy}}();
drop function if exists {{again}}();
drop function if exists {{write_back}}(text[], text[], text[], timestamptz[]);
delete from {{outbox}}.adopted where key = {{key}};
