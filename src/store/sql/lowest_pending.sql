-- The lowest pending position, found by each tenant's first; null when nothing waits. How many tenants have been looked at:
-- more than $1 are not. Index: event_pending, one probe a tenant, and all its dead entries.
with recursive first_of as (
  (select e.tenant_id, e.seq from :"schema".event e where e.status = 'pending' order by e.tenant_id, e.seq limit 1)
  union all
  select n.tenant_id, n.seq
    from first_of f
   cross join lateral (select e.tenant_id, e.seq from :"schema".event e
                        where e.status = 'pending' and e.tenant_id > f.tenant_id
                        order by e.tenant_id, e.seq limit 1) n
)
select min(t.seq) as lowest, count(*) as tenants from (select f.seq from first_of f limit $1 + 1) t
