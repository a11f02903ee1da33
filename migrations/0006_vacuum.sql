-- When the event table is vacuumed and analysed. The defaults wait until a fifth of all rows are dead, and history is
-- kept here: with 10 million published rows that is 2 million dead versions, one for each event published. Every claim
-- that meets their entries in event_pending first has to find out that they are dead.
-- A hundredth, and at least 5,000 rows: a vacuum that finds anything dead reads all of every index, so a fixed number
-- would have it read a gigabyte of indexes a minute. Ten times the default's cost limit, so that it keeps up, and not
-- none at all (a cost delay of 0), for the disk is the application's. Inserts count as well, a twentieth: what is never
-- updated again is frozen in good time. fillfactor stays 100: no update here is HOT, because status decides
-- about membership in event_pending.
alter table :"schema".event set (
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_limit = 2000
);
