//! Every statement of the drain, with its parameter types. One file each in `sql/`; a test PREPAREs
//! all of them against a real server.

use tokio_postgres::types::Type;

use super::schema_name::SchemaName;

/// A statement's identity: index into [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    LockTenants,
    ReadRuns,
    ReadOversize,
    RecordGroups,
    LockRows,
    LockLone,
    DrainSettings,
    PublishRows,
    FailRows,
    CountAttempts,
    ForgetGroups,
    AbandonGroups,
    HoldTenants,
    BlockTenants,
    ReleaseTenants,
    MarkServerStart,
    Backlog,
    Notify,
    CountCrashes,
    UncountCrashes,
    ForgetCrashes,
    LockSuspect,
    RaiseFlag,
    ReadFlag,
    ReadWriters,
    IssuedPositions,
    LowestPending,
    NextPending,
    PendingBelow,
    LockTracedRows,
    ClaimLone,
}

/// What is known of a statement before it is prepared.
#[derive(Debug)]
pub struct StatementText {
    /// Name of its file without the ending.
    pub name: &'static str,
    /// SQL with the schema's name left open.
    pub template: &'static str,
    /// Parameter types, stated so that no round trip has to ask for them.
    pub parameters: &'static [Type],
}

macro_rules! statement {
    ($name:literal, [$($parameter:ident),*]) => {
        $crate::store::statement::StatementText {
            name: $name,
            template: include_str!(concat!("sql/", $name, ".sql")),
            parameters: &[$(tokio_postgres::types::Type::$parameter),*],
        }
    };
}

pub(super) use statement;

/// All statements, in the order of `Statement`.
pub static ALL: [StatementText; 31] = [
    statement!("lock_tenants", [TEXT, INT8, TEXT_ARRAY, INT8, INT8]),
    statement!("read_runs", [TEXT_ARRAY, INT8, INT8, INT8, BOOL]),
    statement!("read_oversize", [INT8_ARRAY, INT8]),
    statement!("record_groups", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, INT4]),
    statement!("lock_rows", [INT8_ARRAY]),
    statement!("lock_lone", [INT8]),
    statement!("drain_settings", []),
    statement!("publish_rows", [INT8_ARRAY]),
    statement!("fail_rows", [INT8_ARRAY, TEXT_ARRAY]),
    statement!("count_attempts", [INT8_ARRAY, TEXT_ARRAY]),
    statement!("forget_groups", [TEXT_ARRAY]),
    statement!("abandon_groups", [TEXT_ARRAY]),
    statement!("hold_tenants", [TEXT_ARRAY, INT8_ARRAY, TEXT_ARRAY, TEXT_ARRAY]),
    statement!("block_tenants", [INT8_ARRAY]),
    statement!("release_tenants", [TEXT_ARRAY]),
    statement!("mark_server_start", []),
    statement!("backlog", [INT8]),
    statement!("notify", [TEXT, TEXT]),
    statement!("count_crashes", [TEXT_ARRAY]),
    statement!("uncount_crashes", [TEXT_ARRAY]),
    statement!("forget_crashes", [TEXT_ARRAY]),
    statement!("lock_suspect", [INT8]),
    statement!("raise_flag", [INT8]),
    statement!("read_flag", [INT8]),
    statement!("read_writers", [TEXT_ARRAY]),
    statement!("issued_positions", []),
    statement!("lowest_pending", [INT8]),
    statement!("next_pending", [INT8, INT8]),
    statement!("pending_below", [INT8]),
    statement!("lock_traced_rows", [INT8_ARRAY]),
    statement!("claim_lone", [TEXT_ARRAY, INT8]),
];

impl Statement {
    pub(super) fn text(self) -> &'static StatementText {
        // The enum has no explicit discriminants and ALL has one entry for each; a test holds them together.
        &ALL[self as usize]
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// Opens the drain transaction, by the simple protocol: prepared, it would be described at each call.
pub(super) const BEGIN: &str = include_str!("sql/begin.sql");

/// Asked once a connection, before anything is prepared.
const INSPECT: &str = include_str!("sql/inspect.sql");

pub(super) fn inspect(schema: &SchemaName) -> String {
    schema.fill(INSPECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_has_its_own_text() {
        for (statement, name) in [
            (Statement::LockTenants, "lock_tenants"),
            (Statement::ReadRuns, "read_runs"),
            (Statement::ReadOversize, "read_oversize"),
            (Statement::RecordGroups, "record_groups"),
            (Statement::LockRows, "lock_rows"),
            (Statement::LockLone, "lock_lone"),
            (Statement::DrainSettings, "drain_settings"),
            (Statement::PublishRows, "publish_rows"),
            (Statement::FailRows, "fail_rows"),
            (Statement::CountAttempts, "count_attempts"),
            (Statement::ForgetGroups, "forget_groups"),
            (Statement::AbandonGroups, "abandon_groups"),
            (Statement::HoldTenants, "hold_tenants"),
            (Statement::BlockTenants, "block_tenants"),
            (Statement::ReleaseTenants, "release_tenants"),
            (Statement::MarkServerStart, "mark_server_start"),
            (Statement::Backlog, "backlog"),
            (Statement::Notify, "notify"),
            (Statement::CountCrashes, "count_crashes"),
            (Statement::UncountCrashes, "uncount_crashes"),
            (Statement::ForgetCrashes, "forget_crashes"),
            (Statement::LockSuspect, "lock_suspect"),
            (Statement::RaiseFlag, "raise_flag"),
            (Statement::ReadFlag, "read_flag"),
            (Statement::ReadWriters, "read_writers"),
            (Statement::IssuedPositions, "issued_positions"),
            (Statement::LowestPending, "lowest_pending"),
            (Statement::NextPending, "next_pending"),
            (Statement::PendingBelow, "pending_below"),
            (Statement::LockTracedRows, "lock_traced_rows"),
            (Statement::ClaimLone, "claim_lone"),
        ] {
            assert_eq!(statement.text().name, name);
        }
    }
}
