//! Who may look, who may act, and what a browser is told.
//!
//! A browser sends a password that it knows with every request, also with one that another site's page makes it send. So what
//! changes anything needs a token too, which only our own page can read, and must not come from another site.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::Dashboard;
use super::answer::refuse;
use crate::http::access;
use crate::http::server::Place;

/// Who asks, as the audit log shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User(pub(super) Option<String>);

/// Characters of a user's name that the audit log keeps.
const NAME_CHARS_MAX: usize = 64;

/// Carries the token against forged requests.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Scripts, styles and pictures of ours, talk with us, and nothing else: no script in the page, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// 256 random bits as text.
pub(super) fn secret() -> Option<String> {
    let mut bytes = [0; 32];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) async fn guard(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(place): Extension<Place>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match admitted(&dashboard, request.method(), request.headers()) {
        Ok(user) => {
            request.extensions_mut().insert(user);
            // Whoever was let in is worth an answer.
            place.keep();
            next.run(request).await
        }
        Err(stranger) => stranger.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy)]
enum Stranger {
    /// Came by a name that is not this machine's.
    ByName,
    /// Has no token, or a wrong one.
    WithoutToken,
    /// Orders something, and is not our page.
    NotOurPage,
}

fn admitted(dashboard: &Dashboard, method: &Method, headers: &HeaderMap) -> Result<User, Stranger> {
    let user = match &dashboard.token {
        Some(token) => user(headers, token).ok_or(Stranger::WithoutToken)?,
        // Without a password only a browser's own user may ask through it.
        None if access::by_address(headers) => User(None),
        None => return Err(Stranger::ByName),
    };
    let reads = method == Method::GET || method == Method::HEAD;
    if reads || is_ours(headers, &dashboard.csrf) { Ok(user) } else { Err(Stranger::NotOurPage) }
}

impl IntoResponse for Stranger {
    fn into_response(self) -> Response {
        match self {
            Self::ByName => refuse(
                StatusCode::FORBIDDEN,
                "ask by address or as localhost",
                "open http://127.0.0.1, or set OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN",
            ),
            Self::NotOurPage => refuse(
                StatusCode::FORBIDDEN,
                "this request does not come from the dashboard's own page",
                "load the page again",
            ),
            Self::WithoutToken => {
                let reason = "the dashboard wants the relay's OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN";
                let remedy =
                    "send it as `Authorization: Bearer …`, or as the password of any user name";
                let realm =
                    HeaderValue::from_static("Basic realm=\"outbox-relay\", charset=\"UTF-8\"");
                let mut response = refuse(StatusCode::UNAUTHORIZED, reason, remedy);
                response.headers_mut().append(header::WWW_AUTHENTICATE, realm);
                response
            }
        }
    }
}

/// Who carries the token.
fn user(headers: &HeaderMap, token: &SecretString) -> Option<User> {
    if access::carries(headers, token) {
        return Some(User(None));
    }
    let offered = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, encoded) =
        offered.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    if !access::same(password, token.expose_secret()) {
        return None;
    }
    let name: String =
        name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect::<String>();
    Some(User(Some(name.trim().to_owned()).filter(|name| !name.is_empty())))
}

/// Whether our own page sends it. What no browser has sent has neither of the two headers, and needs the token still.
fn is_ours(headers: &HeaderMap, csrf: &str) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let same_site = text(&SEC_FETCH_SITE).is_none_or(|site| site == "same-origin");
    let host = text(&header::HOST).unwrap_or_default();
    let same_origin = text(&header::ORIGIN)
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, rest)| rest == host));
    let json = text(&header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    let carries = text(&CSRF).is_some_and(|offered| access::same(offered, csrf));
    same_site && same_origin && json && carries
}

impl User {
    /// As the audit log shows it.
    pub(super) fn actor(&self) -> String {
        self.0.as_ref().map_or_else(|| "dashboard".to_owned(), |name| format!("dashboard: {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_token_opens_as_bearer_and_as_password_and_names_the_user() {
        let token = SecretString::from("correct-horse-16");
        let who = |value: &str| user(&headers(&[("authorization", value)]), &token);
        let basic = |text: &str| who(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(who("Bearer correct-horse-16"), Some(User(None)));
        assert_eq!(basic("alice:correct-horse-16"), Some(User(Some("alice".into()))));
        assert_eq!(basic(":correct-horse-16"), Some(User(None)));
        assert_eq!(basic("a\nb:correct-horse-16"), Some(User(Some("ab".into()))));
        for wrong in ["alice:correct-horse-1", "alice:", "correct-horse-16", "alice:x:y"] {
            assert_eq!(basic(wrong), None, "{wrong}");
        }
        for wrong in ["Basic ???", "Basic", "Bearer correct-horse", "Digest x"] {
            assert_eq!(who(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_our_own_page_changes_anything() {
        let csrf = secret().unwrap();
        let good = [
            ("host", "127.0.0.1:9464"),
            ("content-type", "application/json"),
            ("x-csrf-token", csrf.as_str()),
            ("origin", "http://127.0.0.1:9464"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert!(is_ours(&headers(&good), &csrf));
        assert!(is_ours(&headers(&good[..3]), &csrf), "curl, with the token");
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:9465"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("x-csrf-token", "x"),
            ("content-type", "text/plain"),
        ] {
            let mut all = headers(&good);
            all.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert!(!is_ours(&all, &csrf), "{name}: {value}");
        }
        assert_ne!(secret(), secret());
    }
}
