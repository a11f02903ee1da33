//! What Ably said, spec by spec. Nothing counts as published that was not confirmed for that very
//! channel: whatever is missing, unreadable or about another channel is sent again with the same
//! ids, which Ably drops if it has them. Taking such an answer for a success would lose events.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::bytes::Bytes;

use super::key::ApiKey;
use super::text::one_line;
use crate::domain::failure::{FailureClass, PublishFailure};

/// Longest wait that a `Retry-After` can ask for. A longer one is asked for again after a minute:
/// one request a minute burdens nobody, and a slip of a server must not stop publishing for a day.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Ably's confirmation of one spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Ably's id of the first message.
    pub message_id: Option<String>,
    /// One serial a message, in order; `None` for one that a conflation rule dropped.
    pub serials: Vec<Option<String>>,
}

/// What became of one spec.
pub type SpecResult = Result<Accepted, PublishFailure>;

/// A body, as far as it arrived.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// The connection or the time ended first; the text says which.
    Broken(String),
    /// More than anybody should have to read.
    TooLarge,
}

/// An HTTP answer, reduced to what decides.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `X-Ably-ErrorCode`: all there is when the edge answers instead of Ably.
    pub header_code: Option<u32>,
    /// `X-Ably-ErrorMessage`.
    pub header_message: Option<String>,
    /// `Content-Type`, for error messages.
    pub content_type: String,
    /// `Retry-After`, bounded.
    pub retry_after: Option<Duration>,
    /// `Server: CloudFront`.
    pub from_cloudfront: bool,
    /// The body.
    pub body: Body,
    /// Taken out of every message, should the server have echoed it.
    pub key: Arc<ApiKey>,
}

/// What a batch request came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Batch {
    /// One result a spec, in order.
    Specs(Vec<SpecResult>),
    /// The request failed as one.
    Whole(PublishFailure),
    /// This server has no batch endpoint, or this failure hides that it does.
    NoEndpoint(PublishFailure),
}

/// Reads the answer to a spec that was sent alone.
pub(super) fn single(answer: &Answer, channel: &str) -> SpecResult {
    if answer.status == 204 {
        return Ok(Accepted::default());
    }
    let json = answer.json();
    match (&json, answer.is_success()) {
        (Some(Value::Object(object)), true) if !has_error(object) => {
            if object.get("channel").is_some_and(|c| c != channel) {
                return Err(answer.other_channel(object, channel));
            }
            accepted(object).ok_or_else(|| answer.unconfirmed("the answer confirms no message"))
        }
        _ => Err(answer.failure(json.as_ref())),
    }
}

/// Reads the answer to a batch of specs with these channels.
pub(super) fn batch(answer: &Answer, channels: &[&str]) -> Batch {
    let json = answer.json();
    let results = match &json {
        Some(Value::Array(results)) if answer.is_success() => Some(results),
        // Protocol versions up to 2: a partial failure is 400 with code 40020.
        Some(Value::Object(object)) if answer.is_success() || answer.status == 400 => {
            object.get("batchResponse").and_then(Value::as_array)
        }
        _ => None,
    };
    let Some(results) = results else {
        let failure = answer.failure(json.as_ref());
        let no_endpoint = matches!(answer.status, 404 | 405) && failure.code.is_none();
        return if no_endpoint { Batch::NoEndpoint(failure) } else { Batch::Whole(failure) };
    };
    if results.len() != channels.len() {
        // Which result belongs to which spec is anybody's guess.
        let (got, sent) = (results.len(), channels.len());
        let text = format!("the answer has {got} results for {sent} specs");
        return Batch::Specs(vec![Err(answer.unconfirmed(&text)); sent]);
    }
    let of_spec = |(result, channel): (&Value, &&str)| spec_result(answer, result, channel);
    Batch::Specs(results.iter().zip(channels).map(of_spec).collect())
}

