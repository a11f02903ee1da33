-- Tenants whose events were in flight when a relay or PostgreSQL went down, and how often in a row. From
-- three times on such a tenant is sent by itself, so that an event that brings relays down takes nobody
-- with it. A row goes away with the next outcome; outages are taken back.
create table :"schema".crash (
  tenant_id text collate "C" primary key,
  crashes   integer not null,
  tried_at  timestamptz not null default pg_catalog.clock_timestamp(),
  constraint crash_is_counted check (crashes > 0)
);
