-- In which trace an event was written: the W3C `traceparent` of its writer, to which the span of its publish is linked.
-- A column of its own and not a header: headers are sent to subscribers and count towards the message's size.
-- Its default takes what the application has said for its transaction (`set local outbox.traceparent = '...'`), so that a
-- plain insert needs no change. No CHECK: what is no traceparent must not abort its writer's transaction, so the
-- default drops it, and the relay passes over what was written by hand. Added without the default: rewrites nothing.
alter table :"schema".event add column traceparent text collate "C";
alter table :"schema".event_archive add column traceparent text collate "C";
alter table :"schema".event alter column traceparent set default case
  when pg_catalog.current_setting('outbox.traceparent', true)
       ~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'
    then pg_catalog.current_setting('outbox.traceparent', true) end;
comment on column :"schema".event.traceparent is
  'W3C traceparent of the writer; by default what outbox.traceparent is set to in its transaction, else null.';

-- enqueue gets an argument, so its old form has to go, or calls would be ambiguous. Its successor is made here, with the
-- same body, owner and privileges: triggers/enqueue.sql replaces the body in a transaction of its own, and writers go on meanwhile.
do $$
declare
  former regprocedure := pg_catalog.to_regprocedure(pg_catalog.format(
             '%I.enqueue(text, text, jsonb, text, text, text, timestamptz, jsonb)', :'schema'));
  latter text := pg_catalog.format('%I.enqueue(text, text, jsonb, text, text, text, timestamptz, jsonb, text)', :'schema');
  holder record;
  made   record;
begin
  if former is null then
    return;
  end if;
  select p.prosrc, p.proacl, p.proowner, pg_catalog.pg_get_function_arguments(p.oid) as arguments
    into made from pg_catalog.pg_proc p where p.oid = former;
  execute pg_catalog.format(
    'create function %I.enqueue(%s, traceparent text default null) returns text
       language plpgsql security definer set search_path = pg_catalog, pg_temp as %L',
    :'schema', made.arguments, made.prosrc);
  if made.proowner <> (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user) then
    execute pg_catalog.format('alter function %s owner to %I', latter, pg_catalog.pg_get_userbyid(made.proowner));
  end if;
  if made.proacl is not null then
    execute pg_catalog.format('revoke all on function %s from public', latter);
    for holder in select a.grantee, a.is_grantable from pg_catalog.aclexplode(made.proacl) a
                   where a.privilege_type = 'EXECUTE' and a.grantee <> made.proowner loop
      execute pg_catalog.format('grant execute on function %s to %s%s', latter,
                     case when holder.grantee = 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(holder.grantee)) end,
                     case when holder.is_grantable then ' with grant option' else '' end);
    end loop;
  end if;
  execute pg_catalog.format('drop function %s', former);
end
$$;
