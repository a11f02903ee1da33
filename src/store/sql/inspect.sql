-- What a relay must know of a database before it claims: is it writable, is the outbox there, and may
-- this role work with it.
select pg_catalog.pg_is_in_recovery() as standby,
       pg_catalog.current_setting('transaction_read_only') = 'on' as read_only,
       r.event_oid::bigint as event_oid,
       current_user::text as role,
       case when r.event_oid is not null then pg_catalog.has_schema_privilege(:'schema', 'usage')
         and pg_catalog.has_table_privilege(r.event_oid, 'select')
         and pg_catalog.has_any_column_privilege(r.event_oid, 'update')
         and pg_catalog.has_table_privilege(r.in_flight_oid, 'select')
         and pg_catalog.has_table_privilege(r.in_flight_oid, 'insert')
         and pg_catalog.has_table_privilege(r.in_flight_oid, 'delete') end as may_work
  from (select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid as event_oid,
               pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.in_flight')::oid as in_flight_oid) r
