-- A published event stays published, whoever updates the row: publishing it twice would show at
-- every subscriber. The condition is in the trigger, so an ordinary update never calls the function.
create or replace function :"schema".refuse_unpublish() returns trigger
language plpgsql
as $$
begin
  raise exception 'event % is published and cannot become %', old.id, new.status
    using errcode = 'check_violation',
          hint = 'Insert a new event instead: subscribers have already seen this one.';
end
$$;

create or replace trigger event_guard
  before update of status on :"schema".event
  for each row
  when (old.status = 'published' and new.status is distinct from 'published')
  execute function :"schema".refuse_unpublish();
