-- Where `prune --archive-table` moves published events before they are deleted: a row as it was, and when
-- it was moved. A migration that adds a column to event adds it here too (a test compares them): rows are
-- moved with `gone.*`, so that a column that somebody forgot fails the move instead of losing its values.
-- No primary key: a row that was restored and pruned again is here twice, which is better than not at all.
create table :"schema".event_archive (
  archived_at timestamptz not null default pg_catalog.clock_timestamp(),
  like :"schema".event
);
comment on table :"schema".event_archive is
  'Published events that outbox-relay has moved out of event; delete from it as you like.';

-- `scrub` walks it by position, as it walks event.
create index event_archive_seq on :"schema".event_archive (seq);