/// Reads the answer of `GET /time`: milliseconds since 1970.
pub(super) fn time(answer: &Answer) -> Result<i64, PublishFailure> {
    let json = answer.json();
    match &json {
        Some(Value::Array(times)) if answer.is_success() => match times.as_slice() {
            [time] => time.as_i64().ok_or_else(|| answer.unconfirmed("the answer is no time")),
            _ => Err(answer.unconfirmed("the answer is no time")),
        },
        _ => Err(answer.failure(json.as_ref())),
    }
}

/// Reads the answer to a request for a token that may publish to `resource`. Ably grants what the key has of what
/// is asked, so a token may come with less.
pub(super) fn token(answer: &Answer, resource: &str) -> Result<(), PublishFailure> {
    let json = answer.json();
    let Some(Value::Object(token)) = json.as_ref().filter(|_| answer.is_success()) else {
        return Err(answer.failure(json.as_ref()));
    };
    let granted = token.get("capability").and_then(Value::as_str);
    let granted = granted.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let Some(granted) = granted else {
        return Err(answer.unconfirmed("the answer to a request for a token holds no capability"));
    };
    let publishes = |operations: &Value| {
        let any = |wanted: &str| {
            operations.as_array().is_some_and(|all| all.iter().any(|op| op == wanted))
        };
        any("publish") || any("*")
    };
    if granted.get(resource).is_some_and(publishes) {
        return Ok(());
    }
    let names: Vec<&str> = granted.keys().map(String::as_str).collect();
    let what = format!("the key may publish to {names:?} only, of {resource:?}");
    Err(PublishFailure {
        class: FailureClass::Capability,
        status: Some(answer.status),
        code: None,
        message: answer.clean(&what),
        retry_after: None,
    })
}

/// Reads a `Retry-After`: seconds, or a date. A date is measured from the answer's own `Date` (`sent`), for our
/// clock may be wrong; without one it says nothing.
pub(super) fn retry_after(value: &str, sent: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    let wait = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let time = |text: &str| Some(jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp());
        // A date in the past asks for no wait.
        Duration::try_from(time(value)?.duration_since(time(sent?)?)).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// One element of a batch's answer: `{"successCount","failureCount","results":[…]}` as of protocol
/// version 3, the result itself before.
fn spec_result(answer: &Answer, element: &Value, channel: &str) -> SpecResult {
    let malformed = || answer.unconfirmed("the answer has a result that is not Ably's");
    let element = element.as_object().ok_or_else(malformed)?;
    let result = match element.get("results") {
        None => element,
        Some(Value::Array(results)) => match results.as_slice() {
            [Value::Object(result)] => result,
            _ => return Err(malformed()),
        },
        Some(_) => return Err(malformed()),
    };
    if result.get("channel").is_none_or(|c| c != channel) {
        return Err(answer.other_channel(result, channel));
    }
    let failed = has_error(result);
    for (count, expected) in [("successCount", !failed), ("failureCount", failed)] {
        if element.get(count).is_some_and(|n| n.as_u64() != Some(u64::from(expected))) {
            return Err(answer.unconfirmed("the answer's counts contradict its results"));
        }
    }
    if failed {
        return Err(answer.spec_failure(result));
    }
    accepted(result).ok_or_else(malformed)
}

fn has_error(object: &Map<String, Value>) -> bool {
    object.get("error").is_some_and(|error| !error.is_null())
}

/// What a result confirms; nothing, when it names neither a message nor serials.
fn accepted(result: &Map<String, Value>) -> Option<Accepted> {
    let message_id = result.get("messageId").and_then(Value::as_str).map(str::to_owned);
    let serials = result.get("serials").and_then(Value::as_array);
    if message_id.is_none() && serials.is_none_or(Vec::is_empty) {
        return None;
    }
    let serials = serials.map_or_else(Vec::new, |serials| {
        serials.iter().map(|serial| serial.as_str().map(str::to_owned)).collect()
    });
    Some(Accepted { message_id, serials })
}

/// Ably's `ErrorInfo`, each part only if it is of its type.
#[derive(Default)]
struct ErrorInfo<'a> {
    code: Option<u32>,
    status: Option<u16>,
    message: Option<&'a str>,
}

