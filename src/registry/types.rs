//! Types of all events in another language, from the registry's schemas.

use super::event_types::Registry;
use super::shape::EventShape;
use super::{json_schema, rust_types, typescript, zod};

/// A language that types can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Types alone, for `strict`.
    TypeScript,
    /// Zod 4 schemas, which check at run time, and the types inferred from them.
    Zod,
    /// Structs and an enum for serde.
    Rust,
    /// One JSON Schema of the whole envelope.
    JsonSchema,
}

/// Writes the types of every event type whose module is in `modules`, or of all when it is empty. The same
/// registry always gives the same text.
pub fn generate(registry: &Registry, language: Language, modules: &[String]) -> String {
    let events = EventShape::all(registry, modules);
    match language {
        Language::TypeScript => typescript::write(&events),
        Language::Zod => zod::write(&events),
        Language::Rust => rust_types::write(&events),
        Language::JsonSchema => json_schema::write(&events),
    }
}
