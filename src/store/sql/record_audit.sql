-- Notes a decision in the transaction that carries it out: $1 actor, $2 action, $3 operation, $4 tenant,
-- $5 positions, $6 count, $7 filter as JSON text, $8 reason.
insert into :"schema".audit (actor, action, operation, tenant_id, seqs, count, filter, reason)
values ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)
