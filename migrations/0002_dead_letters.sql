-- Dead letters: what operators decide about failed events, and what is remembered of it.
-- The two indexes read the table once, and writers wait meanwhile. Where the table is large, make them
-- first, by hand, with `create index concurrently` and these names and definitions.

-- Failed events by position. Published history is not in it: a list of failures costs what failures cost.
create index if not exists event_failed on :"schema".event (seq) where status = 'failed';

-- Failed events about which nobody has decided, by tenant: the condition for ending a block.
create index if not exists event_undecided on :"schema".event (tenant_id, seq)
  where status = 'failed' and not (error ? 'discarded');

-- How often an event has been requeued. Its message id contains the number, so that Ably, which
-- remembers ids for two minutes, delivers it again. No row means never.
create table :"schema".redelivery (
  seq        bigint primary key references :"schema".event (seq) on delete cascade,
  generation integer not null,
  constraint redelivery_generation_is_positive check (generation > 0)
);

-- Tenants for which another policy than the relay's setting holds when an event fails for good.
create table :"schema".tenant_policy (
  tenant_id text collate "C" primary key,
  on_failed text collate "C" not null,
  constraint tenant_policy_on_failed_is_known check (on_failed in ('skip', 'block'))
);
comment on table :"schema".tenant_policy is
  'Optional: overrides relay.on_failed for single tenants; filled by hand, read by the relay at each claim.';

-- Who decided what. A row is written in the transaction that does it; one command may write several.
create table :"schema".audit (
  id        bigint generated always as identity primary key,
  at        timestamptz not null default pg_catalog.clock_timestamp(),
  actor     text not null,
  -- Whatever the actor calls itself.
  db_role   text not null default session_user,
  action    text collate "C" not null,
  -- The same for all rows of one command.
  operation text not null,
  tenant_id text collate "C" not null,
  seqs      bigint[] not null default '{}',
  count     bigint not null,
  -- What was asked for, when it was not single ids.
  filter    jsonb,
  reason    text,
  constraint audit_action_is_known check (action in ('requeue', 'discard', 'release_hold'))
);
comment on table :"schema".audit is 'Who requeued, discarded or released what, when and why.';

-- The history of one event.
create index audit_seqs on :"schema".audit using gin (seqs);
