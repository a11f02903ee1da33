-- An outbox that is partitioned by position (seq). Positions follow time, and seq is what everything else refers to: the
-- primary key, the claim's index and foreign keys stay as they are, which a partition key of created_at would not allow.
-- All do nothing as long as table partitioning has no row.

-- The partitions in order, each from a position on and below another; the default one has neither.
create or replace function :"schema".partitions(out name text, out from_seq bigint, out below_seq bigint) returns setof record
language sql stable
as $$
  select c.relname::text,
         case when b.bound = 'DEFAULT' then null when b.bound ~* 'from \(minvalue\)' then -9223372036854775808
              else pg_catalog.substring(b.bound, $re$(?i)from \('?(-?\d+)$re$)::bigint end,
         pg_catalog.substring(b.bound, $re$TO \('?(-?\d+)$re$)::bigint
    from pg_catalog.pg_class p
    join pg_catalog.pg_namespace n on n.oid = p.relnamespace
    join pg_catalog.pg_inherits i on i.inhparent = p.oid
    join pg_catalog.pg_class c on c.oid = i.inhrelid
   cross join lateral (select pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound) b
   where n.nspname = :'schema' and p.relname = 'event' and p.relkind = 'p'
   order by 2 nulls last
$$;

-- Makes one partition for the positions from $1 on and below $2, as the default one is. Made beside the table and then
-- attached: that waits for no writer, while `create table ... partition of` would have to wait for all of them.
create or replace function :"schema".add_partition(from_seq bigint, below_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  leaf    constant text := format('%I.%I', :'schema', 'event_p' || from_seq);
  options text := (select array_to_string(c.reloptions, ', ') from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = :'schema' and c.relname = 'event_default');
begin
  execute format('create table %s (like %I.event including all excluding identity)%s', leaf, :'schema', ' with (' || options || ')');
  execute format('alter table %s add constraint %I unique (id)', leaf, 'event_p' || from_seq || '_id_key');
  execute format('alter table %I.event attach partition %s for values from (%s) to (%s)', :'schema', leaf, from_seq, below_seq);
end
$$;
revoke all on function :"schema".add_partition(bigint, bigint) from public;

-- Sees to it that two partitions wait ahead of the last position given out, and returns how many it has made: null when the
-- outbox is not partitioned, -1 when claims were at work with the default partition for too long: try again. Two, so that no INSERT that is under way can meet the bound of one that is being made. When nobody
-- has called it for long, events are in the default partition, and the new ones begin well behind these.
-- Waits at most half a second for a lock, and only claims wait behind it: writers do not touch the default partition.
create or replace function :"schema".make_partitions() returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
declare
  plan    record;
  last    bigint;
  ahead   integer;
  made    integer := 0;
  newest  record;
  current record;
  began   timestamptz;
  elapsed double precision;
  size    bigint;
  start   bigint;
begin
  select p.every, p.rows into plan from :"schema".partitioning p;
  if not found then
    return null;
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended('outbox-relay partitions ' || :'schema', 0)) then
    return 0;
  end if;
  last := coalesce(pg_sequence_last_value((quote_ident(:'schema') || '.event_seq_seq')::regclass), 0);
  select count(*) filter (where p.from_seq > last) into ahead from :"schema".partitions() p;
  select p.* into newest from :"schema".partitions() p where p.below_seq is not null order by p.from_seq desc limit 1;
  size := case when newest.from_seq > -9223372036854775808 then newest.below_seq - newest.from_seq else plan.rows end;
  -- As many as the current one would have in its time, at the pace that it has had so far.
  select p.* into current from :"schema".partitions() p where last >= p.from_seq and last < p.below_seq;
  select e.created_at, e.seq into began, start from :"schema".event e
   where e.seq >= current.from_seq and e.seq <= last order by e.seq limit 1;
  elapsed := date_part('epoch', clock_timestamp() - began) / date_part('epoch', plan.every);
  if elapsed >= 0.125 then
    size := least(greatest((last - start + 1) / elapsed, plan.rows / 10, 1), plan.rows * 1000.0)::bigint;
  end if;
  while ahead < 2 loop
    start := coalesce(newest.below_seq, 1);
    if start <= last then
      start := last + 1 + greatest(size / 10, 1000);
    end if;
    perform :"schema".add_partition(start, start + size);
    select start as from_seq, start + size as below_seq into newest;
    ahead := ahead + 1;
    made := made + 1;
  end loop;
  return made;
exception
  when lock_not_available then
    return -1;
end
$$;
revoke all on function :"schema".make_partitions() from public;

-- Drops the first partition that holds nothing but events that were published more than $1 milliseconds ago, with $2 only one that is
-- empty. Returns its name; null when there is none, and `busy` when others were at work with the table for longer than a
-- fifth of a second: try again. Rows are to be deleted singly only below `walk_below`: what lies behind will go with its partition.
-- Whether anything is unpublished is asked again under the lock, where no writer is left: a pending or failed event
-- is never dropped, nor one whose outcome is still owed to an adopted table.
create or replace function :"schema".drop_partition(age_ms bigint, only_empty boolean,
  out dropped text, out busy boolean, out walk_below bigint)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
set enable_seqscan = off
as $$
declare
  plan     record;
  cutoff   constant timestamptz := clock_timestamp() - age_ms * interval '1 millisecond';
  last     bigint;
  p        record;
  leaf     text;
  first_at timestamptz;
  is_old   boolean;
  keeps    boolean;
begin
  busy := false;
  walk_below := 9223372036854775807;
  select g.every into plan from :"schema".partitioning g;
  if not found then
    return;
  end if;
  last := coalesce(pg_sequence_last_value((quote_ident(:'schema') || '.event_seq_seq')::regclass), 0);
  for p in select * from :"schema".partitions() where below_seq is not null and from_seq <= last loop
    leaf := format('%I.%I', :'schema', p.name);
    execute format('select (select e.created_at from %1$s e order by e.seq limit 1),
                           not exists (select from (select e.created_at, e.published_at from %1$s e order by e.seq desc limit 100) n
                                        where n.created_at >= $1 or n.published_at >= $1)', leaf)
       into first_at, is_old using cutoff;
    keeps := not is_old or p.below_seq > last + 1;
    if not keeps then
      -- In the order of what is cheap to find.
      execute format($q$select exists (select from %1$s e where e.status = 'failed') or exists (select from %1$s e where e.status = 'pending')
                            or exists (select from %1$s e where $2 or e.status <> 'published' or e.published_at >= $1)$q$, leaf)
         into keeps using cutoff, only_empty;
    end if;
    if not keeps then
      begin
        execute format('lock table only %I.event in access exclusive mode', :'schema');
        execute format('lock table %s in access exclusive mode', leaf);
        execute format($q$select exists (select from %1$s e where e.status = 'failed') or exists (select from %1$s e where e.status = 'pending')
                              or exists (select from %1$s e where $1)
                              or exists (select from :"schema".adopted_owed o where o.seq >= $2 and o.seq < $3)$q$, leaf)
           into keeps using only_empty, p.from_seq, p.below_seq;
        if not keeps then
          delete from :"schema".redelivery r where r.seq >= p.from_seq and r.seq < p.below_seq;
          delete from :"schema".event_id i where i.seq >= p.from_seq and i.seq < p.below_seq;
          execute format('alter table %I.event detach partition %s', :'schema', leaf);
          execute format('drop table %s', leaf);
          dropped := p.name;
          return;
        end if;
      exception
        when lock_not_available then
          busy := true;
          walk_below := p.from_seq;
          return;
      end;
    end if;
    -- What keeps it from being dropped may stay for ever, or so few events come that it lasts for long: then its rows go singly.
    continue when first_at is null or (is_old and p.below_seq <= last + 1) or first_at < cutoff - plan.every;
    walk_below := p.from_seq;
    return;
  end loop;
end
$$;
revoke all on function :"schema".drop_partition(bigint, boolean) from public;

-- An event without an id gets one here and not by the column's default, so that ids which the application has given are known.
create or replace function :"schema".give_id() returns trigger
language plpgsql
as $$
begin
  new.id := :"schema".uuid_v7()::text;
  return new;
end
$$;

-- The unique index of event_id refuses what another transaction has, also one that is not over; the second question is for
-- ids that were not given, which only who has read them can repeat.
create or replace function :"schema".claim_id() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into :"schema".event_id (id, seq) values (new.id, new.seq);
  if exists (select from :"schema".event e where e.id = new.id) then
    raise unique_violation using message = 'duplicate key value violates the uniqueness of event.id',
      detail = format('Key (id)=(%s) already exists.', new.id);
  end if;
  return new;
end
$$;

create or replace function :"schema".free_ids() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from :"schema".event_id;
  else
    delete from :"schema".event_id i using gone g where i.seq = g.seq;
  end if;
  return null;
end
$$;

-- Makes the outbox a partitioned one, in place: the table that is there becomes the first partition, with all its rows. Takes
-- the table for as long as it takes to read it once, to see that all positions are in bounds.
create or replace function :"schema".partition_event(every interval, rows bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  last     bigint;
  bound    bigint;
  triggers text[];
  disabled text[];
  acl      record;
  item     record;
  options  text;
begin
  if exists (select from :"schema".partitioning) then
    raise exception 'the outbox is partitioned already'
      using errcode = 'duplicate_object', hint = format('Change table %I.partitioning to have other partitions from now on.', :'schema');
  end if;
  insert into :"schema".partitioning (every, rows) values (partition_event.every, partition_event.rows);
  execute format('lock table %I.event in access exclusive mode', :'schema');
  last := coalesce(pg_sequence_last_value((quote_ident(:'schema') || '.event_seq_seq')::regclass), 0);
  select greatest(last, coalesce(max(e.seq), 0)) into last from :"schema".event e;
  bound := last + 1 + partition_event.rows / 10;
  select c.relowner, c.relacl, array_to_string(c.reloptions, ', ') as options,
         (select s.relacl from pg_class s where s.oid = (quote_ident(:'schema') || '.event_seq_seq')::regclass) as sequence_acl
    into acl from pg_class c where c.oid = (quote_ident(:'schema') || '.event')::regclass;
  options := acl.options;
  select array_agg(pg_get_triggerdef(t.oid) order by t.tgname), array_agg(t.tgname::text) filter (where t.tgenabled = 'D')
    into triggers, disabled from pg_trigger t
   where t.tgrelid = (quote_ident(:'schema') || '.event')::regclass and not t.tgisinternal;
  for item in select t.tgname from pg_trigger t
               where t.tgrelid = (quote_ident(:'schema') || '.event')::regclass and not t.tgisinternal loop
    execute format('drop trigger %I on %I.event', item.tgname, :'schema');
  end loop;
  alter table :"schema".redelivery drop constraint redelivery_seq_fkey;
  alter table :"schema".adopted_owed drop constraint adopted_owed_seq_fkey;

  execute format('alter table %I.event rename to event_before', :'schema');
  for item in select c.relname from pg_index x join pg_class c on c.oid = x.indexrelid
               where x.indrelid = (quote_ident(:'schema') || '.event_before')::regclass loop
    execute format('alter index %I.%I rename to %I', :'schema', item.relname, 'event_before' || substr(item.relname, 6));
  end loop;
  execute format('alter table %I.event_before alter seq drop identity', :'schema');
  execute format('create table %1$I.event (like %1$I.event_before including all excluding indexes) partition by range (seq)', :'schema');
  execute format('alter table %1$I.event alter id drop default, alter seq add generated always as identity (sequence name %1$I.event_seq_seq)', :'schema');
  execute format('create table %1$I.event_default (like %1$I.event_before including all)%2$s', :'schema', ' with (' || options || ')');
  if last > 0 then
    perform setval((quote_ident(:'schema') || '.event_seq_seq')::regclass, last);
  end if;
  execute format('alter table %I.event add constraint event_pkey primary key (seq)', :'schema');
  for item in select pg_get_indexdef(x.indexrelid) as definition, substr(c.relname, 13) as name
                from pg_index x join pg_class c on c.oid = x.indexrelid
               where x.indrelid = (quote_ident(:'schema') || '.event_before')::regclass and not x.indisunique loop
    execute regexp_replace(item.definition, ' INDEX .* USING ', format(' INDEX %I ON %I.event USING ', 'event' || item.name, :'schema'));
  end loop;
  execute format('alter table %1$I.event attach partition %1$I.event_before for values from (minvalue) to (%2$s)', :'schema', bound);
  execute format('alter table %1$I.event attach partition %1$I.event_default default', :'schema');
  execute format('alter table %1$I.redelivery add foreign key (seq) references %1$I.event (seq) on delete cascade', :'schema');
  execute format('alter table %1$I.adopted_owed add foreign key (seq) references %1$I.event (seq) on delete cascade', :'schema');

  -- Whose it is, and who may do what.
  execute format('alter table %I.event owner to %I', :'schema', pg_get_userbyid(acl.relowner));
  for item in
    select a.privilege_type || coalesce(' (' || quote_ident(a.attname) || ')', '') as privilege, a.kind, a.grantee, a.is_grantable
      from (select x.*, null::name as attname, 'event' as kind from aclexplode(acl.relacl) x
            union all
            select x.*, t.attname, 'event' from pg_attribute t cross join lateral aclexplode(t.attacl) x
             where t.attrelid = (quote_ident(:'schema') || '.event_before')::regclass
            union all
            select x.*, null, 'event_seq_seq' from aclexplode(acl.sequence_acl) x) a
     where a.grantee <> acl.relowner
  loop
    execute format('grant %s on %s %I.%I to %s%s', item.privilege, case item.kind when 'event' then 'table' else 'sequence' end,
                   :'schema', item.kind, case item.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(item.grantee)) end,
                   case when item.is_grantable then ' with grant option' else '' end);
  end loop;
  for item in select unnest(triggers) as definition loop
    execute item.definition;
  end loop;
  for item in select unnest(disabled) as name loop
    execute format('alter table %I.event disable trigger %I', :'schema', item.name);
  end loop;
  execute format('create trigger event_id_missing before insert on %1$I.event for each row when (new.id is null) execute function %1$I.give_id()', :'schema');
  execute format('create trigger event_id_given before insert on %1$I.event for each row when (new.id is not null) execute function %1$I.claim_id()', :'schema');
  execute format('create trigger event_ids_free after delete on %1$I.event referencing old table as gone for each statement execute function %1$I.free_ids()', :'schema');
  execute format('create trigger event_ids_gone after truncate on %1$I.event for each statement execute function %1$I.free_ids()', :'schema');
  perform :"schema".make_partitions();
end
$$;
revoke all on function :"schema".partition_event(interval, bigint) from public;
