-- What became of an event that was copied from an adopted table is written back there, in the transaction
-- that settles it. In two parts: the first notes which events have changed (its condition is in the trigger, so
-- that other events cost nothing), the second writes all of them at the end of the statement. One by
-- one would need a subtransaction each, and 65 of them in a transaction slow every other session down.
-- Nothing that goes wrong in an adopted table may stop a relay: what fails there is kept as owed.
create or replace function :"schema".note_settled() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into :"schema".adopted_owed (seq, adopted)
  select new.seq, a.key from :"schema".adopted a where a.key = new.adopted_from
      on conflict (seq) do update set attempts = 0, error = null;
  return null;
end
$$;

create or replace trigger event_adopted_settled
  after update of status on :"schema".event
  for each row
  when (new.adopted_from is not null and old.status is distinct from new.status)
  execute function :"schema".note_settled();

-- Rows that somebody has locked are passed over, and tried again at the end of the next statement.
-- What was refused ten times is left alone until `outbox-relay adopt --write-back`.
create or replace function :"schema".write_back() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  adoption record;
  owed     record;
  busy     text[];
  call     text;
begin
  if not exists (select from :"schema".adopted_owed o where o.attempts < 10) then
    return null;
  end if;
  for adoption in select a.key from :"schema".adopted a loop
    call := format('select %I.%I($1, $2, $3, $4)', :'schema', 'adopted_' || adoption.key || '_write_back');
    with locked as (
      select o.seq from :"schema".adopted_owed o
       where o.adopted = adoption.key and o.attempts < 10
       order by o.seq desc
       limit 10000
         for update skip locked
    )
    select array_agg(e.seq) as seqs, array_agg(e.id::text) as ids, array_agg(e.status::text) as statuses,
           array_agg(e.error::text) as errors, array_agg(e.published_at) as times
      into owed
      from locked l join :"schema".event e on e.seq = l.seq;
    continue when owed.seqs is null;
    begin
      execute call into busy using owed.ids, owed.statuses, owed.errors, owed.times;
      delete from :"schema".adopted_owed o
       where o.seq = any (array(select s.seq from unnest(owed.seqs, owed.ids) as s(seq, id) where s.id <> all (busy)));
    exception
      when lock_not_available then
        null;
      when others then
        for i in 1 .. cardinality(owed.seqs) loop
          begin
            execute call into busy
              using owed.ids[i : i], owed.statuses[i : i], owed.errors[i : i], owed.times[i : i];
            if cardinality(busy) = 0 then
              delete from :"schema".adopted_owed o where o.seq = owed.seqs[i];
            end if;
          exception
            when lock_not_available then
              exit;
            when others then
              update :"schema".adopted_owed o set attempts = o.attempts + 1, error = sqlerrm
               where o.seq = owed.seqs[i];
          end;
        end loop;
    end;
  end loop;
  return null;
end
$$;

create or replace trigger event_write_back
  after update on :"schema".event
  for each statement execute function :"schema".write_back();
