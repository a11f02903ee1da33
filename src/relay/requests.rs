//! Packs specs into requests and sends them. A claim of 100 tenants with full groups is 6.4 MB;
//! a request takes 512 KiB.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};

use tokio::time::Instant;

use super::drain::Drain;
use super::plan::Part;
use super::traces::{Carried, Traces};
use crate::ably::{
    Client, EncodedSpec, REQUEST_BYTES_MAX, REQUEST_CHANNELS_MAX, SpecResult, request_bytes,
};
use crate::domain::failure::{FailureClass, PublishFailure};
use crate::telemetry::Telemetry;

/// Requests of one batch that are out at once. Their channels are disjoint, so order is not at
/// stake; the bound keeps one batch from taking all of a small plan's request rate.
const REQUESTS_AT_ONCE: usize = 4;

/// A batch whose rows were locked this long ago sends no further requests. A request takes at most 15 s, so
/// the drain transaction stays below its `idle_in_transaction_session_timeout` of 45 s. And a process that was
/// stopped for a while (SIGSTOP, a debugger, a frozen container) does not send what others have published
/// meanwhile: Ably would drop it by its ids, but only for two minutes.
const SENDING_TIME_MAX: Duration = Duration::from_secs(15);

/// Publishes all parts, whose rows have been locked since `locked`; one result each, in their order.
pub(super) async fn publish(
    drain: &Drain,
    parts: &[Part],
    locked: Instant,
    traces: &Traces,
) -> Vec<SpecResult> {
    let of = |part| drain.fan_out.open_specs(part).map(move |spec| (part, spec));
    let open: Vec<Carried<'_>> = parts.iter().flat_map(of).collect();
    let encoded = open.iter().map(|(_, spec)| EncodedSpec::new(spec)).collect();
    let batch = Batch { ably: &drain.ably, locked, ended: OnceLock::new() };
    let (mut requests, mut rest) = (Vec::new(), open.as_slice());
    for request in pack(encoded) {
        // They are packed in their order.
        let carried = rest.split_off(..request.len()).unwrap_or_default();
        let traced = Traced { telemetry: &drain.telemetry, traces, carried };
        // Boxed: futures over borrowed specs would not be `Send` for every lifetime.
        requests.push(batch.send(request, traced).boxed());
    }
    let results =
        stream::iter(requests).buffered(REQUESTS_AT_ONCE).collect::<Vec<_>>().await.concat();
    drain.fan_out.together(parts, results)
}

/// What the span of a request is made of.
#[derive(Clone, Copy)]
struct Traced<'a> {
    telemetry: &'a Telemetry,
    traces: &'a Traces,
    carried: &'a [Carried<'a>],
}

/// The requests of one batch.
struct Batch<'a> {
    ably: &'a Client,
    /// When the rows were locked, at the earliest.
    locked: Instant,
    /// Why no further requests are sent.
    ended: OnceLock<PublishFailure>,
}

impl Batch<'_> {
    /// Sends one request, unless an earlier one has shown that there is no point.
    async fn send(&self, request: Vec<EncodedSpec>, traced: Traced<'_>) -> Vec<SpecResult> {
        if self.locked.elapsed() > SENDING_TIME_MAX {
            _ = self.ended.set(PublishFailure {
                class: FailureClass::Outage,
                status: None,
                code: None,
                message:
                    "not sent: its rows were locked more than 15 s ago, and may have another owner"
                        .into(),
                retry_after: None,
            });
        }
        if let Some(failure) = self.ended.get() {
            return vec![Err(failure.clone()); request.len()];
        }
        let span = traced.traces.span(traced.telemetry, traced.carried, &request);
        let results = self.ably.publish_encoded(&request).await;
        if let Some(span) = span {
            span.end(results.iter().filter_map(|result| result.as_ref().err()));
        }
        if let Some(Err(failure)) = results.first()
            && results.iter().all(Result::is_err)
            && concerns_all(failure.class)
        {
            _ = self.ended.set(failure.clone());
        }
        results
    }
}

