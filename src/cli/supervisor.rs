//! What systemd is told (`sd_notify`): ready, stopping, and that the process still goes round.
//!
//! One datagram each to the socket that `NOTIFY_SOCKET` names; nothing without it. Twenty lines instead of a
//! crate. Trouble with it is logged and ends nothing: systemd itself notices silence.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Environment;

/// The supervisor that started this process, if it wants to be told anything.
#[derive(Debug, Clone)]
pub(super) struct Supervisor {
    socket: OsString,
    /// Half of what systemd allows between two signs of life, as it recommends.
    watchdog: Option<Duration>,
    /// Whether it has been told that this process is ready; before that nothing is reloaded for it.
    ready: CancellationToken,
}

impl Supervisor {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn of(environment: &Environment) -> Option<Self> {
        let text = |name| environment.get(name).and_then(|value| value.to_str());
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC")
            .and_then(|micros| micros.parse::<u64>().ok())
            .filter(|micros| ours && *micros > 1)
            .map(|micros| Duration::from_micros(micros / 2));
        Some(Self {
            socket: environment.get("NOTIFY_SOCKET")?.to_owned(),
            watchdog,
            ready: CancellationToken::new(),
        })
    }

    /// Says `READY=1` when `ready` is cancelled and `STOPPING=1` when `stop` is, and shows signs of life from the
    /// first on while `alive`. Never ends by itself: whoever runs it drops it.
    pub(super) async fn accompany(
        self,
        ready: CancellationToken,
        stop: CancellationToken,
        alive: impl Fn() -> bool,
    ) {
        ready.cancelled().await;
        self.tell("READY=1\nSTATUS=publishing");
        self.ready.cancel();
        let mut beat = tokio::time::interval(self.watchdog.unwrap_or(Duration::from_secs(86_400)));
        let mut stopping = false;
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    if self.watchdog.is_some() && alive() {
                        self.tell("WATCHDOG=1");
                    }
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.stopping();
                }
            }
        }
    }

    /// Says `RELOADING=1`, if it has been told that this process is ready.
    pub(super) fn reloading(&self) {
        if self.ready.is_cancelled() {
            // What systemd compares with the time of its own request; without it `notify-reload` would wait.
            let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
            let micros = now.map_or(0, |now| Duration::from(now).as_micros());
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
        }
    }

    /// Ends what [`Supervisor::reloading`] began.
    pub(super) fn reloaded(&self) {
        if self.ready.is_cancelled() {
            self.tell("READY=1\nSTATUS=publishing");
        }
    }

    /// Says `STOPPING=1`; once more does no harm.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is in flight");
    }

    fn tell(&self, what: &str) {
        if let Err(error) = self.send(what) {
            tracing::warn!(%error, "systemd cannot be told of this process: {error}");
        }
    }

    fn send(&self, what: &str) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        // A full queue must not stop the relay.
        socket.set_nonblocking(true)?;
        match self.socket.as_bytes().split_first() {
            Some((b'@', name)) => socket.send_to_addr(what.as_bytes(), &abstract_address(name)?)?,
            _ => socket.send_to(what.as_bytes(), &self.socket)?,
        };
        Ok(())
    }
}

/// Sockets that begin with `@` have no file.
#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_watchdogs_time_is_used_and_only_if_it_is_meant_for_us() {
        let of = |pairs: &[(&str, &str)]| {
            let given = [("NOTIFY_SOCKET", "/run/n")].iter().chain(pairs).copied();
            Supervisor::of(&Environment::from_iter(given)).unwrap().watchdog
        };
        let us = std::process::id().to_string();
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "60000000")]), Some(Duration::from_secs(30)));
        let both = [("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", us.as_str())];
        assert_eq!(of(&both), Some(Duration::from_secs(1)));
        assert_eq!(of(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")]), None);
        let nobody: [(&str, &str); 1] = [("WATCHDOG_USEC", "2000000")];
        assert!(Supervisor::of(&Environment::from_iter(nobody)).is_none());
    }
}
