-- The outbox: one row per event, the groups in flight, and the tenants on hold.
-- Immutable once released: a change is a new file. The relay fills in the schema's name.

-- A version 7 UUID: 48 bits of milliseconds, then random bits. Ids made later sort later, so that
-- the unique index grows at its right edge. PostgreSQL has its own only from 18 on.
create function :"schema".uuid_v7() returns uuid
language sql volatile parallel safe
as $$
  select (pg_catalog.lpad(pg_catalog.to_hex(
            (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint), 12, '0')
          || '7'
          || pg_catalog.substr(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 14))::uuid
$$;

create table :"schema".event (
  seq            bigint generated always as identity primary key,
  id             text collate "C" not null unique default :"schema".uuid_v7()::text,
  tenant_id      text collate "C" not null,
  aggregate_type text not null,
  aggregate_id   text not null,
  event_type     text not null,
  payload        jsonb not null,
  headers        jsonb,
  occurred_at    timestamptz,
  -- Not now(): that is the start of the transaction, which may be minutes earlier.
  created_at     timestamptz not null default pg_catalog.clock_timestamp(),
  status         text collate "C" not null default 'pending',
  attempts       integer not null default 0,
  error          jsonb,
  published_at   timestamptz,
  constraint event_status_is_known check (status in ('pending', 'published', 'failed')),
  constraint event_published_at_iff_published check ((status = 'published') = (published_at is not null)),
  constraint event_failed_has_error check (status <> 'failed' or error is not null),
  constraint event_attempts_not_negative check (attempts >= 0)
);
comment on table :"schema".event is
  'Transactional outbox: insert here in your own transaction; outbox-relay publishes it to Ably after commit.';
comment on column :"schema".event.occurred_at is
  'When it happened, set by the producer; payload.occurredAt or created_at stands in when it is null.';
comment on column :"schema".event.attempts is
  'Publishes with this event that Ably refused on merits; outages and throttling do not count.';

-- The claim finds tenants and each tenant's lowest positions by this index alone.
create index event_pending on :"schema".event (tenant_id, seq) where status = 'pending';

-- Composition of a group of events that is, or may have been, on its way to Ably. Committed before
-- the request leaves; whoever next has the tenant's lock and finds it repeats exactly this group.
create table :"schema".in_flight (
  tenant_id   text collate "C" primary key,
  base_id     text not null,
  seqs        bigint[] not null,
  recorded_at timestamptz not null default pg_catalog.clock_timestamp(),
  constraint in_flight_is_a_group check (pg_catalog.cardinality(seqs) > 1)
);

-- Tenants whose head cannot be published now: later events of theirs wait, nobody else does.
create table :"schema".hold (
  tenant_id text collate "C" primary key,
  since     timestamptz not null default pg_catalog.clock_timestamp(),
  until     timestamptz not null,
  failures  integer not null default 1,
  reason    text not null,
  message   text not null
);

-- PostgreSQL empties an unlogged table when it recovers from a crash and when a standby is promoted.
-- Both may lose the traces of row locks that were not yet on disk, by which the relay knows an event
-- that was in flight alone; the first relay to connect notes the time here.
create unlogged table :"schema".server_start (
  only_row   boolean primary key default true check (only_row),
  started_at timestamptz not null default pg_catalog.clock_timestamp()
);
-- Nothing can have been in flight before the outbox was made.
insert into :"schema".server_start (started_at) values ('-infinity');
