-- Looks at the next $2 events behind position $1 for at most $3 that are older than $4 milliseconds by the
-- server's clock: published_at, or created_at of a failed one. $5 statuses, $6 tenant, $7 pattern of the
-- event type, $8 aggregate, $9 only what is not scrubbed yet, $10 below
-- which position. Locks nothing. Index: event_pkey.
-- A position is taken no later than created_at is read, and nothing is published before it is written: where
-- everything is young by created_at, everything behind it is young too, and the walk may end.
with looked as materialized (
  select e.seq, e.status, e.tenant_id, e.event_type, e.aggregate_id, e.created_at, e.published_at,
         not $9::boolean or e.headers is not null or e.payload <> '{"scrubbed": true}' as unscrubbed
    from :"schema".event e
   where e.seq > $1 and e.seq < $10
   order by e.seq
   limit $2
), judged as materialized (
  select l.seq, l.status,
         l.status = any ($5::text[])
         and case l.status when 'published' then l.published_at else l.created_at end
             < pg_catalog.statement_timestamp() - $4::bigint * interval '1 millisecond'
         and ($6::text is null or l.tenant_id = $6)
         and ($7::text is null or l.event_type like $7)
         and ($8::text is null or l.aggregate_id = $8)
         and l.unscrubbed as wanted,
         l.created_at >= pg_catalog.statement_timestamp() - $4::bigint * interval '1 millisecond'
         and coalesce(l.published_at >= pg_catalog.statement_timestamp() - $4::bigint * interval '1 millisecond', true) as young
    from looked l
), candidate as materialized (
  select j.seq from judged j where j.wanted order by j.seq limit $3
), reach as (
  select case when (select pg_catalog.count(*) from candidate) >= $3 then (select pg_catalog.max(c.seq) from candidate c)
              else (select pg_catalog.max(j.seq) from judged j) end as last
)
select array(select c.seq from candidate c order by c.seq) as seqs,
       r.last,
       (select pg_catalog.count(*) from judged j where j.seq <= r.last) as looked_at,
       (select pg_catalog.count(*) from judged) as window_rows,
       (select pg_catalog.bool_and(j.young) from judged j) is not false as young,
       (select pg_catalog.min(j.seq) from judged j
         where j.seq <= r.last and not j.wanted and j.status <> 'failed') as kept_from
  from reach r
