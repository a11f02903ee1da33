-- How much is waiting: pending events counted up to $1, and how many tenants are on hold.
-- Index: event_pending (count), and the small hold table.
select (select pg_catalog.count(*) from (select from :"schema".event where status = 'pending' limit $1) p) as pending,
       (select pg_catalog.count(*) from :"schema".hold where until > pg_catalog.clock_timestamp()) as held_tenants
