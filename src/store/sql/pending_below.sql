-- Whether anything waits below position $1, where nothing should. Index: event_pending, every entry of it.
select exists (select from :"schema".event e where e.status = 'pending' and e.seq < $1) as found
