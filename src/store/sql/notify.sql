-- The canary: a notification to our own listener ($1 channel, $2 payload), over another connection.
select pg_catalog.pg_notify($1, $2)
