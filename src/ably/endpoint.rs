//! Where Ably is: the `endpoint` of its client specification (REC1), and whole URLs for everything
//! that speaks Ably locally.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::key::ApiKey;

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Nothing there.
    #[error("the Ably endpoint is empty; leave it out, or use \"main\"")]
    Blank,
    /// Neither a routing name, nor a host, nor a URL.
    #[error(
        "{0:?} is no Ably endpoint; use a routing name (main), a host (ably.example.com) or a URL (https://ably.example.com:8443)"
    )]
    Malformed(String),
    /// A path, query or fragment.
    #[error(
        "{0:?} has more than scheme, host and port; Ably's paths start at the root, remove the rest"
    )]
    NotABase(String),
    /// A user or password in the URL. The text is not repeated.
    #[error("the Ably endpoint holds a user or password; give the key as ABLY_API_KEY")]
    Credentials,
    /// An API key where the endpoint belongs. The text is not repeated.
    #[error("the Ably endpoint holds what looks like an API key; give that as ABLY_API_KEY")]
    Key,
    /// Neither http nor https.
    #[error("{0:?} is neither http nor https; use https://")]
    Scheme(String),
    /// The key would travel in the clear.
    #[error(
        "{0:?} would send the Ably key unencrypted, which Ably refuses (40103); use https://, or a host of this machine"
    )]
    PlainHttp(String),
}

/// Where Ably is, and which other hosts stand in for it by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    primary: Base,
    fallbacks: Vec<Base>,
    plain_http_allowed: bool,
}

impl Default for Endpoint {
    /// `main`: Ably's public cloud.
    fn default() -> Self {
        Self::routed("main", "realtime.ably.net", "fallback.ably-realtime.com")
    }
}

impl fmt::Display for Endpoint {
    /// The URL of the primary host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.primary.fmt(f)
    }
}

impl Endpoint {
    /// Reads `main` or another routing name, `nonprod:name`, a host name with or without port
    /// (https), or the URL of a server: `https://host:port`, and `http://host:port` on this machine.
    ///
    /// Routing names have Ably's fallback hosts; hosts and URLs have none of their own.
    ///
    /// # Errors
    /// See [`EndpointError`]; http to another machine among them.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        Self::parse_with(text, false)
    }

    /// As [`Endpoint::parse`], but http may lead to another machine, such as a side container. Whoever
    /// is on the way can then read the key.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse_allowing_plain_http(text: &str) -> Result<Self, EndpointError> {
        Self::parse_with(text, true)
    }

    fn parse_with(text: &str, plain_http_allowed: bool) -> Result<Self, EndpointError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EndpointError::Blank);
        }
        if let Some(name) = text.strip_prefix("nonprod:") {
            let name = routing_name(name, text)?;
            return Ok(Self::routed(
                &name,
                "realtime.ably-nonprod.net",
                "fallback.ably-realtime-nonprod.com",
            ));
        }
        if !is_host(text) {
            let name = routing_name(text, text)?;
            return Ok(Self::routed(&name, "realtime.ably.net", "fallback.ably-realtime.com"));
        }
        let primary = Base::parse(text, plain_http_allowed)?;
        Ok(Self { primary, fallbacks: Vec::new(), plain_http_allowed })
    }

    fn routed(name: &str, domain: &str, fallback_domain: &str) -> Self {
        let fallbacks = ["a", "b", "c", "d", "e"]
            .map(|region| Base::https(&format!("{name}.{region}.{fallback_domain}")));
        Self {
            primary: Base::https(&format!("{name}.{domain}")),
            fallbacks: fallbacks.to_vec(),
            plain_http_allowed: false,
        }
    }

    /// The primary host and then its fallbacks.
    pub(super) fn bases(&self, fallback: &Fallback) -> Result<Vec<Base>, EndpointError> {
        let mut bases = vec![self.primary.clone()];
        match fallback {
            Fallback::Default => bases.extend(self.fallbacks.iter().cloned()),
            Fallback::Off => {}
            Fallback::Hosts(hosts) => {
                for host in hosts {
                    let base = Base::parse(host.trim(), self.plain_http_allowed)?;
                    if !bases.contains(&base) {
                        bases.push(base);
                    }
                }
            }
        }
        Ok(bases)
    }
}

/// Which hosts stand in when the primary does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fallback {
    /// The endpoint's own: Ably's for a routing name, none for a host or URL.
    #[default]
    Default,
    /// None. For accounts that are bound to a region (codes 40330 to 40332, 50306).
    Off,
    /// These, as host names or URLs.
    Hosts(Vec<String>),
}

/// Scheme, host and port of a server: `https://main.realtime.ably.net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base(String);

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Base {
    fn https(host: &str) -> Self {
        Self(format!("https://{host}"))
    }

    /// The URL of a path on this server. The path is percent-encoded already.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Host and port, without the scheme.
    pub(super) fn server(&self) -> (&str, Option<u16>) {
        let server = self.0.split_once("://").map_or(self.0.as_str(), |(_, server)| server);
        let split = server.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        match split.map(|(host, port)| (host, port.parse().ok())) {
            Some((host, port @ Some(_))) => (host, port),
            _ => (server, None),
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }

    fn parse(text: &str, plain_http_allowed: bool) -> Result<Self, EndpointError> {
        // A key put here by mistake looks like a host with an odd port, and must not be repeated.
        let malformed = || match text.rsplit_once(':') {
            Some((_, rest)) if ApiKey::parse(text).is_ok() && rest.parse::<u32>().is_err() => {
                EndpointError::Key
            }
            _ => EndpointError::Malformed(text.to_owned()),
        };
        if text.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let url = if text.contains("://") {
            Url::parse(text)
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            Url::parse(&format!("https://[{text}]"))
        } else {
            Url::parse(&format!("https://{text}"))
        }
        .map_err(|_| malformed())?;
        let host = url.host_str().ok_or_else(malformed)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::NotABase(text.to_owned()));
        }
        match url.scheme() {
            "https" => {}
            "http" if plain_http_allowed || is_loopback(host) => {}
            "http" => return Err(EndpointError::PlainHttp(text.to_owned())),
            _ => return Err(EndpointError::Scheme(text.to_owned())),
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self(format!("{}://{host}{port}", url.scheme())))
    }
}

