//! Basic authentication with one key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{EmulatorError, Refused};

/// The key that is accepted. No `Debug`: it holds the secret.
pub(super) struct Credentials {
    app: String,
    name: String,
    whole: String,
}

impl Credentials {
    /// # Errors
    /// When it is not `app.key:secret`.
    pub(super) fn parse(api_key: &str) -> Result<Self, EmulatorError> {
        let (name, secret) = api_key.split_once(':').ok_or(EmulatorError::MalformedKey)?;
        let (app, key) = name.split_once('.').ok_or(EmulatorError::MalformedKey)?;
        let blank = |part: &str| part.is_empty() || part.contains(char::is_whitespace);
        if blank(app) || blank(key) || blank(secret) {
            return Err(EmulatorError::MalformedKey);
        }
        Ok(Self { app: app.to_owned(), name: name.to_owned(), whole: api_key.to_owned() })
    }

    /// Checks an `Authorization` header or a `key` parameter; the header wins, as at Ably.
    ///
    /// # Errors
    /// Ably's refusals: 40101 for none or a wrong secret, 40005 for what is no key, 40400 for another
    /// application or key.
    pub(super) fn check(&self, header: Option<&str>, key: Option<&str>) -> Result<(), Refused> {
        let offered = match (header, key) {
            (Some(header), _) => basic(header)?,
            (None, Some(key)) => key.to_owned(),
            (None, None) => return Err(unauthorized("No authentication information provided")),
        };
        if offered == self.whole {
            return Ok(());
        }
        let Some((name, _)) = offered.split_once(':') else {
            return Err(Refused::bad(40_005, "The key is unreadable; it must be app.key:secret"));
        };
        let Some((app, _)) = name.split_once('.') else {
            return Err(Refused::bad(40_005, "The key name is unreadable; it must be app.key"));
        };
        if app != self.app {
            return Err(Refused::new(404, 40_400, format!("No application found with id {app}")));
        }
        if name != self.name {
            return Err(Refused::new(404, 40_400, format!("No key found with name {name}")));
        }
        Err(unauthorized("Invalid key secret"))
    }
}

fn unauthorized(message: &str) -> Refused {
    Refused::new(401, 40_101, message)
}

fn basic(header: &str) -> Result<String, Refused> {
    let Some((scheme, rest)) = header.split_once(' ') else {
        return Err(unauthorized("The Authorization header is unreadable"));
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unauthorized("The emulator takes Basic authentication with a key only"));
    }
    STANDARD
        .decode(rest.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| unauthorized("The Authorization header is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(header: Option<&str>, key: Option<&str>) -> (u16, u32) {
        let credentials = Credentials::parse("app.key:se:cret").unwrap();
        credentials.check(header, key).map_or_else(|r| (r.status, r.code), |()| (200, 0))
    }

    #[test]
    fn the_key_opens_as_header_and_as_parameter() {
        let header = format!("Basic {}", STANDARD.encode("app.key:se:cret"));
        assert_eq!(code(Some(&header), None), (200, 0));
        assert_eq!(code(None, Some("app.key:se:cret")), (200, 0));
        assert_eq!(code(Some(&header), Some("wrong")), (200, 0), "the header wins");
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told_as_ably_tells_it() {
        assert_eq!(code(None, None), (401, 40_101));
        assert_eq!(code(None, Some("app.key:other")), (401, 40_101));
        assert_eq!(code(None, Some("app.other:se:cret")), (404, 40_400));
        assert_eq!(code(None, Some("other.key:se:cret")), (404, 40_400));
        assert_eq!(code(None, Some("nonsense")), (400, 40_005));
        assert_eq!(code(Some("Bearer abc"), None), (401, 40_101));
        assert_eq!(code(Some("Basic ~"), None), (401, 40_101));
    }

    #[test]
    fn a_malformed_key_is_refused_without_repeating_it() {
        for bad in ["", "nosecret", "app.key", "appkey:secret", ".k:s", "a.:s", "a.k:", "a.k:s s"] {
            let Err(error) = Credentials::parse(bad) else { panic!("{bad} was taken") };
            assert!(bad.is_empty() || !error.to_string().contains(&format!(" {bad} ")));
        }
    }
}
