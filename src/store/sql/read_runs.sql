-- The lowest pending events of each locked tenant ($1, or null for those that lock_tenants has locked), at most $2 rows and $3 bytes each
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
-- `bytes` is the message as Ably counts it, without JSON's escapes: name, headers, the payload's text and 137 bytes of
-- the envelope's keys and time beside its values; so no more rows come than a group can hold.
-- The tenant is a range and not an equation, so that only event_pending gives the order: with statistics from before
-- a bulk load the planner walked all of event_pkey for each tenant (3.4 s instead of 0.1 s for 11,000 rows).
-- The row begins at the floor ($4, see lock_tenants), where the index can begin too; a recorded group is read wherever it is.
-- The trace that an event was written in is read only where it goes into the message ($5); what is no traceparent by its
-- length stays behind.
-- `offset 0` keeps the text of a payload from being made twice; sums of integers, since those of bigint are numeric.
-- `paused` says that an event's type is, which is asked for each row only while any type is; the run ends before it
-- (claim.rs), unless it is part of a recorded group.
select t.tenant_id, f.base_id, pg_catalog.cardinality(f.seqs) as group_events, coalesce(h.failures, 0) as hold_failures,
       o.on_failed, q.seq, q.lock_trace, q.bytes, q.id,
       case when q.bytes <= $3 then q.aggregate_type else '' end as aggregate_type,
       case when q.bytes <= $3 then q.aggregate_id else '' end as aggregate_id,
       case when q.bytes <= $3 then q.event_type else '' end as event_type,
       case when q.bytes <= $3 then q.text end as payload,
       case when q.bytes <= $3 then q.headers::text end as headers,
       q.traceparent,
       case when pg_catalog.isfinite(q.occurred_at) then
         pg_catalog.to_char(q.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end as occurred_at,
       case when q.bytes <= $3 and pg_catalog.jsonb_typeof(q.payload -> 'occurredAt') = 'string'
         then pg_catalog.left(q.payload ->> 'occurredAt', 64) end as payload_occurred_at,
       pg_catalog.to_char(case when pg_catalog.isfinite(q.created_at) then q.created_at
         else pg_catalog.clock_timestamp() end at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created_at,
       q.attempts,
       case when (select exists (select from :"schema".pause p where p.scope = 'type' and p.until > pg_catalog.statement_timestamp()))
         then f.seqs is null and exists (select from :"schema".pause p where p.scope = 'type' and p.target = q.event_type
                                            and p.until > pg_catalog.statement_timestamp())
         else false end as paused,
       -- Nothing was ever requeued in most outboxes: asked once, not for every row.
       case when (select exists (select from :"schema".redelivery))
         then coalesce((select r.generation from :"schema".redelivery r where r.seq = q.seq), 0) else 0 end as generation,
       -- An event that was tried has been updated, so its xmin is no longer that of its writer.
       1000 * pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - case
         when not pg_catalog.isfinite(q.created_at) then null
         when (select pg_catalog.current_setting('track_commit_timestamp')) = 'on' and q.attempts = 0
              and not exists (select from :"schema".redelivery r where r.seq = q.seq)
           then coalesce(pg_catalog.pg_xact_commit_timestamp(q.writer), q.created_at)
         else q.created_at end) as waited_ms
  from pg_catalog.unnest(coalesce($1::text[],
         nullif(pg_catalog.current_setting('outbox_relay.locked', true), '')::text[])) with ordinality as t(tenant_id, turn)
  left join :"schema".in_flight f on f.tenant_id = t.tenant_id
  left join :"schema".hold h on h.tenant_id = t.tenant_id
  left join :"schema".tenant_policy o on o.tenant_id = t.tenant_id
 cross join lateral (
   select b.*,
          -- What is too large to go anywhere takes no room from what follows it.
          coalesce(pg_catalog.sum(b.bytes::integer) filter (where b.bytes <= $3)
                     over (rows between unbounded preceding and 1 preceding), 0) as bytes_before
     from (select x.*, case when x.stored > 8 * $3 then x.stored else pg_catalog.octet_length(x.text) end + x.others as bytes
             from (select w.*, case when w.stored <= 8 * $3 then w.payload::text end as text
                     from (select c.*, coalesce(pg_catalog.sum(c.stored) filter (where c.stored <= 8 * $3)
                                                  over (rows between unbounded preceding and 1 preceding), 0) as stored_before
                             from (select e.seq, e.id, e.aggregate_type, e.aggregate_id, e.event_type, e.payload, e.headers,
                                          e.occurred_at, e.created_at, e.attempts, e.xmin as writer,
                                          case when $5 and pg_catalog.octet_length(e.traceparent) = 55 then e.traceparent end as traceparent,
                                          pg_catalog.pg_column_size(e.payload) as stored,
                                          137 + 2 * pg_catalog.octet_length(e.event_type)::bigint + pg_catalog.octet_length(e.id)
                                          + pg_catalog.octet_length(e.tenant_id) + pg_catalog.octet_length(e.aggregate_type)
                                          + pg_catalog.octet_length(e.aggregate_id)
                                          + coalesce(12 + pg_catalog.octet_length(e.headers::text), 0) as others,
                                          e.xmax <> '0'::xid and e.xmax <> e.xmin
                                           or ((select s.started_at from :"schema".server_start s)
                                               <= greatest(e.created_at, pg_catalog.clock_timestamp() - interval '150 seconds'))
                                              is not true as lock_trace
                                     from :"schema".event e
                                    where (e.tenant_id, e.seq) >= (t.tenant_id, case when f.seqs is null then $4 else 0 end)
                                      and e.tenant_id <= t.tenant_id and e.status = 'pending'
                                      and e.seq <= coalesce(f.seqs[pg_catalog.cardinality(f.seqs)], 9223372036854775807)
                                      and (f.seqs is null or e.seq = any (f.seqs))
                                    order by e.tenant_id, e.seq
                                    -- A recorded group is repeated whole, also by a relay that is told to take fewer rows.
                                    limit greatest($2, pg_catalog.cardinality(f.seqs))) c) w
                    where f.seqs is not null or w.stored_before <= 8 * $3
                   offset 0) x
           offset 0) b
 ) q
 where (f.seqs is not null or q.bytes_before < $3)
   and (h.until is null or h.until <= pg_catalog.statement_timestamp())
 order by t.turn, q.seq