/// Whether the next request would meet the same failure.
fn concerns_all(class: FailureClass) -> bool {
    match class {
        FailureClass::Outage | FailureClass::ThrottledAccount | FailureClass::Configuration => true,
        FailureClass::Content
        | FailureClass::ThrottledChannel
        | FailureClass::Capability
        | FailureClass::Unknown => false,
    }
}

/// Cuts the specs into requests, keeping their order. A spec that is too large for any request goes by
/// itself: Ably says what is wrong with it.
fn pack(specs: Vec<EncodedSpec>) -> Vec<Vec<EncodedSpec>> {
    let mut requests: Vec<Vec<EncodedSpec>> = Vec::new();
    for spec in specs {
        match requests.last_mut() {
            Some(last)
                if last.len() < REQUEST_CHANNELS_MAX
                    && request_bytes(last.iter().chain([&spec])) <= REQUEST_BYTES_MAX =>
            {
                last.push(spec);
            }
            _ => requests.push(vec![spec]),
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ably::{ApiKey, ClientConfig, Endpoint};
    use crate::domain::channel::ChannelName;
    use crate::domain::event::TenantId;
    use crate::domain::message::{Message, Spec};

    fn encoded(tenant: usize, bytes: usize) -> EncodedSpec {
        let message = Message {
            id: tenant.to_string(),
            name: "a.b".into(),
            data: "x".repeat(bytes),
            encoding: "json",
            extras: None,
        };
        let channel = ChannelName::for_tenant(&TenantId::new(tenant.to_string())).unwrap();
        EncodedSpec::new(&Spec { channel, messages: vec![message] })
    }

    proptest! {
        #[test]
        fn requests_keep_the_order_and_the_limits(
            sizes in proptest::collection::vec(prop_oneof![0..200_usize, 0..70_000_usize], 0..250),
        ) {
            let specs: Vec<_> = sizes.iter().enumerate().map(|(n, size)| encoded(n, *size)).collect();
            let names: Vec<_> = specs.iter().map(|s| s.channel().clone()).collect();
            let requests = pack(specs);
            for request in &requests {
                prop_assert!(request.len() <= REQUEST_CHANNELS_MAX);
                prop_assert!(request_bytes(request) <= REQUEST_BYTES_MAX);
            }
            let packed: Vec<_> = requests.iter().flatten().map(|s| s.channel().clone()).collect();
            prop_assert_eq!(packed, names);
        }
    }

    #[tokio::test]
    async fn a_batch_that_slept_too_long_sends_nothing() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", server.local_addr().unwrap());
        let config = ClientConfig {
            endpoint: Endpoint::parse(&endpoint).unwrap(),
            ..ClientConfig::new(ApiKey::parse("app.key:secret").unwrap())
        };
        let client = Client::new(config).unwrap();
        let stale = Instant::now() - SENDING_TIME_MAX - Duration::from_secs(1);
        let batch = Batch { ably: &client, locked: stale, ended: OnceLock::new() };
        let (telemetry, traces) = (Telemetry::default(), Traces::default());
        let traced = Traced { telemetry: &telemetry, traces: &traces, carried: &[] };
        let results = batch.send(vec![encoded(1, 10), encoded(2, 10)], traced).await;
        assert!(results.iter().all(|result| result.as_ref().is_err_and(|failure| {
            failure.class == FailureClass::Outage && failure.message.contains("not sent")
        })));
        let knock = tokio::time::timeout(Duration::from_millis(50), server.accept()).await;
        assert!(knock.is_err(), "nobody connected");
    }

    #[test]
    fn a_spec_too_large_for_any_request_goes_by_itself() {
        let requests = pack(vec![encoded(1, 10), encoded(2, REQUEST_BYTES_MAX), encoded(3, 10)]);
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
