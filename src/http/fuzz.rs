//! Fuzz entry point: a request to `/outbox/publish`, its head as well as its body.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use secrecy::SecretString;

use super::{access, publish};

/// What opens. No answer may repeat it.
const TOKEN: &str = "tok7Zq9xSECRETtok7Zq9xSECRET";

/// The longest reason that a caller is given, in characters: it goes into logs of cron jobs, a line each.
const REASON_MAX: usize = 200;

/// A request as it is sent: request line, headers, an empty line, the body. Of a head that HTTP does not know, what it does know of it.
pub(crate) fn publish_request(data: &[u8]) {
    let end = data.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = end.map_or((data, &[][..]), |at| (&data[..at], &data[at + 4..]));
    let mut lines =
        head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let target = lines.next().unwrap_or_default().split(|byte| *byte == b' ').nth(1);
    let uri = target.and_then(|target| Uri::try_from(target).ok()).unwrap_or_default();
    let headers: HeaderMap = lines.filter_map(header).collect();

    _ = access::by_address(&headers);
    let token = SecretString::from(TOKEN);
    if access::carries(&headers, &token) {
        let said = headers.get(axum::http::header::AUTHORIZATION).map(HeaderValue::as_bytes);
        assert!(said.is_some_and(|said| said.ends_with(TOKEN.as_bytes())), "opened by {said:?}");
    }
    match publish::limit(body, uri.query()) {
        Ok(limit) => assert!((1..=500).contains(&limit), "{limit} events"),
        Err(reason) => {
            assert!(reason.chars().count() <= REASON_MAX, "{} characters: {reason}", reason.len());
            assert!(!reason.contains(['\r', '\n']), "one line: {reason:?}");
        }
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}
