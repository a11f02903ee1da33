-- Tables that are not ours and whose rows are events: outboxes of applications that are kept (`adopt`), and
-- business tables of which changes are told (`capture`). The triggers there are generated.

-- Where a row came from, so that its outcome can be written back there. No default: adding it rewrites nothing.
alter table :"schema".event add column adopted_from integer;
alter table :"schema".event_archive add column adopted_from integer;
comment on column :"schema".event.adopted_from is
  'Key of the adopted table (see table adopted) that this event was copied from; null for all others.';

create table :"schema".adopted (
  -- Part of the names of the generated triggers and functions; made from the table's name.
  key        integer primary key,
  -- Quoted as in SQL.
  relation   text not null unique,
  -- What status a row has there while its event waits.
  waiting_as text not null,
  -- Which column there is what.
  columns    jsonb not null,
  adopted_at timestamptz not null default pg_catalog.clock_timestamp(),
  adopted_by text not null default session_user
);
comment on table :"schema".adopted is 'Outbox tables of applications that outbox-relay publishes from.';

-- Outcomes that are still to be written back: for the length of a statement, or longer when somebody
-- else had the row there locked, or when the table there refused.
create table :"schema".adopted_owed (
  seq      bigint primary key references :"schema".event (seq) on delete cascade,
  adopted  integer not null references :"schema".adopted (key) on delete cascade,
  attempts integer not null default 0,
  error    text
);

create table :"schema".captured (
  key         integer primary key,
  relation    text not null unique,
  definition  jsonb not null,
  captured_at timestamptz not null default pg_catalog.clock_timestamp(),
  captured_by text not null default session_user
);
comment on table :"schema".captured is 'Business tables whose changes are written to the outbox.';
