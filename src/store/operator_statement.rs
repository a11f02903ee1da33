//! The statements of operators' commands. They are parsed at each call, with the values at hand: what a
//! filter leaves open then costs nothing, and they work through any pooler.

use super::statement::{StatementText, statement};

pub(super) const INSPECT: StatementText = statement!("operator_inspect", []);
pub(super) const NEWEST_FAILED: StatementText =
    statement!("newest_failed", [TEXT, TEXT, TEXT, INT8, BOOL, INT8]);
pub(super) const NEXT_FAILED: StatementText =
    statement!("next_failed", [TEXT, TEXT, TEXT, INT8, BOOL, INT8, INT8, INT8]);
pub(super) const COUNT_FAILED: StatementText =
    statement!("count_failed", [TEXT, TEXT, TEXT, INT8, BOOL, INT8]);
pub(super) const FIRST_PENDING: StatementText =
    statement!("first_pending", [TEXT, TEXT, TEXT, INT8, INT8]);
pub(super) const NEWEST_PUBLISHED: StatementText =
    statement!("newest_published", [TEXT, TEXT, TEXT, INT8, INT8, INT8]);
pub(super) const READ_EVENTS: StatementText = statement!("read_events", [INT8_ARRAY]);
pub(super) const READ_EVENTS_WHOLE: StatementText = statement!("read_events_whole", [INT8_ARRAY]);
pub(super) const FIND_EVENTS: StatementText = statement!("find_events", [TEXT_ARRAY, INT8_ARRAY]);
pub(super) const LOCK_TENANT: StatementText = statement!("lock_tenant", [TEXT]);
pub(super) const REQUEUE_ROWS: StatementText = statement!("requeue_rows", [TEXT, INT8_ARRAY, BOOL]);
pub(super) const DISCARD_ROWS: StatementText =
    statement!("discard_rows", [TEXT, INT8_ARRAY, TEXT, TEXT]);
pub(super) const RELEASE_BLOCKED: StatementText = statement!("release_blocked", [TEXT]);
pub(super) const RECORD_AUDIT: StatementText =
    statement!("record_audit", [TEXT, TEXT, TEXT, TEXT, INT8_ARRAY, INT8, TEXT, TEXT]);
pub(super) const READ_AUDIT: StatementText = statement!("read_audit", [INT8, INT8]);
pub(super) const READ_HOLDS: StatementText = statement!("read_holds", [TEXT, TEXT, INT8, INT8]);
pub(super) const RELEASE_HOLD: StatementText = statement!("release_hold", [TEXT]);
pub(super) const PAUSE: StatementText = statement!("pause", [TEXT, TEXT, INT8, TEXT, TEXT]);
pub(super) const RESUME: StatementText = statement!("resume", [TEXT, TEXT]);
pub(super) const READ_PAUSES: StatementText = statement!("read_pauses", [INT8]);
pub(super) const RING: StatementText = statement!("notify", [TEXT, TEXT]);

pub(super) const NEXT_EVENTS: StatementText = statement!("next_events", [INT8, INT8]);
pub(super) const LAST_POSITION: StatementText = statement!("last_position", []);

/// All of them.
pub static ALL: [StatementText; 23] = [
    INSPECT,
    NEWEST_FAILED,
    NEXT_FAILED,
    COUNT_FAILED,
    FIRST_PENDING,
    NEWEST_PUBLISHED,
    READ_EVENTS,
    READ_EVENTS_WHOLE,
    FIND_EVENTS,
    LOCK_TENANT,
    REQUEUE_ROWS,
    DISCARD_ROWS,
    RELEASE_BLOCKED,
    RECORD_AUDIT,
    READ_AUDIT,
    READ_HOLDS,
    RELEASE_HOLD,
    PAUSE,
    RESUME,
    READ_PAUSES,
    RING,
    NEXT_EVENTS,
    LAST_POSITION,
];

/// For what is asked again and again.
pub(super) const LOOK_SETTINGS: &str = include_str!("sql/observer_settings.sql");

/// Opens every transaction of an operator.
pub(super) const SETTINGS: &str = include_str!("sql/operator_settings.sql");
