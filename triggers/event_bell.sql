-- Rings the relays when events have been inserted. One function, so that how the bell rings can change
-- without touching the trigger. Statement-level and without payload: identical notifications of one
-- transaction are folded into one, and a payload (at most 8,000 bytes) would only repeat the row.
-- No SET clause: it costs every writer 20 % (measured 0.72 against 0.90 of the speed without trigger).
create or replace function :"schema".ring_bell() returns trigger
language plpgsql
as $$
begin
  perform pg_catalog.pg_notify(:'schema', '');
  return null;
end
$$;

create or replace trigger event_bell
  after insert on :"schema".event
  for each statement execute function :"schema".ring_bell();
