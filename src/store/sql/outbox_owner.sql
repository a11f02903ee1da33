-- Who owns the outbox, who asks, and whether they may act for role $1.
select pg_catalog.pg_get_userbyid(c.relowner)::text as owner, current_user::text as me,
       pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER') as may_act_for_owner,
       pg_catalog.pg_has_role(current_user, $1::text::name, 'MEMBER') as may_act_for_other
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = :'schema' and c.relname = 'event'
