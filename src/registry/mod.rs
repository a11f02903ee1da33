//! The registry of event types: what may be in an event's payload, by JSON Schema 2020-12, one file an
//! event type. No network: a schema refers to nothing outside its file.
//!
//! Reading order: [`problem`] (what is wrong with an event), `keywords` (which words a schema may use),
//! `schema_file` (reading a directory), [`event_types`] (the registry), [`realtime_event`] (from JSON to a
//! typed event), [`validation`] (off, warn or reject), [`documents`] (events in a stream), [`types`] (types in other
//! languages, of which `shape` is the common part), [`compatibility`] (what a change of a schema breaks).

pub mod compatibility;
pub mod documents;
pub mod event_types;
mod json_schema;
mod keywords;
pub mod problem;
pub mod realtime_event;
mod rust_types;
mod schema_file;
mod shape;
pub mod types;
mod typescript;
pub mod validation;
mod zod;

pub use schema_file::SchemaError;
