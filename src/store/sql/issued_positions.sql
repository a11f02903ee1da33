-- The highest position that the sequence of the event table has given out, whoever has it and whether or not he has
-- committed. Null when positions need not come in the order in which they are given out (a cache, a step backwards, a
-- cycle), when none has been, and when this role may not see it.
select case when pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT') and s.seqcache = 1 and s.seqincrement > 0 and not s.seqcycle
            then pg_catalog.pg_sequence_last_value(s.seqrelid) end as issued
  from pg_catalog.pg_sequence s
 where s.seqrelid = pg_catalog.pg_get_serial_sequence(
         pg_catalog.quote_ident(:'schema') || '.' || pg_catalog.quote_ident('event'), 'seq')::pg_catalog.regclass
