//! The API key: a printable name and a secret that never prints.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

/// Why a text is no API key. Never holds any part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing there.
    #[error("the Ably key is empty; copy it from the app's \"API keys\" page")]
    Blank,
    /// A quote around it, which a shell would have removed and an env file may not.
    #[error("the Ably key has a quote around it; remove the quotes")]
    Quoted,
    /// No colon: only the name, or something else.
    #[error("the Ably key has no ':'; it looks like appId.keyId:secret, and all of it is needed")]
    NoSecret,
    /// The part before the colon is not `appId.keyId`.
    #[error("the Ably key's name (before ':') is not appId.keyId; copy the whole key again")]
    Name,
    /// The secret is empty or holds a character that no secret has.
    #[error(
        "the Ably key's secret (after ':') is empty or holds a blank; copy the whole key again"
    )]
    Secret,
}

/// An Ably API key, `appId.keyId:secret`.
#[derive(Clone)]
pub struct ApiKey {
    name: String,
    secret: SecretString,
}

impl ApiKey {
    /// Reads `appId.keyId:secret`; blanks around it (a file's last newline) do not matter.
    ///
    /// # Errors
    /// When it is not of that form: see [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Blank);
        }
        if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
            return Err(KeyError::Quoted);
        }
        let (name, secret) = text.split_once(':').ok_or(KeyError::NoSecret)?;
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !name.split_once('.').is_some_and(|(app, key)| word(app) && word(key)) {
            return Err(KeyError::Name);
        }
        if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(KeyError::Secret);
        }
        Ok(Self { name: name.to_owned(), secret: secret.into() })
    }

    /// `appId.keyId`: safe to print.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The app that it belongs to. Ably knows ids and channels per app.
    pub fn app(&self) -> &str {
        self.name.split_once('.').map_or("", |(app, _)| app)
    }

    /// The value of the `Authorization` header.
    pub(super) fn authorization(&self) -> SecretString {
        let pair = format!("{}:{}", self.name, self.secret.expose_secret());
        format!("Basic {}", STANDARD.encode(pair)).into()
    }

    /// `text` without the secret, should a server have echoed it.
    pub(super) fn redact(&self, text: String) -> String {
        let secret = self.secret.expose_secret();
        let encoded = STANDARD.encode(format!("{}:{secret}", self.name));
        if text.contains(secret) || text.contains(&encoded) {
            return text.replace(&encoded, "[redacted]").replace(secret, "[redacted]");
        }
        text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_name_and_a_secret() {
        let key = ApiKey::parse(" app1.key-2:s3cret:with/odd+chars= \n").unwrap();
        assert_eq!((key.name(), key.app()), ("app1.key-2", "app1"));
        assert_eq!(
            key.authorization().expose_secret(),
            "Basic YXBwMS5rZXktMjpzM2NyZXQ6d2l0aC9vZGQrY2hhcnM9"
        );
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_without_the_key() {
        for (text, error) in [
            ("", KeyError::Blank),
            (" \n", KeyError::Blank),
            ("\"a.b:topsecret\"", KeyError::Quoted),
            ("a.b:topsecret'", KeyError::Quoted),
            ("a.b", KeyError::NoSecret),
            ("topsecret", KeyError::NoSecret),
            ("ab:topsecret", KeyError::Name),
            ("a.:topsecret", KeyError::Name),
            ("a.b.c:topsecret", KeyError::Name),
            ("<a.b>:topsecret", KeyError::Name),
            ("a.b:", KeyError::Secret),
            ("a.b:top secret", KeyError::Secret),
            ("a.b:topsecret\u{e9}", KeyError::Secret),
        ] {
            let got = ApiKey::parse(text).unwrap_err();
            assert_eq!(got, error, "{text}");
            assert!(!format!("{got} {got:?}").contains("topsecret"));
        }
    }

    #[test]
    fn a_key_prints_without_its_secret_and_takes_it_out_of_other_texts() {
        let key = ApiKey::parse("a.b:topsecret").unwrap();
        assert_eq!(format!("{key:?}"), r#"ApiKey { name: "a.b", .. }"#);
        let echo = format!("a.b:topsecret {} rest", STANDARD.encode("a.b:topsecret"));
        assert_eq!(key.redact(echo), "a.b:[redacted] [redacted] rest");
    }
}
