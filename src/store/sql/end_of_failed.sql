-- Where search_failed stops looking: the position of the 20,000th failed event below $1; none when there are fewer. Index: event_failed.
select e.seq from :"schema".event e where e.status = 'failed' and e.seq < $1 order by e.seq desc offset 19999 limit 1