impl<'a> ErrorInfo<'a> {
    fn of(object: &'a Map<String, Value>) -> Self {
        let Some(error) = object.get("error").and_then(Value::as_object) else {
            return Self::default();
        };
        let number = |name| error.get(name).and_then(Value::as_u64).filter(|n| *n > 0);
        Self {
            code: number("code").and_then(|n| n.try_into().ok()),
            status: number("statusCode").and_then(|n| n.try_into().ok()),
            message: error.get("message").and_then(Value::as_str).filter(|m| !m.is_empty()),
        }
    }
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn json(&self) -> Option<Value> {
        match &self.body {
            Body::Whole(bytes) => serde_json::from_slice(bytes).ok(),
            Body::Broken(_) | Body::TooLarge => None,
        }
    }

    fn clean(&self, text: &str) -> String {
        one_line(&self.key.redact(text.to_owned()))
    }

    /// The failure of a whole request: the body's error, else the headers, else the status.
    fn failure(&self, json: Option<&Value>) -> PublishFailure {
        let error = json.and_then(Value::as_object).map(ErrorInfo::of).unwrap_or_default();
        let code = error.code.or(self.header_code);
        let message = error.message.or(self.header_message.as_deref());
        if self.is_success() && code.is_none() {
            return self.unconfirmed(message.unwrap_or("the answer is not Ably's"));
        }
        let message = message.map_or_else(|| self.what_came_instead(), |text| self.clean(text));
        let status = if self.is_success() { error.status } else { None }.unwrap_or(self.status);
        PublishFailure {
            class: FailureClass::of_answer(status, code),
            status: Some(self.status),
            code,
            message,
            retry_after: self.retry_after,
        }
    }

    /// The failure of one spec in a batch that went through.
    fn spec_failure(&self, result: &Map<String, Value>) -> PublishFailure {
        let error = ErrorInfo::of(result);
        // Without a status of its own the request's counts, which makes it an outage.
        let status = error.status.unwrap_or(self.status);
        let message = error.message.unwrap_or("Ably refused the messages without a reason");
        PublishFailure {
            class: FailureClass::of_answer(status, error.code),
            status: Some(status),
            code: error.code,
            message: self.clean(message),
            retry_after: self.retry_after,
        }
    }

    fn other_channel(&self, result: &Map<String, Value>, channel: &str) -> PublishFailure {
        let named = result.get("channel").and_then(Value::as_str).unwrap_or("none");
        self.unconfirmed(&format!("the answer is about channel {named:?} instead of {channel:?}"))
    }

    /// It may have been published or not: the same ids again.
    fn unconfirmed(&self, what: &str) -> PublishFailure {
        let what = match &self.body {
            Body::Whole(_) => self.clean(what),
            Body::Broken(_) | Body::TooLarge => self.what_came_instead(),
        };
        PublishFailure {
            class: FailureClass::Outage,
            status: Some(self.status),
            code: None,
            message: what,
            retry_after: self.retry_after,
        }
    }

    fn what_came_instead(&self) -> String {
        match &self.body {
            Body::Whole(bytes) if bytes.is_empty() => "the answer is empty".to_owned(),
            Body::Whole(_) => {
                let kind = match self.content_type.as_str() {
                    "" => "no content type",
                    kind => kind,
                };
                self.clean(&format!("the answer is not Ably's ({kind}); check ABLY_ENDPOINT"))
            }
            Body::Broken(how) => self.clean(&format!("the answer did not arrive whole: {how}")),
            Body::TooLarge => {
                "the answer is too large to be Ably's; check ABLY_ENDPOINT".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests;
