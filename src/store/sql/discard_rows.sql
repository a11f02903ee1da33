-- Notes in failed events ($2) of tenant $1 that nobody wants them published: by whom ($3) and why ($4).
-- They stay failed. Returns what has changed. Index: event_pkey.
with discarded as (
  update :"schema".event e
     set error = case when pg_catalog.jsonb_typeof(e.error) = 'object' then e.error
                      else pg_catalog.jsonb_build_object('message', e.error) end
                 || pg_catalog.jsonb_build_object('discarded', pg_catalog.jsonb_build_object(
                      'at', pg_catalog.clock_timestamp(), 'by', $3::text, 'reason', $4::text))
   where e.seq = any ($2::bigint[]) and e.tenant_id = $1 and e.status not in ('pending', 'published')
     and not (e.error ? 'discarded')
  returning e.seq
)
select d.seq from discarded d order by d.seq
