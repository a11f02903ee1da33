//! From parameters to a [`Dsn`]: what each name means.

use std::time::Duration;

use super::error::DsnError;
use super::names::{IGNORED, NO_PREPARED_STATEMENTS, UNSUPPORTED, nearest};
use super::server::{Host, servers};
use super::text::Parameters;
use super::{ChannelBinding, Dsn, Parsed, SessionWanted, SocketOptions, Tls, TlsMode};

/// The longest connect time-out that is honoured. "For ever" (0) becomes this: a start-up that hangs
/// without a word is worse than a late error.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Everything as it stands in the string, before the parts are weighed against each other.
#[derive(Default)]
struct Given<'a> {
    host: Option<&'a str>,
    address: Option<&'a str>,
    port: Option<&'a str>,
    user: Option<&'a str>,
    password: Option<&'a str>,
    database: Option<&'a str>,
    options: Option<&'a str>,
    schema: Option<&'a str>,
    pooler: bool,
    session: Option<SessionWanted>,
    shuffle: bool,
    sockets: SocketOptions,
    tls: GivenTls<'a>,
    ignored: Vec<&'static str>,
}

#[derive(Default)]
struct GivenTls<'a> {
    mode: Option<TlsMode>,
    /// `ssl=true` and the like, which count only without `sslmode`.
    mode_by_flag: Option<TlsMode>,
    /// node-postgres' `no-verify`.
    no_verify: bool,
    /// Prisma's `sslaccept`: `true` is `strict`.
    accept_strict: Option<bool>,
    root: Option<&'a str>,
    cert: Option<&'a str>,
    key: Option<&'a str>,
    identity: bool,
    /// For Prisma's `sslidentity`, which is not read either, or libpq's for an encrypted `sslkey`.
    password: bool,
    direct: bool,
    hide_name: bool,
    tls13_only: bool,
    channel_binding: Option<ChannelBinding>,
}

/// Reads all parameters, weighs them, and says what was ignored.
pub(super) fn read(parameters: &Parameters) -> Result<Parsed, DsnError> {
    let mut given = Given::default();
    let mut password_seen = false;
    for (i, (key, value)) in parameters.pairs.iter().enumerate() {
        let known = given.server(key, value)?
            || given.socket(key, value)?
            || given.tls.take(key, value)?
            || given.foreign(key, value)?;
        if !known {
            let suggestion = nearest(key);
            return Err(match password_seen {
                true => DsnError::UnknownAfterPassword { suggestion },
                false => DsnError::UnknownParameter { key: super::printable(key), suggestion },
            });
        }
        password_seen |= key == "password" && i >= parameters.from_authority;
    }
    let mut warnings = Vec::new();
    if parameters.was_quoted {
        warnings.push("the quotes around the connection string were removed".to_owned());
    }
    if !given.ignored.is_empty() {
        given.ignored.sort_unstable();
        given.ignored.dedup();
        warnings.push(format!(
            "connection string parameters that have no effect here: {}",
            given.ignored.join(", ")
        ));
    }
    let tls = given.tls.weigh(&mut warnings)?;
    let servers = servers(given.host, given.address, given.port)?;
    let on_tcp = servers.iter().any(|server| matches!(server.host, Host::Tcp(_)));
    if on_tcp
        && tls.mode == Some(TlsMode::Disable)
        && tls.channel_binding == ChannelBinding::Require
    {
        return Err(DsnError::Conflict(
            "channel_binding=require needs TLS; remove it or sslmode=disable",
        ));
    }
    let pooler = given.pooler || servers.iter().any(super::Server::is_known_transaction_pooler);
    let text = |value: Option<&str>| value.filter(|v| !v.is_empty()).map(str::to_owned);
    let dsn = Dsn {
        servers,
        user: text(given.user),
        password: given.password.filter(|p| !p.is_empty()).map(Into::into),
        database: text(given.database),
        options: text(given.options),
        tls,
        session: given.session.unwrap_or(SessionWanted::ReadWrite),
        shuffle: given.shuffle,
        sockets: given.sockets,
        schema: text(given.schema),
        transaction_pooler: pooler,
    };
    Ok(Parsed { dsn, warnings })
}

