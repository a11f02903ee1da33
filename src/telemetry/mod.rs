//! Spans of publishes, exported by OTLP over HTTP. Without the Cargo feature `otlp` there are none, and nothing of this costs
//! anything; with it they are off until an `OTEL_EXPORTER_OTLP_…ENDPOINT` says where they go. Nobody else names
//! `opentelemetry`.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "absent.rs"]
mod otlp;

use std::time::Duration;

use crate::domain::failure::PublishFailure;
use crate::domain::traceparent::TraceParent;

/// Most events that a span is linked to: OpenTelemetry's own default (`OTEL_SPAN_LINK_COUNT_LIMIT`), which may lower it.
/// A request can carry some 2,000 events.
pub const LINKS_MAX: usize = 128;

/// How long the end of a process waits for the last spans to be taken. A supervisor gives 30 s in all, of which the relay's
/// own grace is 20 s.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// Why there are no spans although somebody asked for them. The relay works without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// This program was built without them.
    #[error("this program was built without the feature `otlp`; build it with `--features otlp`")]
    NotBuilt,
    /// The settings cannot be followed.
    #[error("{0}; see docs/tracing.md for the variables")]
    Setting(String),
}

/// What a request carries.
#[derive(Debug)]
pub struct Request<'a> {
    /// Channels in it.
    pub channels: usize,
    /// The channel, when there is one.
    pub channel: Option<&'a str>,
    /// Events in it.
    pub events: usize,
    /// The message's id, when there is one.
    pub message_id: Option<&'a str>,
    /// Bytes of its body.
    pub bytes: usize,
}

/// Where spans go. Shared by reference; off by default.
#[derive(Debug, Default)]
pub struct Telemetry {
    tracer: Option<otlp::Tracer>,
}

/// The span of a request that is out.
#[derive(Debug)]
pub struct PublishSpan(otlp::Span);

/// Whether these variables ask for spans, as OpenTelemetry defines them.
pub fn wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let is =
        |name: &str, what: &str| set(name).is_some_and(|value| value.eq_ignore_ascii_case(what));
    let endpoint =
        set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    endpoint.is_some() && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

impl Telemetry {
    /// Exports to where the process' `OTEL_*` variables say, from the runtime that this is called in. `server` is the
    /// host to which is published, with its port if that is unusual.
    ///
    /// # Errors
    /// When the program cannot, or the variables contradict it.
    pub fn start(server: (&str, Option<u16>)) -> Result<Self, TelemetryError> {
        Ok(Self { tracer: Some(otlp::Tracer::start(server)?) })
    }

    /// Whether there are spans at all. Only then anything is prepared for them.
    pub fn is_on(&self) -> bool {
        self.tracer.is_some()
    }

    /// Begins the span of a request, linked to the first [`LINKS_MAX`] of the events' traces, each with its message's id.
    pub fn publish<'a>(
        &self,
        request: &Request<'_>,
        traces: impl Iterator<Item = (TraceParent, &'a str)>,
    ) -> Option<PublishSpan> {
        let tracer = self.tracer.as_ref()?;
        Some(PublishSpan(tracer.publish(request, &mut traces.take(LINKS_MAX))))
    }

    /// Hands over what has not been exported yet; gives up after a few seconds.
    pub async fn end(&self) {
        if let Some(tracer) = &self.tracer {
            tracer.end(FLUSH_TIME_MAX).await;
        }
    }
}

impl PublishSpan {
    /// Ends it with the failures of its channels, none when all were accepted.
    pub fn end<'a>(self, failures: impl Iterator<Item = &'a PublishFailure>) {
        self.0.end(&mut failures.into_iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_switches_it_on_and_what_the_standard_says_off() {
        let with = |pairs: &[(&str, &str)]| {
            wanted(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
        };
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert!(!with(&[]));
        assert!(!with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(with(&[all]));
        assert!(with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/v1/traces")]));
        assert!(!with(&[all, ("OTEL_SDK_DISABLED", "TRUE")]));
        assert!(!with(&[all, ("OTEL_TRACES_EXPORTER", "none")]));
        assert!(with(&[all, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")]));
    }
}
