-- What an outbox that keeps up has to claim: one event and no other. Does for it what lock_tenants, read_runs and lock_lone
-- (src/store/sql) do for up to a hundred tenants, with the same rules and in the same order, in a few index look-ups
-- instead of three large plans: they take the server 0.35 ms, this 0.15, and the rest of the way from commit to request
-- is 0.5. Not a pipeline of small statements: each answer is sent by itself, which costs as much as what it answers.
-- Returns one row. `events` is 1 with an event, which is locked and will be sent; 0 when there is nothing to take: no pending
-- event, or one whose tenant is excepted ($1) or another relay's; null when it is not that simple, and the caller goes the
-- long way in the same transaction: whatever is locked by then is the tenant, never the row, whose lock would look like a sending.
-- Each statement of a volatile function has a snapshot of its own: what is read under the tenant's lock is newer than the lock.
-- Not simple is a second pending event, anything that is paused, a record, a hold or a crash of the tenant, and whatever is
-- large: its text is made twice, once for its size. Runs with the rights of whoever calls it.
create or replace function :"schema".claim_lone(
  except_tenants text[],
  bytes_max      bigint,
  out events     integer,
  out tenant_id  text, out owner integer, out on_failed text,
  out seq bigint, out lock_trace boolean, out bytes bigint, out id text,
  out aggregate_type text, out aggregate_id text, out event_type text, out payload text, out headers text,
  out occurred_at text, out payload_occurred_at text, out created_at text,
  out attempts integer, out generation integer, out waited_ms double precision
)
language plpgsql
as $$
declare
  waiting integer;
  paused boolean;
  first  bigint;
begin
  -- As in drain_settings, and before anything is planned; a test holds the two together.
  perform pg_catalog.set_config('idle_in_transaction_session_timeout', '45s', true),
          pg_catalog.set_config('statement_timeout', '15s', true),
          pg_catalog.set_config('lock_timeout', '5s', true),
          pg_catalog.set_config('enable_seqscan', 'off', true),
          pg_catalog.set_config('enable_bitmapscan', 'off', true),
          pg_catalog.set_config('enable_sort', 'off', true),
          pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
          pg_catalog.set_config('jit', 'off', true);

  select pg_catalog.count(*), pg_catalog.min(two.tenant_id), pg_catalog.min(two.seq), exists (select from :"schema".pause)
    into waiting, tenant_id, first, paused
    from (select e.tenant_id, e.seq from :"schema".event e
           where e.status = 'pending' order by e.tenant_id, e.seq limit 2) two;
  if paused or waiting > 1 then
    return;
  end if;
  if waiting = 0 or tenant_id = any (except_tenants) then
    events := 0;
    return;
  end if;
  -- The key is lock_tenants'.
  if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(tenant_id,
           pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid::bigint)) then
    events := 0;
    return;
  end if;

  -- A lock's trace is that of an earlier lock: rows are computed before they are locked (it::in_flight sees both).
  select 1, pg_catalog.pg_backend_pid(),
         (select o.on_failed from :"schema".tenant_policy o where o.tenant_id = e.tenant_id),
         e.seq,
         e.xmax <> '0'::xid and e.xmax <> e.xmin
           or ((select s.started_at from :"schema".server_start s)
               <= greatest(e.created_at, pg_catalog.clock_timestamp() - interval '150 seconds')) is not true,
         pg_catalog.octet_length(e.payload::text) + o.others, e.id, e.aggregate_type, e.aggregate_id, e.event_type,
         e.payload::text, e.headers::text,
         case when pg_catalog.isfinite(e.occurred_at) then
           pg_catalog.to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end,
         case when pg_catalog.jsonb_typeof(e.payload -> 'occurredAt') = 'string'
           then pg_catalog.left(e.payload ->> 'occurredAt', 64) end,
         pg_catalog.to_char(case when pg_catalog.isfinite(e.created_at) then e.created_at
           else pg_catalog.clock_timestamp() end at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
         e.attempts,
         coalesce((select r.generation from :"schema".redelivery r where r.seq = e.seq), 0),
         1000 * pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - case
           when not pg_catalog.isfinite(e.created_at) then null
           when pg_catalog.current_setting('track_commit_timestamp') = 'on' and e.attempts = 0
                and not exists (select from :"schema".redelivery r where r.seq = e.seq)
             then coalesce(pg_catalog.pg_xact_commit_timestamp(e.xmin), e.created_at)
           else e.created_at end)
    into events, owner, on_failed, seq, lock_trace, bytes, id, aggregate_type, aggregate_id, event_type, payload, headers,
         occurred_at, payload_occurred_at, created_at, attempts, generation, waited_ms
    from :"schema".event e
   cross join lateral (
     select 137 + 2 * pg_catalog.octet_length(e.event_type)::bigint + pg_catalog.octet_length(e.id)
            + pg_catalog.octet_length(e.tenant_id) + pg_catalog.octet_length(e.aggregate_type)
            + pg_catalog.octet_length(e.aggregate_id)
            + coalesce(12 + pg_catalog.octet_length(e.headers::text), 0) as others) o
   where e.seq = first and e.status not in ('published', 'failed')
     and pg_catalog.pg_column_size(e.payload) <= 8192
     and pg_catalog.octet_length(e.payload::text) + o.others <= bytes_max
     -- None came in between, on whichever side.
     and not exists (select from :"schema".event other
                      where (other.tenant_id, other.seq) >= (e.tenant_id, '-9223372036854775808'::bigint)
                        and other.tenant_id <= e.tenant_id and other.status = 'pending' and other.seq <> first)
     and not exists (select from :"schema".in_flight f where f.tenant_id = e.tenant_id)
     and not exists (select from :"schema".hold h where h.tenant_id = e.tenant_id)
     and not exists (select from :"schema".crash c where c.tenant_id = e.tenant_id)
     for update of e skip locked;
end
$$;
