//! A spec as the bytes that go out: each message is written once, whatever request it ends up in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_util::bytes::Bytes;

use crate::domain::channel::ChannelName;
use crate::domain::failure::{FailureClass, PublishFailure};
use crate::domain::message::Spec;

/// Largest body of a request, in bytes: `maxFrameSize` of Ably's client specification (TO3l9). Its
/// guide to batches says 2 MiB; the smaller of the two holds under both.
pub const REQUEST_BYTES_MAX: usize = 524_288;

/// Most channels, and so specs, in one request (Ably: "REST API", "Batch publish").
pub const REQUEST_CHANNELS_MAX: usize = 100;

/// Most messages in one spec (Ably: "REST API", "Batch publish").
pub const SPEC_MESSAGES_MAX: usize = 1_000;

/// Whether several specs may share a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchMode {
    /// They do, unless the server turns out to have no batch endpoint.
    #[default]
    Auto,
    /// Each spec is a request of its own.
    Off,
}

/// What `encodeURIComponent` leaves alone.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Path of the batch endpoint.
pub(super) const BATCH_PATH: &str = "/messages";

/// A [`Spec`] as JSON, ready for a batch and, as a part of the same bytes, for its channel alone.
#[derive(Clone)]
pub struct EncodedSpec {
    channel: ChannelName,
    /// `{"channels":…,"messages":[…]}`
    batch: Bytes,
    /// `[…]`: the messages, a slice of `batch`.
    messages: Bytes,
    count: usize,
}

impl std::fmt::Debug for EncodedSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedSpec")
            .field("channel", &self.channel)
            .field("messages", &self.count)
            .field("bytes", &self.bytes())
            .finish()
    }
}

impl EncodedSpec {
    /// Writes a spec as JSON.
    pub fn new(spec: &Spec) -> Self {
        let data: usize = spec.messages.iter().map(|m| m.data.len() + m.data.len() / 4 + 160).sum();
        let mut out = Vec::with_capacity(data + 320);
        out.extend_from_slice(b"{\"channels\":");
        append(&mut out, spec.channel.as_str());
        out.extend_from_slice(b",\"messages\":");
        let from = out.len();
        append(&mut out, &spec.messages);
        let to = out.len();
        out.push(b'}');
        let batch = Bytes::from(out);
        let messages = batch.slice(from..to);
        Self { channel: spec.channel.clone(), batch, messages, count: spec.messages.len() }
    }

    /// Where the messages go.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Length in a batch, in bytes, without the comma between two specs.
    pub fn bytes(&self) -> usize {
        self.batch.len()
    }

    /// Path and body of the request that carries this spec alone: always an array, as all of
    /// Ably's own clients send it.
    pub(super) fn single(&self) -> (String, Bytes) {
        let channel = utf8_percent_encode(self.channel.as_str(), UNRESERVED);
        (format!("/channels/{channel}/messages"), self.messages.clone())
    }
}

/// Strings, strings in structs and raw JSON always serialise, and a `Vec` takes every write.
fn append(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    _ = serde_json::to_writer(out, value);
}

/// Length of a batch request's body, in bytes: what [`REQUEST_BYTES_MAX`] limits.
pub fn request_bytes<'a>(specs: impl IntoIterator<Item = &'a EncodedSpec>) -> usize {
    specs.into_iter().map(|spec| spec.bytes() + 1).sum::<usize>() + 1
}

/// Body of the batch request.
pub(super) fn batch_body(specs: &[EncodedSpec]) -> Bytes {
    let mut out = Vec::with_capacity(request_bytes(specs));
    for (index, spec) in specs.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        out.extend_from_slice(&spec.batch);
    }
    out.push(b']');
    Bytes::from(out)
}

