-- Partitions made ahead of the last position; null when the outbox is not partitioned (triggers/partitions.sql).
select :"schema".make_partitions() as made
