-- Before `dev` uses a database: is there an outbox, and does another relay work here?
select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event') is not null as outbox_exists,
       exists (select from pg_catalog.pg_stat_activity a
                where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
                  and (a.application_name = 'outbox-relay' or a.application_name like 'outbox-relay %')) as relay_exists
