//! The servers of a connection string.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::error::DsnError;
use super::{HOSTS_MAX, TlsMode};

/// libpq's and PostgreSQL's default.
const DEFAULT_PORT: u16 = 5432;
/// Where distributions and self-built servers put their socket, in libpq's order of likelihood.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One of the servers to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Server {
    /// Name, address or socket directory.
    pub(in crate::store) host: Host,
    /// Connect here and keep the host for its certificate.
    pub(in crate::store) address: Option<IpAddr>,
    /// TCP port, or the number in a socket's name.
    pub(in crate::store) port: u16,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Host {
    /// Name or address, without brackets.
    Tcp(String),
    /// Directory of a unix socket.
    Unix(PathBuf),
}

impl Server {
    /// The mode when the string has none; reasons in the module's documentation.
    pub(in crate::store) fn default_tls_mode(&self) -> TlsMode {
        let private = match &self.host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                let address = self.address.or_else(|| name.parse().ok());
                address.map_or_else(|| is_private_name(name), is_private_address)
            }
        };
        if private { TlsMode::Prefer } else { TlsMode::Require }
    }

    /// Hosted poolers in transaction mode that can be told by their names: Neon's, and Supabase's by
    /// its port (5432 of the same host is in session mode).
    pub(super) fn is_known_transaction_pooler(&self) -> bool {
        let Host::Tcp(name) = &self.host else {
            return false;
        };
        let name = name.to_ascii_lowercase();
        let neon = name.ends_with(".neon.tech")
            && name.split('.').next().is_some_and(|first| first.ends_with("-pooler"));
        neon || (name.ends_with(".pooler.supabase.com") && self.port == 6543)
    }
}

fn is_private_name(name: &str) -> bool {
    const SUFFIXES: [&str; 5] = [".localhost", ".local", ".internal", ".svc", ".cluster.local"];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    !name.contains('.') || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

fn is_private_address(address: IpAddr) -> bool {
    let v4 = |a: Ipv4Addr| a.is_loopback() || a.is_private() || a.is_link_local();
    match address {
        IpAddr::V4(a) => v4(a),
        IpAddr::V6(a) => {
            a.is_loopback()
                || a.is_unique_local()
                || a.is_unicast_link_local()
                || a.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) if name.contains(':') => write!(f, "[{}]", super::printable(name))?,
            Host::Tcp(name) => f.write_str(&super::printable(name))?,
            Host::Unix(path) => f.write_str(&super::printable(&path.to_string_lossy()))?,
        }
        write!(f, ":{}", self.port)
    }
}

/// Joins libpq's three lists. Missing or empty entries have defaults; one port serves all hosts.
pub(super) fn servers(
    hosts: Option<&str>,
    addresses: Option<&str>,
    ports: Option<&str>,
) -> Result<Vec<Server>, DsnError> {
    let list = |text: Option<&str>| -> Vec<String> {
        text.filter(|text| !text.is_empty())
            .map_or_else(Vec::new, |text| text.split(',').map(|x| x.trim().to_owned()).collect())
    };
    let (hosts, addresses, ports) = (list(hosts), list(addresses), list(ports));
    let ports = ports.iter().map(|text| port(text)).collect::<Result<Vec<_>, _>>()?;
    let count = hosts.len().max(addresses.len());
    if count > HOSTS_MAX {
        return Err(DsnError::Conflict("the connection string has more than 16 hosts; give fewer"));
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(DsnError::Conflict("host and hostaddr must have the same number of entries"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(DsnError::Conflict("give one port, or as many ports as hosts"));
    }
    let port_of = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
    if count == 0 {
        return Ok(default_servers(port_of(0)));
    }
    let mut servers = Vec::with_capacity(count);
    for i in 0..count {
        let port = port_of(i);
        let name = hosts.get(i).map_or("", String::as_str);
        let address = match addresses.get(i).map_or("", String::as_str) {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|_| DsnError::InvalidValue {
                key: "hostaddr",
                expected: "a numeric IPv4 or IPv6 address",
            })?),
        };
        match (host(name)?, address) {
            (Some(host), address) => servers.push(Server { host, address, port }),
            (None, Some(ip)) => {
                servers.push(Server { host: Host::Tcp(ip.to_string()), address, port });
            }
            (None, None) => servers.extend(default_servers(port)),
        }
    }
    Ok(servers)
}

fn default_servers(port: u16) -> Vec<Server> {
    let sockets = SOCKET_DIRECTORIES.into_iter().map(|directory| Host::Unix(directory.into()));
    sockets
        .chain([Host::Tcp("localhost".to_owned())])
        .map(|host| Server { host, address: None, port })
        .collect()
}

fn host(text: &str) -> Result<Option<Host>, DsnError> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(None);
    }
    if bare.starts_with('/') {
        return Ok(Some(Host::Unix(bare.into())));
    }
    // What no host name has is a misplaced delimiter, and may be part of a password.
    let refused = |c: char| c.is_whitespace() || c.is_control() || "@/?#\\'\"<>".contains(c);
    if bare.contains(refused) || bare.len() > 255 {
        return Err(DsnError::InvalidValue {
            key: "host",
            expected: "a name, an address, or the absolute path of a socket's directory; percent-encode special characters of a password before it",
        });
    }
    Ok(Some(Host::Tcp(bare.to_owned())))
}

fn port(text: &str) -> Result<u16, DsnError> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(DsnError::InvalidValue {
        key: "port",
        expected: "a number from 1 to 65535 (a ':' or '/' in a password must be percent-encoded: %3A, %2F)",
    })
}
