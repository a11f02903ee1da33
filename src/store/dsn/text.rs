//! The two spellings of a connection string, taken apart into parameters: URL and keyword form.
//!
//! As libpq reads them, with two differences. A URL's password ends at the *last* `@` of the
//! authority, so a raw `@` in it is understood (a host cannot contain one). And where a raw
//! delimiter makes the string ambiguous, it is refused: libpq would connect to a host made of half
//! a password, and print it.

use std::borrow::Cow;

use super::error::DsnError;

/// A connection string's parameters in order; the last of a name counts.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) pairs: Vec<(String, String)>,
    /// How many of `pairs` stood before the `?` of a URL, where delimiters were checked.
    pub(super) from_authority: usize,
    /// Quotes around the whole string were removed.
    pub(super) was_quoted: bool,
}

/// Takes a connection string of either form apart.
pub(super) fn take_apart(text: &str) -> Result<Parameters, DsnError> {
    let trimmed = text.trim();
    let unquoted = strip_quotes(trimmed);
    if unquoted.is_empty() {
        return Err(DsnError::Empty);
    }
    if unquoted.contains('\0') {
        return Err(DsnError::Syntax("it holds a NUL character; remove it"));
    }
    let mut parameters = match url_body(unquoted)? {
        Some(body) => url(body)?,
        None => Parameters { pairs: keywords(unquoted)?, ..Parameters::default() },
    };
    parameters.was_quoted = unquoted.len() != trimmed.len();
    Ok(parameters)
}

/// `docker --env-file` and some shells keep the quotes of `DATABASE_URL="postgres://..."`.
fn strip_quotes(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .map_or(text, str::trim)
}

/// What follows `postgres://`, or `None` for the keyword form.
fn url_body(text: &str) -> Result<Option<&str>, DsnError> {
    let Some((scheme, body)) = text.split_once("://") else {
        return Ok(None);
    };
    if matches!(scheme, "postgres" | "postgresql") {
        return Ok(Some(body));
    }
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | ':');
    if scheme.is_empty() || scheme.len() > 24 || !scheme.chars().all(is_scheme) {
        return Ok(None);
    }
    Err(DsnError::Scheme(scheme.to_owned()))
}

fn url(body: &str) -> Result<Parameters, DsnError> {
    let (authority, rest) = body.split_at(body.find(['/', '?']).unwrap_or(body.len()));
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, query),
        None => (rest, ""),
    };
    // With a ':' before it, a later raw '@' may be the true end of a password with '/' or '?' in it.
    if path.contains('@') || (authority.contains(':') && query.contains('@')) {
        return Err(DsnError::PercentEncode);
    }
    let mut pairs = Vec::new();
    let hosts = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            push_decoded(&mut pairs, "user", user)?;
            push_decoded(&mut pairs, "password", password)?;
            hosts
        }
        None => authority,
    };
    push_hosts(&mut pairs, hosts)?;
    push_decoded(&mut pairs, "dbname", path.strip_prefix('/').unwrap_or(path))?;
    let from_authority = pairs.len();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter
            .split_once('=')
            .ok_or(DsnError::Syntax("a parameter after '?' has no '='; write name=value"))?;
        pairs.push((decode(key)?.into_owned(), decode(value)?.into_owned()));
    }
    Ok(Parameters { pairs, from_authority, was_quoted: false })
}

fn push_decoded(pairs: &mut Vec<(String, String)>, key: &str, value: &str) -> Result<(), DsnError> {
    if !value.is_empty() {
        pairs.push((key.to_owned(), decode(value)?.into_owned()));
    }
    Ok(())
}

/// `a:1,[::1]:2,%2Ftmp` becomes `host=a,::1,/tmp` and `port=1,2,`.
fn push_hosts(pairs: &mut Vec<(String, String)>, list: &str) -> Result<(), DsnError> {
    if list.is_empty() {
        return Ok(());
    }
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for item in list.split(',') {
        let (host, port) = match item.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']').ok_or(DsnError::Syntax(
                    "an IPv6 host has no closing ']'; write [::1] or [::1]:5432",
                ))?;
                match port.strip_prefix(':') {
                    Some(port) => (host, port),
                    None if port.is_empty() => (host, ""),
                    None => {
                        return Err(DsnError::Syntax(
                            "something other than ':' and a port follows an IPv6 host's ']'",
                        ));
                    }
                }
            }
            None => item.split_once(':').unwrap_or((item, "")),
        };
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    // A comma that was encoded belongs to one name, and no host name or directory has one.
    if hosts.iter().any(|host| host.contains(',')) {
        return Err(DsnError::Syntax("a host holds an encoded comma"));
    }
    pairs.push(("host".to_owned(), hosts.join(",")));
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

/// Percent-decodes. A `%` that starts no escape stands for itself when the text has no true escape
/// either; a text with both is ambiguous.
fn decode(text: &str) -> Result<Cow<'_, str>, DsnError> {
    let bytes = text.as_bytes();
    let is_escape = |at: usize| {
        let hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
        hex(at + 1) && hex(at + 2)
    };
    let (mut escapes, mut literals) = (0_usize, 0_usize);
    for (at, _) in text.match_indices('%') {
        if is_escape(at) { escapes += 1 } else { literals += 1 }
    }
    match (escapes, literals) {
        (0, _) => Ok(Cow::Borrowed(text)),
        (_, 0) => {
            let decoded =
                percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| {
                    DsnError::Syntax("a percent-encoded part is not UTF-8; encode the UTF-8 bytes")
                })?;
            if decoded.contains('\0') {
                return Err(DsnError::Syntax("it holds an encoded NUL character; remove it"));
            }
            Ok(decoded)
        }
        _ => Err(DsnError::PercentEncode),
    }
}

/// `host=a port=1 password='it\'s'`: blanks around `=`, quotes and backslashes as in libpq.
fn keywords(text: &str) -> Result<Vec<(String, String)>, DsnError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(DsnError::Syntax(
                "it is neither a postgres:// URL nor name=value pairs (a value with blanks needs '...')",
            ));
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(DsnError::Syntax(
                "a name=value pair has no name or no '='; a value with blanks needs '...'",
            ));
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn value(text: &str) -> Result<(String, &str), DsnError> {
    let quoted = text.strip_prefix('\'');
    let body = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted.is_some() => return Ok((value, &body[at + 1..])),
            c if quoted.is_none() && c.is_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    match quoted {
        Some(_) => Err(DsnError::Syntax("a quoted value has no closing quote")),
        None => Ok((value, "")),
    }
}
