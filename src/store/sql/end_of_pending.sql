-- Where search_pending stops looking: the 20,000th pending event after tenant $1 and position $2, of tenant $3 unless it is null; none
-- when there are fewer. Index: event_pending.
select e.tenant_id, e.seq from :"schema".event e
 where e.status = 'pending' and (e.tenant_id, e.seq) > ($1, $2) and ($3::text is null or e.tenant_id = $3)
 order by e.tenant_id, e.seq offset 19999 limit 1
