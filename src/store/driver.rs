//! The half of a connection that does the work: it moves bytes between the socket and the client, and hands
//! out notifications.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The most different notifications that wait to be read. The relay listens to its doorbell, whose payload
/// is empty, and to its canary: two or three at a time are normal.
pub const NOTICES_MAX: usize = 256;

type TlsSocket = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
pub(super) type Wire = Connection<Socket, TlsSocket>;

/// Drives one connection; without it no query of its client makes progress.
///
/// Spawn [`Driver::run`] into a `JoinSet` that is kept as long as the connection. Dropping it closes the
/// socket at once, and every waiting query fails; dropping the client ends it in order.
///
/// # What it notices
/// A dead network ends it: after `tcp_user_timeout` when something was sent, and after the keepalives when
/// nothing was. A peer whose kernel still answers while nobody reads behind it (a hung proxy) acknowledges
/// every small query for ever; only a deadline on the statement, and the listener's canary, see that.
#[must_use = "a connection without its driver does nothing"]
pub struct Driver {
    wire: Box<Wire>,
}

impl Driver {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire: Box::new(wire) }
    }

    /// Drives the connection until its client is dropped (`Ok`) or it breaks (`Err`).
    ///
    /// Notifications go to `notices`, or nowhere. It never waits for their reader: a session that does not
    /// read its socket holds back the notification queue of the whole PostgreSQL cluster.
    ///
    /// # Errors
    /// The driver's error when the connection broke, or the server ended it.
    pub async fn run(mut self, notices: Option<NoticeSender>) -> Result<(), tokio_postgres::Error> {
        self.drive(notices.as_ref()).await
    }

    /// The same for somebody who goes on using the driver: dropping the future loses nothing.
    pub(super) async fn drive(
        &mut self,
        notices: Option<&NoticeSender>,
    ) -> Result<(), tokio_postgres::Error> {
        while let Some(message) = poll_fn(|cx| self.wire.poll_message(cx)).await {
            match message? {
                AsyncMessage::Notification(notification) => {
                    if let Some(notices) = notices {
                        notices.deliver(&notification);
                    }
                }
                // Not its text: a trigger's RAISE NOTICE may have personal data in it.
                AsyncMessage::Notice(notice) => {
                    tracing::debug!(
                        severity = notice.severity(),
                        sqlstate = notice.code().code(),
                        "PostgreSQL sent a notice"
                    );
                }
                // The enum is open; what we do not know we did not ask for.
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

/// One `NOTIFY`, as often as it came since the last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The channel's name.
    pub channel: String,
    /// The payload; empty without one.
    pub payload: String,
    /// The session that sent it (the latest, when several said the same).
    pub process_id: i32,
}

/// A mailbox for notifications: equal ones (channel and payload) that wait are one, so that a thousand rings
/// of a doorbell cannot push the canary out; of more than [`NOTICES_MAX`] different ones the newest are dropped.
pub fn notices() -> (NoticeSender, NoticeReceiver) {
    let shared = Arc::new(Shared { state: Mutex::new(State::default()), arrived: Notify::new() });
    (NoticeSender(Arc::clone(&shared)), NoticeReceiver(shared))
}

/// The driver's end of the mailbox.
pub struct NoticeSender(Arc<Shared>);

/// The reader's end of the mailbox.
pub struct NoticeReceiver(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Notice>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of ours panics while it holds the lock, and the state is valid at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NoticeSender {
    fn deliver(&self, notification: &tokio_postgres::Notification) {
        self.put(notification.channel(), notification.payload(), notification.process_id());
    }

    fn put(&self, channel: &str, payload: &str, process_id: i32) {
        let mut state = self.0.lock();
        let same = |n: &&mut Notice| n.channel == channel && n.payload == payload;
        if let Some(waiting) = state.waiting.iter_mut().find(same) {
            waiting.process_id = process_id;
        } else if state.waiting.len() < NOTICES_MAX {
            let (channel, payload) = (channel.to_owned(), payload.to_owned());
            state.waiting.push_back(Notice { channel, payload, process_id });
        }
        drop(state);
        self.0.arrived.notify_one();
    }
}

impl Drop for NoticeSender {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.arrived.notify_one();
    }
}

impl NoticeReceiver {
    /// The next notification; `None` when the driver has ended and nothing waits. Safe to drop half-way,
    /// so it can stand in a `select!`.
    pub async fn recv(&mut self) -> Option<Notice> {
        loop {
            // `Notify` keeps a permit when nobody waits, so nothing is lost between look and wait.
            {
                let mut state = self.0.lock();
                if let Some(notice) = state.waiting.pop_front() {
                    return Some(notice);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }
}

impl fmt::Debug for NoticeSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoticeSender")
    }
}

impl fmt::Debug for NoticeReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoticeReceiver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_one_notification_does_not_push_out_another() {
        let (sender, mut receiver) = notices();
        for i in 0..100_000 {
            sender.put("outbox", "", i);
        }
        sender.put("canary", "token", 7);
        sender.put("outbox", "", 9);
        let bell = receiver.recv().await.unwrap();
        assert_eq!((bell.channel.as_str(), bell.process_id), ("outbox", 9));
        assert_eq!(receiver.recv().await.unwrap().payload, "token");
        drop(sender);
        assert_eq!(receiver.recv().await, None);
    }

    #[tokio::test]
    async fn a_mailbox_that_nobody_reads_stays_bounded() {
        let (sender, mut receiver) = notices();
        for i in 0..10_000 {
            sender.put("outbox", &i.to_string(), 1);
        }
        drop(sender);
        let mut read = 0;
        while receiver.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(read, NOTICES_MAX);
    }

    #[tokio::test]
    async fn what_waits_is_read_after_the_driver_has_ended() {
        let (sender, mut receiver) = notices();
        sender.put("outbox", "", 1);
        drop(sender);
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_none());
    }
}