impl<'a> Given<'a> {
    fn server(&mut self, key: &str, value: &'a str) -> Result<bool, DsnError> {
        match key {
            "host" => self.host = Some(value),
            "hostaddr" => self.address = Some(value),
            "port" => self.port = Some(value),
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" => self.database = Some(value),
            "options" => self.options = Some(value),
            "schema" => self.schema = Some(value),
            "load_balance_hosts" => {
                self.shuffle = choice(
                    "load_balance_hosts",
                    "disable or random",
                    value,
                    &[("disable", false), ("random", true)],
                )?;
            }
            "target_session_attrs" => {
                let expected =
                    "read-write, primary or any: the relay writes, so it cannot use a standby";
                self.session = Some(choice(
                    "target_session_attrs",
                    expected,
                    value,
                    &[
                        ("any", SessionWanted::Any),
                        ("read-write", SessionWanted::ReadWrite),
                        ("primary", SessionWanted::Primary),
                    ],
                )?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn socket(&mut self, key: &str, value: &str) -> Result<bool, DsnError> {
        let sockets = &mut self.sockets;
        match key {
            "connect_timeout" => {
                let seconds = number("connect_timeout", "a whole number of seconds", value)?;
                sockets.connect_timeout = Some(match seconds {
                    0 => CONNECT_TIMEOUT_MAX,
                    n => Duration::from_secs(n.into()).min(CONNECT_TIMEOUT_MAX),
                });
            }
            "keepalives" => {
                sockets.keepalives_off = number("keepalives", "0 or 1", value)? == 0;
            }
            "keepalives_idle" => {
                sockets.keepalive_idle = seconds("keepalives_idle", value)?;
            }
            "keepalives_interval" => {
                sockets.keepalive_interval = seconds("keepalives_interval", value)?;
            }
            // The second is tokio-postgres' name for it.
            "keepalives_count" | "keepalives_retries" => {
                let count = number("keepalives_count", "a whole number up to 127", value)?;
                // 127 is Linux' limit; 0 asks for the default.
                sockets.keepalive_count = Some(count.min(127)).filter(|n| *n > 0);
            }
            "tcp_user_timeout" => {
                let ms = number("tcp_user_timeout", "a whole number of milliseconds", value)?;
                sockets.tcp_user_timeout =
                    Some(Duration::from_millis(ms.into())).filter(|_| ms > 0);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Parameters of other drivers, and those that must not be ignored.
    fn foreign(&mut self, key: &str, value: &str) -> Result<bool, DsnError> {
        if let Some((_, off)) = NO_PREPARED_STATEMENTS.iter().find(|(name, _)| *name == key) {
            self.pooler |= off.contains(&value);
            return Ok(true);
        }
        if let Some(name) = IGNORED.iter().find(|name| **name == key) {
            self.ignored.push(name);
            return Ok(true);
        }
        if key == "gssencmode" {
            if value == "require" {
                let remedy = "use TLS: sslmode=verify-full";
                return Err(DsnError::Unsupported { key: "gssencmode=require", remedy });
            }
            return Ok(true);
        }
        match UNSUPPORTED.iter().find(|(name, _)| *name == key) {
            Some((key, remedy)) => Err(DsnError::Unsupported { key, remedy }),
            None => Ok(false),
        }
    }
}

impl<'a> GivenTls<'a> {
    fn take(&mut self, key: &str, value: &'a str) -> Result<bool, DsnError> {
        match key {
            "sslmode" => (self.mode, self.no_verify) = sslmode(value)?,
            "ssl" => {
                let on = TlsMode::Require;
                let choices =
                    [("true", on), ("1", on), ("false", TlsMode::Disable), ("0", TlsMode::Disable)];
                self.mode_by_flag = Some(choice("ssl", "true or false", value, &choices)?);
            }
            "sslaccept" => {
                let choices = [("strict", true), ("accept_invalid_certs", false)];
                let expected = "strict or accept_invalid_certs";
                self.accept_strict = Some(choice("sslaccept", expected, value, &choices)?);
            }
            "sslrootcert" => self.root = Some(value).filter(|v| !v.is_empty()),
            "sslcert" => self.cert = Some(value).filter(|v| !v.is_empty()),
            "sslkey" => self.key = Some(value).filter(|v| !v.is_empty()),
            "sslidentity" => self.identity = true,
            "sslpassword" => self.password = true,
            "sslnegotiation" => {
                let choices = [("postgres", false), ("direct", true)];
                self.direct = choice("sslnegotiation", "postgres or direct", value, &choices)?;
            }
            "sslsni" => {
                self.hide_name = choice("sslsni", "0 or 1", value, &[("1", false), ("0", true)])?;
            }
            "ssl_min_protocol_version" => {
                let expected = "TLSv1.2 or TLSv1.3";
                let choices =
                    [("TLSv1", false), ("TLSv1.1", false), ("TLSv1.2", false), ("TLSv1.3", true)];
                self.tls13_only = choice("ssl_min_protocol_version", expected, value, &choices)?;
            }
            "channel_binding" => {
                let choices = [
                    ("disable", ChannelBinding::Disable),
                    ("prefer", ChannelBinding::Prefer),
                    ("require", ChannelBinding::Require),
                ];
                let expected = "disable, prefer or require";
                self.channel_binding = Some(choice("channel_binding", expected, value, &choices)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn weigh(self, warnings: &mut Vec<String>) -> Result<Tls, DsnError> {
        if self.password && !self.identity {
            return Err(DsnError::Unsupported {
                key: "sslpassword",
                remedy: "decrypt the key (openssl pkey) and give it as sslkey",
            });
        }
        if self.identity {
            warnings.push(
                "sslidentity (PKCS #12) is not read; give the client certificate as PEM in sslcert and sslkey"
                    .to_owned(),
            );
        }
        let mut root = self.root;
        let client = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            (None, Some(_)) => return Err(DsnError::Conflict("sslkey needs sslcert beside it")),
            (Some(cert), None) => {
                // In libpq sslcert is the client's certificate and useless without its key; in Prisma it
                // is the server's root. Only one reading makes sense.
                root = root.or(Some(cert));
                warnings.push(
                    "sslcert without sslkey is read as Prisma reads it: as the root certificate; write sslrootcert"
                        .to_owned(),
                );
                None
            }
        };
        let mode = self.mode(root)?;
        Ok(Tls {
            mode,
            root_file: root.filter(|root| *root != "system").map(Into::into),
            client,
            direct: self.direct,
            send_name: !self.hide_name,
            tls13_only: self.tls13_only,
            channel_binding: self.channel_binding.unwrap_or(ChannelBinding::Prefer),
        })
    }

    fn mode(&self, root: Option<&str>) -> Result<Option<TlsMode>, DsnError> {
        let system = root == Some("system");
        let accepts_any = self.no_verify || self.accept_strict == Some(false);
        let mode = match self.mode.or(self.mode_by_flag) {
            Some(TlsMode::Disable) => Some(TlsMode::Disable),
            _ if self.accept_strict == Some(true) => Some(TlsMode::VerifyFull),
            None if accepts_any => Some(TlsMode::Require),
            None if root.is_some() => Some(TlsMode::VerifyFull),
            Some(TlsMode::Require) if root.is_some() && !system && !accepts_any => {
                Some(TlsMode::VerifyCa)
            }
            other => other,
        };
        if system && mode.is_some_and(|mode| mode < TlsMode::VerifyFull) {
            return Err(DsnError::Conflict(
                "sslrootcert=system goes only with sslmode=verify-full: for a weaker mode any public authority would do",
            ));
        }
        if self.direct && mode.is_none_or(|mode| mode < TlsMode::Require) {
            return Err(DsnError::Conflict(
                "sslnegotiation=direct needs sslmode=require, verify-ca or verify-full",
            ));
        }
        Ok(mode)
    }
}

fn sslmode(value: &str) -> Result<(Option<TlsMode>, bool), DsnError> {
    let mode = choice(
        "sslmode",
        "disable, allow, prefer, require, verify-ca, verify-full or no-verify",
        value,
        &[
            ("disable", TlsMode::Disable),
            ("allow", TlsMode::Allow),
            ("prefer", TlsMode::Prefer),
            ("require", TlsMode::Require),
            ("no-verify", TlsMode::Require),
            ("verify-ca", TlsMode::VerifyCa),
            ("verify-full", TlsMode::VerifyFull),
        ],
    )?;
    Ok((Some(mode), value == "no-verify"))
}

fn choice<T: Copy>(
    key: &'static str,
    expected: &'static str,
    value: &str,
    choices: &[(&str, T)],
) -> Result<T, DsnError> {
    choices
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, meaning)| *meaning)
        .ok_or(DsnError::InvalidValue { key, expected })
}

fn number(key: &'static str, expected: &'static str, value: &str) -> Result<u32, DsnError> {
    value.trim().parse().map_err(|_| DsnError::InvalidValue { key, expected })
}

/// Seconds, at most what Linux takes (32767); 0 asks for the default.
fn seconds(key: &'static str, value: &str) -> Result<Option<Duration>, DsnError> {
    let seconds = number(key, "a whole number of seconds", value)?.min(32_767);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}
