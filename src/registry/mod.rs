//! The registry of event types: what may be in an event's payload, by JSON Schema 2020-12, one file an
//! event type. No network: a schema refers to nothing outside its file.
//!
//! Reading order: [`problem`] (what is wrong with an event), [`keywords`] (which words a schema may use),
//! [`schema_file`] (reading a directory), [`event_types`] (the registry), [`realtime_event`] (from JSON to a
//! typed event), [`validation`] (off, warn or reject), [`documents`] (events in a stream), [`shape`] (a schema as
//! programming languages see it), [`typescript`], [`zod`] and [`rust_types`] (which write it), [`compatibility`] (what a
//! change of a schema breaks).

pub mod documents;
pub mod event_types;
pub mod keywords;
pub mod problem;
pub mod realtime_event;
pub mod schema_file;
pub mod validation;
