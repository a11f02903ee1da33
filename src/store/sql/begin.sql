-- Opens the drain transaction; the settings follow in the same round trip (drain_settings.sql).
-- Isolation: each statement needs a snapshot of its own (read_runs), whatever the database's default is.
begin isolation level read committed