/// Refuses what Ably would refuse as a whole, or worse, take in another order.
///
/// The class is `Configuration`: such a request is a fault of this program, so publishing must stop
/// loudly and no event may be blamed. A single spec has no limit of bytes here: whether it is too
/// large is for Ably to say, which counts it otherwise (without JSON's escapes).
pub(super) fn check(specs: &[EncodedSpec]) -> Result<(), PublishFailure> {
    let fault = |what: String| {
        Err(PublishFailure {
            class: FailureClass::Configuration,
            status: None,
            code: None,
            message: format!("{what}; nothing was sent: this is a fault of the relay, report it"),
            retry_after: None,
        })
    };
    if specs.len() > REQUEST_CHANNELS_MAX {
        return fault(format!("{} specs in one request of {REQUEST_CHANNELS_MAX}", specs.len()));
    }
    let bytes = request_bytes(specs);
    if specs.len() > 1 && bytes > REQUEST_BYTES_MAX {
        return fault(format!("a request of {bytes} bytes; the limit is {REQUEST_BYTES_MAX}"));
    }
    let mut channels: Vec<&ChannelName> = specs.iter().map(EncodedSpec::channel).collect();
    channels.sort_unstable();
    // Two specs of a channel may succeed and fail apart, which would turn their order round.
    if let Some(twice) = channels.windows(2).find(|pair| pair[0] == pair[1]) {
        return fault(format!("channel {:?} is in the request twice", twice[0].as_str()));
    }
    for spec in specs {
        if !(1..=SPEC_MESSAGES_MAX).contains(&spec.count) {
            return fault(format!(
                "{} messages in one spec of 1 to {SPEC_MESSAGES_MAX}",
                spec.count
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::event::TenantId;
    use crate::domain::message::Message;
    use serde_json::value::RawValue;

    pub(in crate::ably) fn spec(tenant: &str, messages: usize) -> Spec {
        let message = Message {
            id: format!("id-{tenant}"),
            name: "kitchen.task".into(),
            data: r#"{"a":"é\"\n"}"#.into(),
            encoding: "json",
            extras: None,
        };
        let channel = ChannelName::for_tenant(&TenantId::new(tenant)).unwrap();
        if messages == 1 {
            return Spec { channel, messages: vec![message] };
        }
        Spec::group(channel, "base", vec![message; messages])
    }

    pub(in crate::ably) fn encoded(tenant: &str) -> EncodedSpec {
        EncodedSpec::new(&spec(tenant, 1))
    }

    #[test]
    fn one_writing_serves_the_batch_and_the_channel_alone() {
        let mut spec = spec("a", 2);
        spec.messages[0].extras =
            Some(RawValue::from_string(r#"{"headers":{"n": 1}}"#.into()).unwrap());
        let encoded = EncodedSpec::new(&spec);
        let first = r#"{"id":"base:0","name":"kitchen.task","data":"{\"a\":\"é\\\"\\n\"}","encoding":"json","extras":{"headers":{"n": 1}}}"#;
        let second = r#"{"id":"base:1","name":"kitchen.task","data":"{\"a\":\"é\\\"\\n\"}","encoding":"json"}"#;
        let (path, body) = encoded.single();
        assert_eq!(path, "/channels/tenant%3Aa/messages");
        assert_eq!(body, format!("[{first},{second}]"));
        assert_eq!(
            batch_body(std::slice::from_ref(&encoded)),
            format!(r#"[{{"channels":"tenant:a","messages":[{first},{second}]}}]"#)
        );
    }

    #[test]
    fn the_length_of_a_batch_is_known_before_it_is_written() {
        for count in 1..4 {
            let specs: Vec<_> = (0..count).map(|n| encoded(&format!("tenant é {n}"))).collect();
            let body = batch_body(&specs);
            assert_eq!(body.len(), request_bytes(&specs));
            serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        }
    }

    #[test]
    fn a_channel_is_encoded_like_a_uri_component() {
        for (tenant, path) in [
            ("a/b é", "tenant%3Aa%2Fb%20%C3%A9"),
            ("a-_.!~'()", "tenant%3Aa-_.!~'()"),
            ("..", "tenant%3A.."),
            ("%2F?#&+=@", "tenant%3A%252F%3F%23%26%2B%3D%40"),
        ] {
            assert_eq!(encoded(tenant).single().0, format!("/channels/{path}/messages"));
        }
    }

    #[test]
    fn what_ably_would_refuse_whole_is_not_sent_and_blames_no_event() {
        let many = |n: usize| (0..n).map(|i| encoded(&i.to_string())).collect::<Vec<_>>();
        assert_eq!(check(&many(REQUEST_CHANNELS_MAX)), Ok(()));
        let mut large = spec("large", 1);
        large.messages[0].data = "x".repeat(REQUEST_BYTES_MAX);
        let large = EncodedSpec::new(&large);
        assert_eq!(check(std::slice::from_ref(&large)), Ok(()));
        for (specs, word) in [
            (many(REQUEST_CHANNELS_MAX + 1), "101 specs"),
            (vec![encoded("a"), large], "bytes; the limit is 524288"),
            (
                vec![encoded("a"), encoded("b"), encoded("a")],
                "\"tenant:a\" is in the request twice",
            ),
            (vec![EncodedSpec::new(&spec("a", 0))], "0 messages"),
            (vec![EncodedSpec::new(&spec("a", SPEC_MESSAGES_MAX + 1))], "1001 messages"),
        ] {
            let failure = check(&specs).unwrap_err();
            assert_eq!(failure.class, FailureClass::Configuration);
            assert!(failure.message.contains(word), "{failure}");
        }
    }
}
