-- Forgets a recorded group that can no longer be repeated, because somebody has deleted, failed or
-- published one of its events. Tenants ($1) whose group is whole are left alone.
delete from :"schema".in_flight f
 where f.tenant_id = any ($1::text[])
   and exists (select from pg_catalog.unnest(f.seqs) as s(seq)
                where not exists (select from :"schema".event e
                                   where e.seq = s.seq and e.tenant_id = f.tenant_id and e.status = 'pending'))
returning f.tenant_id
