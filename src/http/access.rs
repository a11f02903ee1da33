//! Who may ask: bearer tokens, compared in constant time, and names that only this machine has.

use std::hint::black_box;
use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Whether the request carries this token as `Authorization: Bearer …`.
pub(super) fn carries(headers: &HeaderMap, token: &SecretString) -> bool {
    let offered = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let offered = offered.and_then(|value| value.split_once(' '));
    let bearer = offered.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.is_some_and(|(_, offered)| same(offered.trim(), token.expose_secret()))
}

/// Compares digests, which have one length whatever was offered, without stopping at the first difference.
pub(super) fn same(offered: &str, token: &str) -> bool {
    let (offered, token) = (Sha256::digest(offered), Sha256::digest(token));
    let differences =
        offered.iter().zip(token.iter()).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    differences == 0
}

/// Whether the request was sent to an address or to `localhost`. A page of another site that has its own name
/// point here (DNS rebinding) sends that name.
pub(super) fn by_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else {
        // No browser leaves it out.
        return true;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = SecretString::from("correct horse");
        for (value, opens) in [
            ("Bearer correct horse", true),
            ("bearer correct horse", true),
            ("Bearer correct hors", false),
            ("Bearer correct horse!", false),
            ("Bearer ", false),
            ("Basic correct horse", false),
            ("correct horse", false),
        ] {
            assert_eq!(carries(&with(header::AUTHORIZATION, value), &token), opens, "{value}");
        }
        assert!(!carries(&HeaderMap::new(), &token));
    }

    #[test]
    fn a_name_of_somebody_elses_is_not_this_machine() {
        for host in ["127.0.0.1:9464", "localhost", "LOCALHOST:1", "[::1]:9464", "10.0.0.7"] {
            assert!(by_address(&with(header::HOST, host)), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", ""] {
            assert!(!by_address(&with(header::HOST, host)), "{host}");
        }
    }
}
