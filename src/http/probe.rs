//! Asks a relay on this machine how it is: for containers without curl.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// HTTP status.
    pub status: u16,
    /// The text.
    pub text: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nobody listens, or the connection broke.
    #[error("no relay answers at {0}: {1}")]
    Unreachable(SocketAddr, io::Error),
    /// It takes too long.
    #[error("{0} does not answer within {1:?}")]
    Timeout(SocketAddr, Duration),
    /// Something else listens there.
    #[error("what answers at {0} is no relay")]
    NoRelay(SocketAddr),
}

/// Asks the server that listens on `listen` for `path`.
///
/// # Errors
/// [`ProbeError`].
pub async fn probe(
    listen: SocketAddr,
    path: &str,
    token: Option<&SecretString>,
    patience: Duration,
) -> Result<Probed, ProbeError> {
    let address = reachable(listen);
    let answer = timeout(patience, ask(address, path, token)).await;
    let answer = answer
        .map_err(|_| ProbeError::Timeout(address, patience))?
        .map_err(|error| ProbeError::Unreachable(address, error))?;
    read(&answer).ok_or(ProbeError::NoRelay(address))
}

/// Whoever listens everywhere is asked on the loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr, path: &str, token: Option<&SecretString>) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let authorization = token
        .map(|token| format!("Authorization: Bearer {}\r\n", token.expose_secret()))
        .unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn read(answer: &[u8]) -> Option<Probed> {
    let answer = String::from_utf8_lossy(answer);
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Probed { status, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_text() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\n\r\nfailing\n";
        assert_eq!(read(answer), Some(Probed { status: 503, text: "failing\n".into() }));
        for nonsense in [&b""[..], b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n\r\n", b"\xff\r\n\r\n"] {
            assert_eq!(read(nonsense), None);
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(asked("[::]:1"), "[::1]:1");
        assert_eq!(asked("10.0.0.7:1"), "10.0.0.7:1");
    }
}
