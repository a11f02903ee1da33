-- As find_old.sql, in the archive, where a position may be there more than once: the window ends behind
-- the last row of its last position. Index: event_archive_seq.
with looked as materialized (
  select e.seq, e.status, e.tenant_id, e.event_type, e.aggregate_id, e.created_at, e.published_at,
         not $9::boolean or e.headers is not null or e.payload <> '{"scrubbed": true}' as unscrubbed
    from :"schema".event_archive e
   where e.seq > $1
     and e.seq <= (select pg_catalog.max(w.seq)
                     from (select a.seq from :"schema".event_archive a where a.seq > $1 order by a.seq limit $2) w)
   order by e.seq
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
