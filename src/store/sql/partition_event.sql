-- Makes the outbox a partitioned one: $1 seconds a partition, $2 positions of the first ones (triggers/partitions.sql).
select :"schema".partition_event($1 * interval '1 second', $2)
