-- What an outbox needs that is partitioned (`migrate partition`, triggers/partitions.sql). Both stay empty in one that is not.

-- No row means that event is one table.
create table :"schema".partitioning (
  only_row boolean primary key default true check (only_row),
  -- How long one partition should last at the pace of the last one.
  every    interval not null,
  -- Positions of a partition before there is any pace to go by; no later one has less than a tenth of them.
  rows     bigint not null,
  constraint partitioning_is_forward check (every > interval '0' and rows > 0)
);
comment on table :"schema".partitioning is
  'Has a row when event is partitioned by position; written by outbox-relay migrate partition.';

-- Ids that the application has given. A unique index on a partitioned table must contain the partition key, so each
-- partition has its own index on id, and this table holds them together. Ids by uuid_v7() are not in it: they are unique by
-- construction, and most events have one.
create table :"schema".event_id (
  id  text collate "C" primary key,
  seq bigint not null
);
create index event_id_seq on :"schema".event_id (seq);
