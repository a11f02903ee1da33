-- Decisions before the one with number $1, newest first, at most $2, each with its first 20 positions.
-- Index: audit_pkey.
select a.id, pg_catalog.to_json(a.at) #>> '{}' as at, a.actor, a.db_role, a.action, a.operation, a.tenant_id,
       a.seqs[1:20] as seqs, a.count, a.filter::text as filter, a.reason
  from :"schema".audit a
 where a.id < $1
 order by a.id desc
 limit $2
