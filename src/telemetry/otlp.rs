//! Spans by OpenTelemetry's SDK, which follows `OTEL_*` for sampling, limits, batching and the resource.
//!
//! Names and attributes are those of the messaging conventions (status: development), 1.44. The kind is CLIENT and the
//! events' own contexts are links: each event was created by its writer's span, long before this one.

use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceFlags, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{KeyValue, SpanId, TraceId};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};

use super::collector::Collector;
use super::{Request, TelemetryError};
use crate::domain::failure::PublishFailure;
use crate::domain::traceparent::TraceParent;

/// What the service is called unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` names it.
const SERVICE_NAME: &str = "outbox-relay";

/// Names the span, and is an attribute of it: a tenant's name would make as many names as there are tenants.
const DESTINATION: &str = "tenant:{tenantId}";

/// A thread of the SDK gathers and exports spans; this hands them over.
#[derive(Debug)]
pub(super) struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    server: String,
    port: Option<u16>,
}

/// A span that is open.
#[derive(Debug)]
pub(super) struct Span(SdkSpan);

impl Tracer {
    pub(super) fn start((server, port): (&str, Option<u16>)) -> Result<Self, TelemetryError> {
        let setting = |error: &dyn std::fmt::Display| TelemetryError::Setting(error.to_string());
        let protocol = protocol(|name| std::env::var(name).ok())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new().map_err(TelemetryError::Setting)?)
            .with_protocol(protocol)
            .build()
            .map_err(|error| setting(&error))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer(SERVICE_NAME);
        Ok(Self { provider, tracer, server: server.to_owned(), port })
    }

    pub(super) fn publish(
        &self,
        request: &Request<'_>,
        traces: &mut dyn Iterator<Item = (TraceParent, &str)>,
    ) -> Span {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let mut attributes = vec![
            KeyValue::new("messaging.system", "ably"),
            KeyValue::new("messaging.operation.name", "publish"),
            // The conventions' word for it; `publish` was the one of those before 1.27.
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.template", DESTINATION),
            KeyValue::new("messaging.batch.message_count", count(request.events)),
            KeyValue::new("outbox_relay.channels", count(request.channels)),
            KeyValue::new("http.request.body.size", count(request.bytes)),
            KeyValue::new("server.address", self.server.clone()),
        ];
        if let Some(port) = self.port {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        if let Some(channel) = request.channel {
            attributes.push(KeyValue::new("messaging.destination.name", channel.to_owned()));
        }
        if let Some(id) = request.message_id {
            attributes.push(KeyValue::new("messaging.message.id", id.to_owned()));
        }
        let links = traces.map(|(trace, id)| link(trace, id)).collect();
        let span = self
            .tracer
            .span_builder(format!("publish {DESTINATION}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .with_links(links)
            // No parent: whatever context this thread has is not this request's.
            .start_with_context(&self.tracer, &opentelemetry::Context::new());
        Span(span)
    }

    pub(super) async fn end(&self, limit: Duration) {
        let provider = self.provider.clone();
        // It blocks until the exporter's thread is done, and that needs this runtime.
        let flushed = tokio::task::spawn_blocking(move || {
            provider.shutdown_with_timeout(limit).map_err(|error| error.to_string())
        });
        if let Err(error) = flushed.await.unwrap_or_else(|error| Err(error.to_string())) {
            tracing::warn!(error, "the last spans were not exported: {error}");
        }
    }
}

impl Span {
    pub(super) fn end(mut self, failures: &mut dyn Iterator<Item = &PublishFailure>) {
        if let Some(first) = failures.next() {
            let kind =
                first.code.map_or_else(|| first.class.as_str().to_owned(), |code| code.to_string());
            self.0.set_attribute(KeyValue::new("error.type", kind));
            if let Some(status) = first.status {
                self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            }
            let others = i64::try_from(failures.count()).unwrap_or(i64::MAX);
            self.0.set_attribute(KeyValue::new(
                "outbox_relay.channels_refused",
                others.saturating_add(1),
            ));
            self.0.set_status(Status::error(first.message.clone()));
        }
        self.0.end();
    }
}

fn link(trace: TraceParent, message_id: &str) -> Link {
    let context = SpanContext::new(
        TraceId::from(trace.trace_id),
        SpanId::from(trace.span_id),
        TraceFlags::new(trace.flags),
        true,
        TraceState::NONE,
    );
    Link::new(context, vec![KeyValue::new("messaging.message.id", message_id.to_owned())], 0)
}

/// The detectors read `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`; a name that is set there wins.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&"service.name".into()).map(|name| name.to_string());
    let named = name.is_some_and(|name| !name.starts_with("unknown_service"));
    let own = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let mut builder = Resource::builder().with_attributes(own);
    if !named {
        builder = builder.with_service_name(SERVICE_NAME);
    }
    builder.build()
}

/// By the variables, else protobuf, as the standard has it: the SDK alone would take JSON, and JSON for `grpc`.
fn protocol(variable: impl Fn(&str) -> Option<String>) -> Result<Protocol, TelemetryError> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let said =
        set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
    match said.as_deref().map(str::trim) {
        None | Some("http/protobuf") => Ok(Protocol::HttpBinary),
        Some("http/json") => Ok(Protocol::HttpJson),
        Some(other) => Err(TelemetryError::Setting(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}; spans go by http/protobuf or http/json (port 4318, not 4317)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn protobuf_is_the_default_and_grpc_is_refused_with_the_port() {
        let of = |pairs: &[(&str, &str)]| {
            let map: HashMap<_, _> = pairs.iter().copied().collect();
            protocol(|name| map.get(name).map(|value| (*value).to_owned()))
        };
        assert!(matches!(of(&[]), Ok(Protocol::HttpBinary)));
        let both = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ];
        assert!(matches!(of(&both), Ok(Protocol::HttpJson)));
        assert!(of(&both[..1]).unwrap_err().to_string().contains("4318"));
    }
}