/// Whether a text is a host or URL rather than a routing name (REC1b2), with or without port.
fn is_host(text: &str) -> bool {
    text.contains(['.', '[', '/', '@'])
        || text.contains("::")
        || text == "localhost"
        || text.starts_with("localhost:")
}

fn routing_name(name: &str, text: &str) -> Result<String, EndpointError> {
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.is_empty()
        && !name.starts_with('-')
        && !name.ends_with('-');
    // A DNS label holds 63 bytes at most.
    if !valid || name.len() > 63 {
        return Err(EndpointError::Malformed(text.to_owned()));
    }
    Ok(name.to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(text: &str, fallback: &Fallback) -> Vec<String> {
        let endpoint = Endpoint::parse(text).unwrap();
        endpoint.bases(fallback).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn routing_names_have_ablys_fallback_hosts() {
        assert_eq!(
            bases("main", &Fallback::Default),
            [
                "https://main.realtime.ably.net",
                "https://main.a.fallback.ably-realtime.com",
                "https://main.b.fallback.ably-realtime.com",
                "https://main.c.fallback.ably-realtime.com",
                "https://main.d.fallback.ably-realtime.com",
                "https://main.e.fallback.ably-realtime.com",
            ]
        );
        assert_eq!(Endpoint::default(), Endpoint::parse(" MAIN\n").unwrap());
        let nonprod = bases("nonprod:sandbox", &Fallback::Default);
        assert_eq!(nonprod[0], "https://sandbox.realtime.ably-nonprod.net");
        assert_eq!(nonprod[5], "https://sandbox.e.fallback.ably-realtime-nonprod.com");
        assert_eq!(bases("main", &Fallback::Off), ["https://main.realtime.ably.net"]);
    }

    #[test]
    fn hosts_and_urls_are_taken_as_they_are_and_have_no_fallbacks_of_their_own() {
        for (text, url) in [
            ("ably.example.com", "https://ably.example.com"),
            ("ably.example.com:8443", "https://ably.example.com:8443"),
            ("localhost", "https://localhost"),
            ("localhost:8080", "https://localhost:8080"),
            ("::1", "https://[::1]"),
            ("[::1]:8443", "https://[::1]:8443"),
            ("https://Ably.Example.com:443/", "https://ably.example.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost:8080/", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(bases(text, &Fallback::Default), [url], "{text}");
        }
    }

    #[test]
    fn own_fallback_hosts_serve_every_endpoint() {
        let own = Fallback::Hosts(vec![
            "b.example.com".into(),
            " http://127.0.0.1:1".into(),
            "https://a.example.com".into(),
        ]);
        assert_eq!(
            bases("a.example.com", &own),
            ["https://a.example.com", "https://b.example.com", "http://127.0.0.1:1"]
        );
        let bad = Fallback::Hosts(vec!["http://b.example.com".into()]);
        assert!(Endpoint::default().bases(&bad).is_err());
    }

    #[test]
    fn wrong_endpoints_are_refused_with_their_reason() {
        let text = |t: &str| t.to_owned();
        for (input, error) in [
            ("", EndpointError::Blank),
            ("  ", EndpointError::Blank),
            ("ma in", EndpointError::Malformed(text("ma in"))),
            ("main:8080", EndpointError::Malformed(text("main:8080"))),
            ("nonprod:", EndpointError::Malformed(text("nonprod:"))),
            ("-main", EndpointError::Malformed(text("-main"))),
            ("https://", EndpointError::Malformed(text("https://"))),
            ("a.b:99999", EndpointError::Malformed(text("a.b:99999"))),
            ("https://a.b/x", EndpointError::NotABase(text("https://a.b/x"))),
            ("https://a.b?v=1", EndpointError::NotABase(text("https://a.b?v=1"))),
            ("ftp://a.b", EndpointError::Scheme(text("ftp://a.b"))),
            ("http://a.b", EndpointError::PlainHttp(text("http://a.b"))),
            ("http://127.0.0.1.a.b", EndpointError::PlainHttp(text("http://127.0.0.1.a.b"))),
            ("http://10.0.0.1:80", EndpointError::PlainHttp(text("http://10.0.0.1:80"))),
            ("https://k:topsecret@a.b", EndpointError::Credentials),
            ("app.key:topsecret", EndpointError::Key),
        ] {
            let got = Endpoint::parse(input).unwrap_err();
            assert_eq!(got, error, "{input}");
            assert!(!got.to_string().contains("topsecret"));
        }
    }

    #[test]
    fn plain_http_to_another_machine_needs_a_word() {
        let endpoint = Endpoint::parse_allowing_plain_http("http://emulator.test:8080").unwrap();
        assert_eq!(endpoint.to_string(), "http://emulator.test:8080");
    }
}
