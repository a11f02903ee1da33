-- The newest decisions about the event at position $1, at most $2, newest first. Index: audit_seqs.
select pg_catalog.to_json(a.at) #>> '{}' as at, a.actor, a.db_role, a.action, a.operation, a.count, a.filter::text as filter, a.reason
  from :"schema".audit a
 where a.seqs @> array[$1::bigint]
 order by a.id desc
 limit $2
