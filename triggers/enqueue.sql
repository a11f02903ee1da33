-- enqueue(...): writes one event in the caller's transaction and returns its id.
-- Refuses what could never be published, here, where the developer sees it. The size is that of the
-- very message the relay will send; a limit other than 64 KiB: alter database x set outbox.max_message_bytes.
-- White space and control characters are written out, as Unicode has them and the relay sees them: [:space:] and [:cntrl:]
-- differ from locale to locale. A first character that is printable ASCII saves looking further. Dollar quotes: a session
-- may have turned standard_conforming_strings off.
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
  event_id    text := enqueue.id;
  -- What is no traceparent is dropped: a tracer's mistake must not abort the application's transaction.
  trace       text := coalesce(nullif(enqueue.traceparent, ''), current_setting('outbox.traceparent', true));
  -- Anything but what Unicode calls white space.
  seen        constant text := $re$[^\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$re$;
  bytes       integer;
begin
  if (ascii(enqueue.tenant_id) between 33 and 126) is not true and (enqueue.tenant_id ~ seen) is not true then
    raise exception 'tenantId is required'
      using errcode = 'invalid_parameter_value', hint = 'Pass the tenant whose channel gets the event.';
  end if;
  -- In other encodings the second range holds letters.
  if enqueue.tenant_id ~ $re$[:*,\u0001-\u001f\u007f-\u009f]$re$
       and (getdatabaseencoding() = 'UTF8' or enqueue.tenant_id ~ $re$[:*,\u0001-\u001f\u007f]$re$)
     or left(enqueue.tenant_id, 1) = '[' or octet_length(enqueue.tenant_id) > 2040 then
    raise exception 'tenantId % cannot be part of an Ably channel name', quote_literal(left(enqueue.tenant_id, 100))
      using errcode = 'invalid_parameter_value',
            hint = 'Use an id of at most 2040 bytes without '':'', ''*'', '','' and control characters that does not start with ''[''.';
  end if;
  if coalesce(enqueue.event_type, '') !~ $re$^[^.]*[^.\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^.]*\..*[^\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$re$ then
    raise exception 'eventType % needs at least two segments', quote_nullable(left(enqueue.event_type, 100))
      using errcode = 'invalid_parameter_value', hint = 'Name it module.thing.happened, such as kitchen.task.claimed.';
  end if;
  if (ascii(enqueue.aggregate_type) between 33 and 126) is not true and (enqueue.aggregate_type ~ seen) is not true
     or (ascii(enqueue.aggregate_id) between 33 and 126) is not true and (enqueue.aggregate_id ~ seen) is not true
     or event_id is not null and (ascii(event_id) between 33 and 126) is not true and (event_id ~ seen) is not true then
    raise exception 'aggregateType, aggregateId and id must not be blank'
      using errcode = 'invalid_parameter_value', hint = 'Say which thing the event is about; leave id out to get one.';
  end if;
  if enqueue.payload is null then
    raise exception 'payload is required'
      using errcode = 'null_value_not_allowed', hint = 'Pass jsonb, such as ''{}''.';
  end if;
  -- `strict`: otherwise a filter looks into lists, and does not see that they are any. Ably parses extras: no larger numbers.
  if enqueue.headers is not null and (jsonb_typeof(enqueue.headers) <> 'object'
     or jsonb_path_exists(enqueue.headers, 'strict $.* ? (@.type() == "object" || @.type() == "array" || @ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)')) then
    raise exception 'headers must be a flat JSON object'
      using errcode = 'invalid_parameter_value', hint = 'Use strings, numbers of at most 1.7e308, booleans or nulls as values.';
  end if;

  -- Name + envelope + extras. The constants count the envelope's own keys, quotes and its time, and an id that is made here.
  bytes := octet_length(enqueue.event_type) + octet_length(to_json(enqueue.event_type)::text) + octet_length(enqueue.payload::text)
         + coalesce(octet_length(to_json(event_id)::text), 38) + octet_length(to_json(enqueue.tenant_id)::text)
         + octet_length(to_json(enqueue.aggregate_type)::text) + octet_length(to_json(enqueue.aggregate_id)::text)
         + coalesce(octet_length(enqueue.headers::text) + 12, 0) + 127;
  if bytes > limit_bytes then
    raise exception 'the message would be % bytes; the limit is %', bytes, limit_bytes
      using errcode = 'program_limit_exceeded',
            detail = format('The payload alone is %s bytes.', octet_length(enqueue.payload::text)),
            hint = 'Put a reference into the payload instead of the data, or raise outbox.max_message_bytes if your Ably plan takes more.';
  end if;

  trace := case when trace ~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' then trace end;
  -- Without an id the table gives one, as it does to a plain insert: a partitioned outbox tells such ids from given ones.
  if event_id is null then
    insert into :"schema".event as e (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, traceparent)
    values (enqueue.tenant_id, enqueue.aggregate_type, enqueue.aggregate_id, enqueue.event_type,
            enqueue.payload, enqueue.headers, enqueue.occurred_at, trace)
    returning e.id into event_id;
  else
    insert into :"schema".event (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, traceparent)
    values (event_id, enqueue.tenant_id, enqueue.aggregate_type, enqueue.aggregate_id, enqueue.event_type,
            enqueue.payload, enqueue.headers, enqueue.occurred_at, trace);
  end if;
  return event_id;
end
$$;
