//! Waking, claiming, publishing, settling.
//!
//! Reading order: [`wake`] (when), `drain` (what one batch does), [`plan`] (which events go together)
//! and [`outcome`] (what an answer means), both pure, `inspection` (payloads and their schemas), `appetite` (how much the next one claims), `requests` and `fan_out` (how they travel), `listener` (how the bell
//! is heard), `flag_work` (when it need not ring), `floor` and `floor_work` (where claims may begin), `way_back` (how an interruption ends without an event), [`service`] and `coordinator` (all of it running); beside them `telling` (lines about single events), [`housekeeping`] and [`archive_file`] (old
//! events), [`retention`] (the same on a schedule), [`partitions`] (which go as a whole), [`metrics`], [`health`], [`tally`], [`history`], [`recent`] and [`monitor`] (a relay from outside), [`payloads`] (what no message can hold), [`adjust`] (what changes while it runs).

pub mod adjust;
mod appetite;
pub mod archive_file;
mod asked;
mod coordinator;
mod database_state;
mod drain;
mod fan_out;
mod fault_point;
mod flag_work;
mod floor;
mod floor_work;
pub mod health;
pub mod history;
pub mod housekeeping;
mod inspection;
mod listener;
pub mod metrics;
pub mod monitor;
mod news;
pub mod outcome;
mod pace;
pub mod partitions;
pub mod payloads;
pub mod plan;
mod publisher_state;
pub mod recent;
mod requests;
pub mod retention;
mod row_locks;
pub mod service;
mod side_session;
mod suspects;
pub mod tally;
mod telling;
mod traces;
pub mod wake;
mod way_back;
