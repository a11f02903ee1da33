//! What `dev` and the tests stand on: a PostgreSQL of their own, started on the spot.
//!
//! Reading order: [`postgres`] (the cluster), then what it is made of: the directory it lives in, the
//! user it runs as, the guard that ends it with us, and where its binaries come from.

pub mod postgres;
mod postgres_directory;
mod postgres_error;
pub mod postgres_find;
mod postgres_guard;
mod postgres_npm;
mod privileges;
