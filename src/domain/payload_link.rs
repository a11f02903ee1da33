//! Links to payloads that are too large for a message: signed, and valid for a while.
//!
//! A link opens one event's payload and nothing else, so it may travel where the event does: whoever gets the message
//! gets the payload. It is signed with HMAC-SHA256 over the event's id and the end of its life, and compared in
//! constant time by the `hmac` crate. The clock is the caller's: signed and verified by the database's, since those
//! of several relays differ.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What a part of a path may hold as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// In front of what is signed, so that a signature made with the same secret for something else opens nothing here.
const PURPOSE: &[u8] = b"outbox-relay payload 1\n";

/// Makes and checks links.
#[derive(Clone)]
pub struct PayloadLinks {
    base: String,
    secret: SecretString,
    lifetime: Duration,
}

// By hand: whoever has the secret can read every payload.
impl fmt::Debug for PayloadLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadLinks").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    /// Made by somebody else, for another event, or changed.
    #[error("the signature is not of this link")]
    Forged,
    /// Its time is over.
    #[error("the link has expired; a new event has a new one")]
    Expired,
}

impl PayloadLinks {
    /// Links that begin with `base` (`https://relay.example.com`, without a slash at the end).
    pub fn new(base: impl Into<String>, secret: SecretString, lifetime: Duration) -> Self {
        let mut base = base.into();
        base.truncate(base.trim_end_matches('/').len());
        Self { base, secret, lifetime }
    }

    /// The link to an event's payload; `now` in seconds since 1970.
    pub fn link(&self, event_id: &str, now: i64) -> String {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires = now.saturating_add(lifetime);
        let signature =
            URL_SAFE_NO_PAD.encode(self.signed(event_id, expires).finalize().into_bytes());
        let (base, id) = (&self.base, utf8_percent_encode(event_id, UNRESERVED));
        format!("{base}/events/{id}/payload?expires={expires}&signature={signature}")
    }

    /// Whether the link was made here; whether it is too late, the database says, by whose clock it was made.
    ///
    /// # Errors
    /// [`LinkRefused::Forged`].
    pub fn verify(&self, event_id: &str, expires: i64, signature: &str) -> Result<(), LinkRefused> {
        let offered = URL_SAFE_NO_PAD.decode(signature).map_err(|_| LinkRefused::Forged)?;
        self.signed(event_id, expires).verify_slice(&offered).map_err(|_| LinkRefused::Forged)
    }

    fn signed(&self, event_id: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = new_mac(self.secret.expose_secret().as_bytes());
        mac.update(PURPOSE);
        // The number first: no id can then be confused with another and its time.
        mac.update(format!("{expires}\n").as_bytes());
        mac.update(event_id.as_bytes());
        mac
    }
}

#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of every length; the type says that some MACs do not"
)]
fn new_mac(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(secret: &str) -> PayloadLinks {
        PayloadLinks::new("https://r.example/", secret.into(), Duration::from_secs(60))
    }

    fn parts(link: &str) -> (i64, String) {
        let (_, query) = link.split_once("?expires=").unwrap();
        let (expires, signature) = query.split_once("&signature=").unwrap();
        (expires.parse().unwrap(), signature.to_owned())
    }

    #[test]
    fn a_link_is_for_one_event_and_one_end() {
        let link = links("s").link("a/b?", 1_000);
        assert!(
            link.starts_with("https://r.example/events/a%2Fb%3F/payload?expires=1060&"),
            "{link}"
        );
        let (expires, signature) = parts(&link);
        assert_eq!(expires, 1_060);
        let verify =
            |id, expires, signature: &str| links("s").verify(id, expires, signature).is_ok();
        assert!(verify("a/b?", expires, &signature));
        assert!(!verify("a/b", expires, &signature) && !verify("a/b?", expires + 1, &signature));
        for forged in ["", "x", &signature[1..], &format!("{signature}A"), "===="] {
            assert!(!verify("a/b?", expires, forged), "{forged}");
        }
        let other = links("t").verify("a/b?", expires, &signature);
        assert_eq!(other, Err(LinkRefused::Forged));
    }

    /// Checked against `printf … | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn a_signature_can_be_made_with_other_tools() {
        let (_, signature) = parts(&links("secret").link("id", 940));
        assert_eq!(signature, OPENSSL);
    }

    const OPENSSL: &str = "2mBZAd3Dqg9xkt7VTutKdS-z0m5TSLlinU4RN1-xS2s";

    #[test]
    fn debug_output_holds_no_secret() {
        assert!(!format!("{:?}", links("hunter2")).contains("hunter2"));
    }
}
