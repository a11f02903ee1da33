-- What an operator has paused. Not in `hold`: relays write and end holds at any settlement, and one that was
-- under way would end a pause. No row means that nothing is paused, and that is what a claim looks for first.
create table :"schema".pause (
  -- `all`, `tenant` or `type`.
  scope  text collate "C" not null,
  -- The tenant or the event type; empty for `all`.
  target text collate "C" not null default '',
  since  timestamptz not null default pg_catalog.clock_timestamp(),
  -- From then on it is over, whether or not the row is still there.
  until  timestamptz not null default 'infinity',
  actor  text not null,
  reason text,
  primary key (scope, target),
  constraint pause_scope_is_known check (scope in ('all', 'tenant', 'type')),
  constraint pause_of_all_has_no_target check ((scope = 'all') = (target = ''))
);
comment on table :"schema".pause is
  'What outbox-relay does not publish for now: everything, tenants, or event types; by `pause` and `resume`.';

-- What is decided about all tenants, or about a type, has the empty tenant; the filter says which.
alter table :"schema".audit drop constraint audit_action_is_known,
  add constraint audit_action_is_known
      check (action in ('requeue', 'discard', 'release_hold', 'pause', 'resume')) not valid;
