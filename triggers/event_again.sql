-- Tells the relays that an event waits again which had failed: its position may lie below the floor from which they
-- claim (relay::floor), so they look everywhere. The payload says that it is no insert; relays that know nothing of
-- floors take it for the bell. The condition is in the trigger, so an ordinary update never calls the function.
create or replace function :"schema".ring_again() returns trigger
language plpgsql
as $$
begin
  perform pg_catalog.pg_notify(:'schema', 'again');
  return new;
end
$$;

create or replace trigger event_again
  before update of status on :"schema".event
  for each row
  when (old.status = 'failed' and new.status = 'pending')
  execute function :"schema".ring_again();
