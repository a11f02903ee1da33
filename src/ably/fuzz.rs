//! Fuzz entry points: key and endpoint, Ably's answers, and messages from rows of any text.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::bytes::Bytes;

use super::answer::{self, Answer, Batch, Body};
use super::endpoint::{Endpoint, Fallback};
use super::key::ApiKey;
use super::request::{EncodedSpec, batch_body, request_bytes};
use crate::domain::channel::ChannelName;
use crate::domain::event::{Event, Seq, TenantId};
use crate::domain::message::{MESSAGE_BYTES_MAX_DEFAULT, Message, Spec};

/// A secret that no message may repeat.
const SECRET: &str = "pw7Zq9xSECRETpw7Zq9xSECRET";

/// Key and endpoint, as somebody may have pasted them.
pub(crate) fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A fuzzer finds the word, and then repeats it itself.
    if text.contains("SECRET") {
        return;
    }
    for text in [text.to_string(), format!("{text}:{SECRET}"), format!("a.b:{SECRET}{text}")] {
        let said = match ApiKey::parse(&text) {
            Ok(key) => format!("{key:?} {}", key.name()),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!said.contains(SECRET), "the key is repeated: {said}");
    }
    if let Ok(endpoint) = Endpoint::parse(&text) {
        let fallback = Fallback::Hosts(vec![text.to_string()]);
        for fallback in [Fallback::default(), fallback] {
            if let Ok(bases) = endpoint.bases(&fallback) {
                assert!(!bases.is_empty());
            }
        }
    }
}

/// An answer: status (two bytes), then the body. Nothing is taken for a success that does not name its channel.
pub(crate) fn answer(data: &[u8]) {
    let [high, low, body @ ..] = data else { return };
    let Ok(key) = ApiKey::parse(&format!("a.b:{SECRET}")) else { return };
    let echo = String::from_utf8_lossy(body)
        .replace("SECRET", "")
        .replace("KEY", &format!("a.b:{SECRET}"));
    let answer = Answer {
        status: u16::from_be_bytes([*high, *low]) % 600,
        header_code: None,
        header_message: None,
        content_type: "application/json".to_owned(),
        retry_after: answer::retry_after(&echo, Some(&echo)),
        from_cloudfront: false,
        body: Body::Whole(Bytes::from(echo.into_bytes())),
        key: Arc::new(key),
    };
    let json = match &answer.body {
        Body::Whole(bytes) => serde_json::from_slice::<Value>(bytes).ok(),
        Body::Broken(_) | Body::TooLarge => None,
    };
    let single = answer::single(&answer, "tenant:a");
    if single.is_ok() {
        assert!(answer.is_success());
        assert!(answer.status == 204 || json.as_ref().is_some_and(Value::is_object));
    }
    let mut said = format!("{single:?} {:?}", answer::time(&answer));
    match answer::batch(&answer, &["tenant:a", "tenant:b"]) {
        Batch::Specs(results) => {
            assert_eq!(results.len(), 2, "one result a spec");
            let text = json.map(|json| json.to_string()).unwrap_or_default();
            for (result, channel) in results.iter().zip(["\"tenant:a\"", "\"tenant:b\""]) {
                assert!(result.is_err() || text.contains(channel), "success for nobody");
            }
            said += &format!("{results:?}");
        }
        Batch::Whole(failure) | Batch::NoEndpoint(failure) => said += &failure.to_string(),
    }
    // Ably's own ids of a success are not shown to anybody.
    assert!(single.is_ok() || !said.contains(SECRET), "the key is repeated: {said}");
}

/// A row: its texts, separated by zero bytes, which no text of PostgreSQL can hold.
pub(crate) fn message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut fields = text.split('\0').map(str::to_owned);
    let mut next = || fields.next().unwrap_or_default();
    let mut event = Event {
        seq: Seq(1),
        id: next(),
        tenant_id: TenantId::new(next()),
        aggregate_type: next(),
        aggregate_id: next(),
        event_type: next(),
        payload: next(),
        headers: None,
        occurred_at: None,
        traceparent: None,
        payload_occurred_at: Some(next()),
        created_at: "2026-01-01T00:00:00.000Z".into(),
        attempts: 0,
        generation: i32::from(data.len() % 3 == 1),
    };
    // PostgreSQL has checked both.
    event.headers = Some(next()).filter(|headers| is_json(headers));
    if !is_json(&event.payload) {
        event.payload = serde_json::to_string(&event.payload).unwrap_or_default();
    }
    let Ok(message) = Message::of_event(&event, MESSAGE_BYTES_MAX_DEFAULT) else { return };
    assert!(message.counted_bytes() <= MESSAGE_BYTES_MAX_DEFAULT);
    assert!(!message.id.contains(':'), "Ably would read a base and an index");
    assert!(is_json(&message.data), "the envelope is JSON: {}", message.data);
    let tail = format!(",\"payload\":{}}}", event.payload);
    assert!(message.data.ends_with(&tail), "the payload is as it was");
    if let Ok(envelope) = serde_json::from_str::<Value>(&message.data) {
        assert_eq!(envelope["id"], event.id.as_str());
        assert_eq!(envelope["tenantId"], event.tenant_id.as_str());
        assert_eq!(envelope["eventType"], event.event_type.as_str());
    }
    let Ok(channel) = ChannelName::for_tenant(&event.tenant_id) else { return };
    assert_eq!(ChannelName::tenant_of(channel.as_str()), Some(event.tenant_id));
    let spec = EncodedSpec::new(&Spec::group(channel, "base", vec![message.clone(), message]));
    let body = batch_body(std::slice::from_ref(&spec));
    assert_eq!(body.len(), request_bytes([&spec]));
    let (path, single) = spec.single();
    assert!(path.is_ascii() && !path.contains([' ', '#', '?']), "{path}");
    for body in [body, single] {
        assert!(std::str::from_utf8(&body).is_ok_and(is_json), "a body is JSON");
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}
