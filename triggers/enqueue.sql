-- enqueue(...): writes one event in the caller's transaction and returns its id.
-- Refuses what could never be published, here, where the developer sees it. The size is that of the
-- very message the relay will send; a limit other than 64 KiB: alter database x set outbox.max_message_bytes.
-- SECURITY DEFINER: a producer needs EXECUTE on this function and nothing else.
create or replace function :"schema".enqueue(
  tenant_id      text,
  event_type     text,
  payload        jsonb,
  aggregate_type text,
  aggregate_id   text,
  id             text default null,
  occurred_at    timestamptz default null,
  headers        jsonb default null,
  traceparent    text default null
) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  limit_bytes constant integer := coalesce(nullif(current_setting('outbox.max_message_bytes', true), '')::integer, 65536);
  event_id    constant text := coalesce(enqueue.id, :"schema".uuid_v7()::text);
  -- What is no traceparent is dropped: a tracer's mistake must not abort the application's transaction.
  trace       constant text := coalesce(nullif(enqueue.traceparent, ''), current_setting('outbox.traceparent', true));
  bytes       integer;
begin
  if btrim(coalesce(enqueue.tenant_id, '')) = '' then
    raise exception 'tenantId is required'
      using errcode = 'invalid_parameter_value', hint = 'Pass the tenant whose channel gets the event.';
  end if;
  if enqueue.tenant_id ~ '[:*,[:cntrl:]]' or left(enqueue.tenant_id, 1) = '[' or octet_length(enqueue.tenant_id) > 2040 then
    raise exception 'tenantId % cannot be part of an Ably channel name', quote_literal(left(enqueue.tenant_id, 100))
      using errcode = 'invalid_parameter_value',
            hint = 'Use an id of at most 2040 bytes without '':'', ''*'', '','' and control characters that does not start with ''[''.';
  end if;
  if coalesce(enqueue.event_type, '') !~ '^[^.]*[^.[:space:]][^.]*\..*[^[:space:]]' then
    raise exception 'eventType % needs at least two segments', quote_nullable(left(enqueue.event_type, 100))
      using errcode = 'invalid_parameter_value', hint = 'Name it module.thing.happened, such as kitchen.task.claimed.';
  end if;
  if btrim(coalesce(enqueue.aggregate_type, '')) = '' or btrim(coalesce(enqueue.aggregate_id, '')) = '' or btrim(event_id) = '' then
    raise exception 'aggregateType, aggregateId and id must not be blank'
      using errcode = 'invalid_parameter_value', hint = 'Say which thing the event is about; leave id out to get one.';
  end if;
  if enqueue.payload is null then
    raise exception 'payload is required'
      using errcode = 'null_value_not_allowed', hint = 'Pass jsonb, such as ''{}''.';
  end if;
  if enqueue.headers is not null and (jsonb_typeof(enqueue.headers) <> 'object'
     or jsonb_path_exists(enqueue.headers, '$.* ? (@.type() == "object" || @.type() == "array")')) then
    raise exception 'headers must be a flat JSON object'
      using errcode = 'invalid_parameter_value', hint = 'Use strings, numbers, booleans or nulls as values.';
  end if;

  -- Name + envelope + extras. The constant counts the envelope's own keys, quotes and its time.
  bytes := octet_length(enqueue.event_type) + octet_length(to_json(enqueue.event_type)::text) + octet_length(enqueue.payload::text)
         + octet_length(to_json(event_id)::text) + octet_length(to_json(enqueue.tenant_id)::text)
         + octet_length(to_json(enqueue.aggregate_type)::text) + octet_length(to_json(enqueue.aggregate_id)::text)
         + coalesce(octet_length(enqueue.headers::text) + 12, 0) + 127;
  if bytes > limit_bytes then
    raise exception 'the message would be % bytes; the limit is %', bytes, limit_bytes
      using errcode = 'program_limit_exceeded',
            detail = format('The payload alone is %s bytes.', octet_length(enqueue.payload::text)),
            hint = 'Put a reference into the payload instead of the data, or raise outbox.max_message_bytes if your Ably plan takes more.';
  end if;

  insert into :"schema".event (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, traceparent)
  values (event_id, enqueue.tenant_id, enqueue.aggregate_type, enqueue.aggregate_id, enqueue.event_type,
          enqueue.payload, enqueue.headers, enqueue.occurred_at,
          case when trace ~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' then trace end);
  return event_id;
end
$$;
