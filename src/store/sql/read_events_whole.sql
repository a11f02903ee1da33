-- As read_events.sql, with payloads and headers.
select e.seq, e.id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.event_type, e.status, e.attempts,
       coalesce(r.generation, 0) as generation, e.error::text as error,
       -- to_json prints RFC 3339, and infinity as a word.
       pg_catalog.to_json(e.occurred_at) #>> '{}' as occurred_at,
       pg_catalog.to_json(e.created_at) #>> '{}' as created_at,
       pg_catalog.to_json(e.published_at) #>> '{}' as published_at,
       e.payload::text as payload,
       e.headers::text as headers
  from pg_catalog.unnest($1::bigint[]) with ordinality as s(seq, place)
  join :"schema".event e on e.seq = s.seq
  left join :"schema".redelivery r on r.seq = e.seq
 order by s.place
