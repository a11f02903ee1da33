//! The statements of [`super::retention`], with their parameter types; parsed at each call, as those of
//! operators: batches are rare, and a pooler in transaction mode takes them too.

use super::statement::{StatementText, statement};

/// How a batch behaves; several commands, so it goes by the simple protocol.
pub(super) const SETTINGS: &str = include_str!("sql/retention_settings.sql");

pub(super) const INSPECT: StatementText =
    statement!("retention_inspect", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY]);
pub(super) const TURN: StatementText = statement!("retention_turn", []);
pub(super) const FIND_OLD: StatementText =
    statement!("find_old", [INT8, INT8, INT8, INT8, TEXT_ARRAY, TEXT, TEXT, TEXT, BOOL, INT8]);
pub(super) const FIND_ARCHIVED: StatementText =
    statement!("find_archived", [INT8, INT8, INT8, INT8, TEXT_ARRAY, TEXT, TEXT, TEXT, BOOL]);
pub(super) const PRUNE_ROWS: StatementText = statement!("prune_rows", [INT8_ARRAY, INT8]);
pub(super) const PRUNE_ROWS_INTO_ARCHIVE: StatementText =
    statement!("prune_rows_into_archive", [INT8_ARRAY, INT8]);
pub(super) const ARCHIVE_LINES: StatementText =
    statement!("archive_lines", [INT8_ARRAY, INT8, INT8]);
pub(super) const SCRUB_ROWS: StatementText =
    statement!("scrub_rows", [INT8_ARRAY, INT8, TEXT_ARRAY, TEXT, TEXT, TEXT]);
pub(super) const SCRUB_ARCHIVED: StatementText =
    statement!("scrub_archived", [INT8_ARRAY, INT8, TEXT_ARRAY, TEXT, TEXT, TEXT]);

/// All of them.
pub static ALL: [StatementText; 9] = [
    INSPECT,
    TURN,
    FIND_OLD,
    FIND_ARCHIVED,
    PRUNE_ROWS,
    PRUNE_ROWS_INTO_ARCHIVE,
    ARCHIVE_LINES,
    SCRUB_ROWS,
    SCRUB_ARCHIVED,
];
