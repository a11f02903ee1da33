-- The lowest pending events of each locked tenant ($1), at most $2 rows and $3 bytes each
-- (one row always), or exactly the events of the group that is recorded as in flight.
-- A statement of its own after the locks: its snapshot sees what the tenants' last owner has settled.
-- Takes no row locks: a row is locked only when it is about to be sent (lock_rows.sql), so that the
-- trace of a lock in xmax means "may have been sent alone" (lock_trace). An update keeps the lock of its
-- own transaction in the new version: xmin = xmax means refused and settled, not in flight. As long as
-- server_start is empty nobody has noted a crash yet: behind a pooler our connections outlive one.
-- The text of an event that is too large for any message stays behind: its size is enough to fail it. As
-- stored, no JSON takes more than about four times its text (measured: numbers of one digit). So what is
-- stored in more than eight times the bytes is not made text of, nor what comes behind so much: else a
-- dozen rows of 100 MB take longer than statement_timeout, and with it everybody's claim.
-- Asks for holds again: one may have been set after lock_tenants had looked and before it had the lock.
select t.tenant_id, f.base_id, pg_catalog.cardinality(f.seqs) as group_events, coalesce(h.failures, 0) as hold_failures,
       o.on_failed, q.seq, q.lock_trace, q.bytes, e.id,
       case when q.bytes <= $3 then e.aggregate_type else '' end as aggregate_type,
       case when q.bytes <= $3 then e.aggregate_id else '' end as aggregate_id,
       case when q.bytes <= $3 then e.event_type else '' end as event_type,
       case when q.bytes <= $3 then e.payload::text end as payload,
       case when q.bytes <= $3 then e.headers::text end as headers,
       case when pg_catalog.isfinite(e.occurred_at) then
         pg_catalog.to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end as occurred_at,
       case when pg_catalog.jsonb_typeof(e.payload -> 'occurredAt') = 'string'
         then pg_catalog.left(e.payload ->> 'occurredAt', 64) end as payload_occurred_at,
       pg_catalog.to_char(case when pg_catalog.isfinite(e.created_at) then e.created_at
         else pg_catalog.clock_timestamp() end at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created_at,
       e.attempts, coalesce(r.generation, 0) as generation,
       -- An event that was tried has been updated, so its xmin is no longer that of its writer.
       1000 * pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - case
         when not pg_catalog.isfinite(e.created_at) then null
         when e.attempts = 0 and r.seq is null and pg_catalog.current_setting('track_commit_timestamp') = 'on'
           then coalesce(pg_catalog.pg_xact_commit_timestamp(e.xmin), e.created_at)
         else e.created_at end) as waited_ms
  from pg_catalog.unnest($1::text[]) with ordinality as t(tenant_id, turn)
  left join :"schema".in_flight f on f.tenant_id = t.tenant_id
  left join :"schema".hold h on h.tenant_id = t.tenant_id
  left join :"schema".tenant_policy o on o.tenant_id = t.tenant_id
 cross join lateral (
   select p.seq, p.lock_trace, p.bytes,
          -- What is too large to go anywhere takes no room from what follows it.
          coalesce(pg_catalog.sum(p.bytes) filter (where p.bytes <= $3)
                     over (order by p.seq rows between unbounded preceding and 1 preceding), 0) as bytes_before
     from (select c.seq, c.lock_trace,
                  case when c.stored > 8 * $3 then c.stored else pg_catalog.octet_length(c.payload::text) end
                  + c.others as bytes
             from (select e.*, coalesce(pg_catalog.sum(e.stored) filter (where e.stored <= 8 * $3)
                                          over (order by e.seq rows between unbounded preceding and 1 preceding), 0)
                            as stored_before
                     from (select e.seq, e.payload, pg_catalog.pg_column_size(e.payload)::bigint as stored,
                                  pg_catalog.octet_length(e.event_type)::bigint + pg_catalog.octet_length(e.aggregate_type)
                                  + pg_catalog.octet_length(e.aggregate_id)
                                  + coalesce(pg_catalog.octet_length(e.headers::text), 0) as others,
                                  e.xmax <> '0'::xid and e.xmax <> e.xmin
                                   or not exists (select from :"schema".server_start s
                                                   where s.started_at <= e.created_at
                                                      or s.started_at <= pg_catalog.clock_timestamp() - interval '150 seconds')
                                    as lock_trace
                             from :"schema".event e
                            where e.tenant_id = t.tenant_id and e.status = 'pending'
                              and e.seq <= coalesce(f.seqs[pg_catalog.cardinality(f.seqs)], 9223372036854775807)
                              and (f.seqs is null or e.seq = any (f.seqs))
                            order by e.seq
                            -- A recorded group is repeated whole, also by a relay that is told to take fewer rows.
                            limit greatest($2, pg_catalog.cardinality(f.seqs))) e) c
            where f.seqs is not null or c.stored_before <= 8 * $3) p
 ) q
  join :"schema".event e on e.seq = q.seq
  left join :"schema".redelivery r on r.seq = q.seq
 where (f.seqs is not null or q.bytes_before < $3)
   and (h.until is null or h.until <= pg_catalog.statement_timestamp())
 order by t.turn, q.seq
