//! Why an emulator does not start, and how it refuses a request: in Ably's words.

use std::net::SocketAddr;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// Somebody else has the port.
    #[error(
        "{addr} is in use by another program; choose another port, or port 0 for a free one (`--listen 127.0.0.1:0`)"
    )]
    AddressInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// Any other reason why the address cannot be listened on.
    #[error(
        "cannot listen on {addr}: {source}; use an address of this machine, such as 127.0.0.1:0"
    )]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key that is not `app.key:secret`. The text is not repeated: it may be a real secret.
    #[error("the API key is malformed; it must look like app.key:secret")]
    MalformedKey,
    /// A limit that would refuse everything.
    #[error("{name} is 0; give it a value above 0")]
    ZeroLimit {
        /// Field of [`super::EmulatorConfig`].
        name: &'static str,
    },
}

/// A refusal as Ably answers it: an HTTP status, Ably's own code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: u32,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// HTTP 400 with a code, as all errors of content have it.
    pub(super) fn bad(code: u32, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// Ably's `ErrorInfo`.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "statusCode": self.status,
            "message": self.message,
            "href": format!("https://help.ably.io/error/{}", self.code),
        })
    }

    /// A body with the error's headers. Clients read the code from either.
    pub(super) fn respond(&self, body: Value) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        for (name, value) in self.headers() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// `X-Ably-ErrorCode` and `X-Ably-ErrorMessage`.
    pub(super) fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        // A message may repeat what the client sent; a header takes printable ASCII only.
        let message: String = self
            .message
            .chars()
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .collect();
        [
            (HeaderName::from_static("x-ably-errorcode"), HeaderValue::from(self.code)),
            (
                HeaderName::from_static("x-ably-errormessage"),
                HeaderValue::from_str(&message).unwrap_or(HeaderValue::from_static("")),
            ),
        ]
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.respond(json!({ "error": self.to_json() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_exactly_the_content_type_that_the_official_client_parses() {
        let response = Refused::bad(40_031, "é\nx").into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["x-ably-errorcode"], "40031");
        assert_eq!(response.headers()["x-ably-errormessage"], "??x");
    }
}
