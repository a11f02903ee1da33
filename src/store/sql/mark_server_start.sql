-- Notes the first connection after a crash or a promotion; see server_start in the first migration.
insert into :"schema".server_start default values on conflict do nothing
