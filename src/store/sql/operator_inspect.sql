-- Where an operator's commands run: the outbox's table, the role, and the server's clock in ms.
select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event')::oid::bigint as event_oid,
       session_user::text as role,
       (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint as now_ms
