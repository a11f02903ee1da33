-- Ends the block of tenant $1 if no failed event of it is left to decide about. Returns whether the tenant
-- was blocked, and whether it still is. Index: event_undecided.
with undecided as materialized (
  select exists (select from :"schema".event e
                  where e.tenant_id = $1 and e.status = 'failed' and not (e.error ? 'discarded')) as any_left
), released as (
  delete from :"schema".hold h using undecided u
   where h.tenant_id = $1 and h.reason = 'blocked' and not u.any_left
  returning h.tenant_id
)
select exists (select from released) as released,
       exists (select from :"schema".hold h where h.tenant_id = $1 and h.reason = 'blocked')
         and (select u.any_left from undecided u) as still_blocked
