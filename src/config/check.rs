//! Checks of text values: what can be seen without the layer that uses them.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::problem::quoted;
use crate::domain::routing::Template;

/// The longest schema name in bytes: PostgreSQL cuts names at NAMEDATALEN - 1, silently.
const SCHEMA_BYTES_MAX: usize = 63;

/// The shortest token of our own, in characters.
const TOKEN_CHARS_MIN: usize = 16;

/// The shortest secret to sign links with, in characters: as many as its signatures have bytes.
const SECRET_CHARS_MIN: usize = 32;

/// The longest `source` of CloudEvents, in bytes: every message repeats it.
const SOURCE_BYTES_MAX: usize = 200;

/// What a connection string means is the store's business; here only what cannot be one.
pub(super) fn database_url(url: &str) -> Result<(), String> {
    let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if url.contains('\0') || url.contains('\n') {
        Err("holds a line break or a zero byte".to_owned())
    } else if known || (url.contains('=') && !url.contains("://")) {
        Ok(())
    } else {
        Err("is neither a postgres:// URL nor `key=value` pairs".to_owned())
    }
}

pub(super) fn schema(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("is empty".to_owned())
    } else if name.len() > SCHEMA_BYTES_MAX {
        Err(format!("has {} bytes", name.len()))
    } else if name.contains('\0') {
        Err("holds a zero byte".to_owned())
    } else if name.starts_with("pg_") || name == "information_schema" {
        Err("belongs to PostgreSQL".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn api_key(key: &str) -> Result<(), String> {
    let shape = key.split_once(':').and_then(|(name, secret)| {
        let (app, id) = name.split_once('.')?;
        (!app.is_empty() && !id.is_empty() && !secret.is_empty()).then_some(())
    });
    if key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("holds a blank or a line break".to_owned())
    } else if shape.is_none() {
        Err("is not of the form appId.keyId:secret".to_owned())
    } else {
        Ok(())
    }
}

/// How an endpoint becomes hosts is the Ably client's business; here only what cannot be one.
pub(super) fn endpoint(endpoint: &str) -> Result<(), String> {
    let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme);
    if endpoint.is_empty() || endpoint.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("is empty or holds a blank".to_owned())
    } else if scheme.is_some_and(|scheme| scheme != "http" && scheme != "https") {
        Err("has a scheme other than http and https".to_owned())
    } else if endpoint.contains('@') {
        Err("holds credentials".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn directory(path: &str) -> Result<(), String> {
    if path.is_empty() || path.contains('\0') {
        Err("is empty or holds a zero byte".to_owned())
    } else {
        Ok(())
    }
}

/// A file must look like one: `tabel` is a slip of the pen, not a file.
pub(super) fn retention_archive(name: &str) -> Result<(), String> {
    if matches!(name, "off" | "table") {
        Ok(())
    } else if name.contains('\0') || !name.ends_with(".zst") || name == ".zst" {
        Err("is neither off nor table nor a file that ends in .zst".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn http_listen(address: &str) -> Result<(), String> {
    if address == "off" || address.parse::<std::net::SocketAddr>().is_ok() {
        Ok(())
    } else {
        Err("is neither off nor an address with a port".to_owned())
    }
}

/// What a header can carry, and what nobody guesses by trying.
pub(super) fn http_token(token: &str) -> Result<(), String> {
    if token.chars().count() < TOKEN_CHARS_MIN {
        Err(format!("has fewer than {TOKEN_CHARS_MIN} characters"))
    } else {
        publish_token(token)
    }
}

/// Users have theirs already, of whatever length.
pub(super) fn publish_token(token: &str) -> Result<(), String> {
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        Err("is empty, or holds something other than visible ASCII characters".to_owned())
    } else {
        Ok(())
    }
}

/// All that is wrong with it.
pub(super) fn channel_template(text: &str) -> Result<(), String> {
    Template::parse(text)
        .map(drop)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; it "))
}

/// A module is the first segment of an event type.
pub(super) fn modules(text: &str) -> Result<(), String> {
    match text.split(',').map(str::trim).find(|name| name.is_empty() || name.contains('.')) {
        Some("") => Err("names an empty module".to_owned()),
        Some(name) => Err(format!("names {}, which is more than a module", quoted(name))),
        None => Ok(()),
    }
}

pub(super) fn event_source(source: &str) -> Result<(), String> {
    let in_uri = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    if source.is_empty() || source.len() > SOURCE_BYTES_MAX {
        Err(format!("has {} bytes", source.len()))
    } else if !source.chars().all(in_uri) {
        Err("holds a character that no URI has".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn link_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        Err("is no http or https URL".to_owned())
    } else if !url.chars().all(|c| c.is_ascii_graphic()) || url.contains(['?', '#', '@']) {
        Err("holds a query, a fragment, credentials or a blank".to_owned())
    } else if url.len() > 1_000 {
        Err("has more than 1000 characters".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn link_secret(secret: &str) -> Result<(), String> {
    if secret.chars().count() < SECRET_CHARS_MIN {
        Err(format!("has fewer than {SECRET_CHARS_MIN} characters"))
    } else {
        publish_token(secret)
    }
}

pub(super) fn log_level(directives: &str) -> Result<(), String> {
    for part in directives.split(',').map(str::trim) {
        // A lone word is a target for `Targets`, so that `inof` would silently mean "trace of inof".
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() || level.is_empty() {
            return Err(format!("has no level {}", quoted(level)));
        }
    }
    directives.parse::<Targets>().map(drop).map_err(|_| "is not understood".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused() {
        assert!(schema("pg_outbox").is_err() && schema(&"ä".repeat(32)).is_err());
        assert!(schema("").is_err() && schema("Shop Outbox").is_ok());
        assert!(api_key("a.b:c").is_ok() && api_key("a.b:c:d").is_ok());
        for key in ["", "a.b", "ab:c", ".b:c", "a.:c", "a.b:", "a.b:c\n"] {
            assert!(api_key(key).is_err(), "{key:?}");
        }
        assert!(database_url("host=/tmp user=x").is_ok());
        assert!(database_url("mysql://h/d?a=b").is_err() && database_url("x").is_err());
        assert!(endpoint("ftp://x").is_err() && endpoint("http://u:p@h").is_err());
        assert!(endpoint("http://[::1]:1").is_ok());
        assert!(retention_archive("tabel").is_err() && retention_archive(".zst").is_err());
        assert!(retention_archive("table").is_ok() && retention_archive("/a/b.jsonl.zst").is_ok());
        assert!(http_listen("localhost").is_err() && http_listen(":9464").is_err());
        assert!(http_listen("off").is_ok() && http_listen("[::1]:9464").is_ok());
        assert!(http_token("short").is_err() && http_token(&"x".repeat(16)).is_ok());
        assert!(publish_token("").is_err() && publish_token("a b").is_err());
        assert!(publish_token("s").is_ok());
        let wrong = channel_template("{tenant}").unwrap_err();
        assert!(wrong.contains("{module}") && wrong.contains("; it lacks {tenant_id}"), "{wrong}");
        assert!(modules("a,,b").is_err() && modules("a.b").is_err() && modules("a, b").is_ok());
        assert!(event_source("a b").is_err() && event_source("").is_err());
        assert!(event_source("urn:x").is_ok() && link_url("https://a.b/c").is_ok());
        for url in ["ftp://a", "https://", "https:///x", "https://u:p@h", "http://h?a", "a"] {
            assert!(link_url(url).is_err(), "{url:?}");
        }
        assert!(link_secret(&"x".repeat(31)).is_err() && link_secret(&"x".repeat(32)).is_ok());
        for directives in ["inof", "", "info,", "a=b", "hyper"] {
            assert!(log_level(directives).is_err(), "{directives:?}");
        }
        assert!(log_level("info,outbox_relay::store=debug").is_ok());
    }
}
