//! What applications do: transactions of one or several events, some rolled back, some slow.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_util::sync::CancellationToken;

use super::row::Load;

/// A writer ends by itself after so many transactions: no run is unbounded.
const TRANSACTIONS_MAX: u32 = 20_000;

/// The two writers of this tenant overlap, so its order is not promised.
pub(crate) const OVERLAPPING: &str = "overlap";

/// The writers of a run.
pub(crate) struct Writers {
    tasks: JoinSet<Vec<String>>,
    stop: CancellationToken,
}

impl Writers {
    pub(crate) fn start(dsn: &str, load: Load, rng: &mut fastrand::Rng) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let tenants = (0..load.tenants).map(tenant);
        let overlapping = (0..2).filter(|_| load.overlapping).map(|_| OVERLAPPING.to_owned());
        for tenant in tenants.chain(overlapping) {
            let writer = Writer {
                dsn: dsn.to_owned(),
                tenant,
                load,
                rng: rng.fork(),
                stop: stop.clone(),
                acknowledged: Vec::new(),
                next: 0,
            };
            tasks.spawn(writer.write());
        }
        Self { tasks, stop }
    }

    /// Lets every writer end its transaction; the ids of all events whose commit was acknowledged.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.stop.cancel();
        self.tasks.join_all().await.concat()
    }
}

/// The name of a writer's tenant.
pub(crate) fn tenant(number: usize) -> String {
    format!("t{number}")
}

/// Connects; the driver ends with the set.
pub(crate) async fn connect(dsn: &str) -> Result<(Client, JoinSet<()>), Error> {
    let config: Config = dsn.parse().expect("connection string");
    let (client, connection) = config.connect(NoTls).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { _ = connection.await });
    Ok((client, driver))
}

struct Writer {
    dsn: String,
    tenant: String,
    load: Load,
    rng: fastrand::Rng,
    stop: CancellationToken,
    acknowledged: Vec<String>,
    next: u32,
}

impl Writer {
    async fn write(mut self) -> Vec<String> {
        while !self.done() {
            if let Ok((mut client, _driver)) = connect(&self.dsn).await {
                while !self.done() && self.transaction(&mut client).await.is_ok() {
                    let pause = Duration::from_millis(self.rng.u64(0..=self.load.pause_ms));
                    tokio::time::sleep(pause).await;
                }
            }
            // Only a lost connection comes here before the end.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.acknowledged
    }

    fn done(&self) -> bool {
        self.stop.is_cancelled() || self.next >= TRANSACTIONS_MAX
    }

    async fn transaction(&mut self, client: &mut Client) -> Result<(), Error> {
        match self.rng.u8(0..10) {
            0 => {
                let transaction = client.transaction().await?;
                self.insert(transaction.client(), r#","gone":true"#).await?;
                transaction.rollback().await
            }
            1..4 => {
                let events = self.rng.u8(2..=6);
                let slow = self.rng.u8(0..4) == 0;
                let transaction = client.transaction().await?;
                let mut ids = Vec::new();
                for _ in 0..events {
                    ids.push(self.insert(transaction.client(), "").await?);
                    if self.load.poison && self.rng.bool() {
                        ids.push(self.poison(transaction.client()).await?);
                    }
                }
                if slow {
                    tokio::time::sleep(Duration::from_millis(self.rng.u64(0..150))).await;
                }
                transaction.commit().await?;
                self.acknowledged.extend(ids);
                Ok(())
            }
            _ => {
                let id = self.insert(client, "").await?;
                self.acknowledged.push(id);
                Ok(())
            }
        }
    }

    async fn insert(&mut self, client: &Client, more: &str) -> Result<String, Error> {
        self.next += 1;
        let payload = format!(r#"{{"n":{}{more}}}"#, self.next);
        insert(client, &self.tenant, "kitchen.task.claimed", &payload).await
    }

    /// An event that can never be published: without a module, too large for any message, or of a size
    /// that only Ably refuses.
    async fn poison(&mut self, client: &Client) -> Result<String, Error> {
        let (event_type, filler) = match self.rng.u8(0..3) {
            0 => ("nodot", 0),
            1 => ("kitchen.task.claimed", 70_000),
            _ => ("kitchen.task.claimed", 20_000),
        };
        let payload = format!(r#"{{"poison":"{}"}}"#, "x".repeat(filler));
        insert(client, &self.tenant, event_type, &payload).await
    }
}

/// Inserts one event; returns its id.
pub(crate) async fn insert(
    client: &Client,
    tenant: &str,
    event_type: &str,
    payload: &str,
) -> Result<String, Error> {
    let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
               values ($1, 'KitchenTask', 'task-1', $2, $3::text::jsonb) returning id";
    Ok(client.query_one(sql, &[&tenant, &event_type, &payload]).await?.get(0))
}
