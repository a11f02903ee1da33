//! What `dev` and the tests stand on: a PostgreSQL of their own, sample traffic, and a subscriber.
//!
//! Reading order: [`postgres`] (the cluster), then what it is made of: the directory it lives in, the
//! user it runs as, the guard that ends it with us, and where its binaries come from. Then the sample
//! traffic: [`kitchen`] (what happens), [`producer`] (how it gets into the outbox), [`subscriber`] (how
//! it arrives), [`report`] (what that says), [`banner`] and [`wording`] (how a person is told).

pub mod banner;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod kitchen;
mod latency;
pub mod postgres;
mod postgres_directory;
mod postgres_error;
pub mod postgres_find;
mod postgres_guard;
mod postgres_npm;
mod privileges;
pub mod producer;
pub mod report;
mod sse;
pub mod subscriber;
pub mod wording;
