//! What stands in for spans where they are not built: a tracer that nobody can have.

use std::convert::Infallible;
use std::time::Duration;

use super::{Request, TelemetryError};
use crate::domain::failure::PublishFailure;
use crate::domain::traceparent::TraceParent;

/// There is none.
#[derive(Debug)]
pub(super) struct Tracer(Infallible);

/// There is none.
#[derive(Debug)]
pub(super) struct Span(Infallible);

type Links<'l, 'a> = &'l mut dyn Iterator<Item = (TraceParent, &'a str)>;

impl Tracer {
    pub(super) fn start(_server: (&str, Option<u16>)) -> Result<Self, TelemetryError> {
        Err(TelemetryError::NotBuilt)
    }

    pub(super) fn publish(&self, _request: &Request<'_>, _traces: Links<'_, '_>) -> Span {
        match self.0 {}
    }

    pub(super) fn end(&self, _limit: Duration) -> std::future::Ready<()> {
        match self.0 {}
    }
}

impl Span {
    pub(super) fn end(self, _failures: &mut dyn Iterator<Item = &PublishFailure>) {
        match self.0 {}
    }
}
