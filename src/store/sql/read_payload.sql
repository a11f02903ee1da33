-- The payload of one event ($1) in pieces of 64 KiB, for a link that is valid until $2 (seconds since 1970): one row
-- each, every row with the database's clock. One row without a piece when there is nothing to read. Pieces of bytes and
-- not of text, whose characters would be counted from the start for each piece. `offset 0` keeps the text from being
-- made anew for each. Index: event_id_key.
select c.now, t.scrubbed, pg_catalog.substr(t.bytes, s.at, 65536) as piece
  from (select pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()))::bigint as now offset 0) c
  left join lateral (
    select m.scrubbed,
           case when not m.scrubbed and c.now <= $2 then pg_catalog.convert_to(m.payload::text, 'UTF8') end as bytes
      from (select e.payload,
                   -- What scrub leaves is small: nothing large is compared.
                   case when pg_catalog.pg_column_size(e.payload) < 100
                     then e.payload = '{"scrubbed": true}' else false end as scrubbed
              from :"schema".event e where e.id = $1 offset 0) m
    offset 0) t on true
  left join lateral pg_catalog.generate_series(1, pg_catalog.octet_length(t.bytes), 65536) as s(at) on true
