//! An independent subscriber: server-sent events over a socket, with its own parser. What it has seen
//! is what counts; the emulator's own account is not asked for messages.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox_relay::emulator::API_KEY_DEFAULT;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::local_ably::http;

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The envelope's id.
    pub(crate) id: String,
    pub(crate) tenant: String,
    /// The payload says that its transaction was rolled back.
    pub(crate) gone: bool,
    pub(crate) at: Instant,
}

/// Reads in the background until dropped.
pub(crate) struct Subscriber {
    got: Arc<Mutex<Vec<Delivery>>>,
    count: watch::Receiver<usize>,
    _reading: JoinSet<()>,
}

impl Subscriber {
    /// Subscribes to these tenants and waits until that is so.
    pub(crate) async fn start(url: &str, tenants: &[String]) -> Self {
        let channels: Vec<String> = tenants.iter().map(|t| format!("tenant:{t}")).collect();
        let address =
            format!("{url}/sse?v=6&key={API_KEY_DEFAULT}&channels={}", channels.join(","));
        let got = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let (open, mut opened) = watch::channel(false);
        let reader = Reader { address, got: Arc::clone(&got), counted, last: String::new() };
        let mut reading = JoinSet::new();
        reading.spawn(reader.read(open));
        opened.wait_for(|open| *open).await.expect("subscribed");
        Self { got, count, _reading: reading }
    }

    /// Waits until so many messages have come; false when they do not come in time.
    pub(crate) async fn wait_for(&self, messages: usize, limit: Duration) -> bool {
        let mut count = self.count.clone();
        tokio::time::timeout(limit, count.wait_for(|n| *n >= messages)).await.is_ok()
    }

    /// When this event came first, if it has.
    pub(crate) fn when(&self, id: &str) -> Option<Instant> {
        self.got.lock().unwrap().iter().rev().find(|d| d.id == id).map(|d| d.at)
    }

    /// Everything so far, in the order in which it came.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.got.lock().unwrap().clone()
    }
}

struct Reader {
    address: String,
    got: Arc<Mutex<Vec<Delivery>>>,
    counted: watch::Sender<usize>,
    /// The id of the last event: where the stream goes on after a break.
    last: String,
}

impl Reader {
    async fn read(mut self, open: watch::Sender<bool>) {
        let client = http();
        loop {
            let request = client.get(&self.address).header("last-event-id", &self.last);
            if let Ok(mut response) = request.send().await
                && response.status().is_success()
            {
                let mut unread = Vec::new();
                while let Ok(Some(chunk)) = response.chunk().await {
                    open.send_replace(true);
                    unread.extend_from_slice(&chunk);
                    self.take_blocks(&mut unread);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes all whole blocks; a block ends with an empty line.
    fn take_blocks(&mut self, unread: &mut Vec<u8>) {
        let mut start = 0;
        while let Some(length) = unread[start..].windows(2).position(|pair| pair == b"\n\n") {
            let block = String::from_utf8_lossy(&unread[start..start + length]).into_owned();
            self.take(&block);
            start += length + 2;
        }
        unread.drain(..start);
    }

    fn take(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let (Some(id), Some(data)) = (field("id: "), field("data: ")) else { return };
        let message: Value = serde_json::from_str(data).expect("a message");
        let envelope: Value =
            serde_json::from_str(message["data"].as_str().expect("data")).expect("an envelope");
        let text = |name: &str| envelope[name].as_str().expect(name).to_owned();
        let delivery = Delivery {
            id: text("id"),
            tenant: text("tenantId"),
            gone: !envelope["payload"]["gone"].is_null(),
            at: Instant::now(),
        };
        assert_eq!(message["channel"], format!("tenant:{}", delivery.tenant), "the right channel");
        let mut got = self.got.lock().unwrap();
        got.push(delivery);
        self.counted.send_replace(got.len());
        drop(got);
        id.clone_into(&mut self.last);
    }
}
