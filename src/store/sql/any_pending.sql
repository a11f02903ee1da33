-- Whether anything waits to be published. Index: event_pending.
select exists (select from :"schema".event where status = 'pending')
