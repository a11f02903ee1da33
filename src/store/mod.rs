//! PostgreSQL. Nobody else names `tokio_postgres`.
//!
//! Reading order: [`session`] (a checked connection), [`claim`] (the drain transaction), `oversize` and [`payload`] (what no message can hold), [`statement`] (its
//! SQL, one file each), [`listen`] (notifications), [`bell`] (when there need be none), [`producer`] (events written by an
//! application, over other drivers `producer_sqlx` and `producer_diesel`), [`application`] (the same with what became of them, for `dev`),
//! [`operator`], [`stored_event`], [`decide`] and [`mod@pause`] (what operators see and do), [`observe`] (metrics), [`stats`] (`stats` and `top`), [`search`] (dashboards), [`diagnose`] (`doctor`), [`retention`] (old events), [`partitions`] (where the outbox has them),
//! [`migrate`] (the schema), [`schema_name`], [`error`]; beneath them [`dsn`] (connection strings), [`connect`], [`driver`] and `tls`.

pub mod adopt;
pub mod application;
pub mod bell;
pub mod capture;
pub mod claim;
pub mod connect;
pub mod connect_error;
pub mod decide;
pub mod diagnose;
pub mod driver;
pub mod dsn;
pub mod error;
pub mod floor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod grants;
pub mod listen;
pub mod migrate;
pub mod migration_files;
pub mod observe;
pub mod operator;
pub mod operator_statement;
mod oversize;
pub mod partitions;
pub mod pause;
pub mod payload;
pub mod producer;
#[cfg(feature = "diesel-async")]
pub mod producer_diesel;
#[cfg(feature = "sqlx")]
pub mod producer_sqlx;
pub mod relation;
pub mod retention;
pub mod retention_statement;
pub mod schema_name;
pub mod search;
pub mod session;
pub mod settle;
pub mod statement;
pub mod stats;
pub mod stored_event;
mod template;
mod tls;
mod traces;
