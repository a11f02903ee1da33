-- Drops one partition that holds only what was published more than $1 milliseconds ago, or nothing at all when $2
-- (triggers/partitions.sql).
select d.dropped, d.busy, d.walk_below from :"schema".drop_partition($1, $2) d
