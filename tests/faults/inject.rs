//! How each fault is made, and healed.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use nix::sys::signal::Signal;
use tokio_postgres::Client;

use super::place::wait_until;
use super::row::{FASTER, Fault};
use super::run::World;
use super::writers::{connect, insert};
use crate::support::relay::{RelayProcess, says};

/// How long a relay may take to come to the step at which it is to die.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// How long it may share the work with the others until then. One that is awake may do all there is for as
/// long as it lasts (seen: 6 events of 13,000 in a minute for the other), so after that they are ended.
const SHARING: Duration = Duration::from_secs(5);

/// How long a number of replicas works before it changes.
const SHARED_LOAD: Duration = Duration::from_millis(1_500);

/// The most that an event of a small tenant may take beside a large backlog: the service objective.
const BESIDE_BACKLOG_MAX: Duration = Duration::from_secs(5);

impl World {
    /// Makes one fault happen, and heals it.
    pub(crate) async fn inject(&mut self, fault: Fault) {
        // Time for the writers is none.
        self.injected += u32::from(!matches!(fault, Fault::Nothing(_)));
        match fault {
            Fault::CrashAt(step) => self.crash_at(step).await,
            Fault::TermAt(step) => self.term_at(step).await,
            Fault::TermAtStart => self.term_at_start().await,
            Fault::Term => self.term(),
            Fault::StopAt(step, length) => self.stop_at(step, length).await,
            Fault::KillAll => self.kill_all(),
            Fault::KillInRequest { accepted } => self.kill_in_request(accepted).await,
            Fault::Replicas(count) => self.replicas(count).await,
            Fault::Backends => self.end_backends("true").await,
            Fault::Listeners => self.end_backends("query ilike 'listen%'").await,
            Fault::Ably(json, ms) => self.ably_trouble(json, ms).await,
            Fault::Blackhole(length) => self.proxy_trouble(length, true).await,
            Fault::Refuse(length) => self.proxy_trouble(length, false).await,
            Fault::Restart => self.place.restart().await,
            Fault::Crash => {
                self.place.crash().await;
                self.place.restart().await;
            }
            Fault::Promote => {
                self.place.crash().await;
                self.place.promote().await;
            }
            Fault::PromoteBesideReader => {
                self.place.crash().await;
                self.place.promote().await;
                self.place.come_back_as_reader().await;
            }
            Fault::TriggerOff => self.trigger_off().await,
            Fault::BulkCopy => self.bulk_copy().await,
            Fault::Backlog(events) => self.backlog(events).await,
            Fault::AnHourAway => self.an_hour_away().await,
            Fault::Nothing(length) => tokio::time::sleep(length).await,
        }
    }

    async fn client(&self) -> (Client, tokio::task::JoinSet<()>) {
        connect(&self.place.dsn()).await.expect("connect")
    }

    /// A relay beside the others, which meets its end at a step; it counts as the others do when it does
    /// the work at that moment.
    async fn doomed(&mut self, variable: &str, step: &str) -> RelayProcess {
        let point = format!("{step}:{}", self.rng.u8(1..=4));
        let mut doomed = self.command(0).env(variable, &point).start();
        self.bring_to(&mut doomed, &point, |relay| relay.ended().is_some()).await;
        doomed
    }

    /// Waits until a relay has come to the point that was set for it, and sees to it that it gets work.
    async fn bring_to(
        &mut self,
        relay: &mut RelayProcess,
        point: &str,
        is_there: impl Fn(&mut RelayProcess) -> bool,
    ) {
        let begun = Instant::now();
        while !is_there(relay) {
            if begun.elapsed() > SHARING {
                self.end_all();
            }
            let waited = begun.elapsed();
            assert!(waited < STEP_LIMIT, "no relay came to {point}: {:#?}", relay.log());
            // Each look costs the kernel some microseconds; a fault at an event is what is waited for.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.relays.is_empty() {
            self.start_all();
        }
    }

    async fn crash_at(&mut self, step: &str) {
        let mut dead = self.doomed("FAILPOINT_CRASH_AT", step).await;
        if dead.wait().is_some() {
            self.complaints.push(format!("a relay exited before its crash: {:?}", dead.log()));
        }
    }

    async fn term_at(&mut self, step: &str) {
        let mut ended = self.doomed("FAILPOINT_TERM_AT", step).await;
        let code = ended.wait();
        if code != Some(0) {
            self.complaints.push(format!("SIGTERM at {step} ended with {code:?}"));
        }
    }

    async fn term_at_start(&mut self) {
        let mut relay = self.command(0).start();
        let age = Duration::from_millis(self.rng.u64(0..150));
        tokio::time::sleep(age).await;
        relay.signal(Signal::SIGTERM);
        // Before it has a handler the signal ends it, which is as good.
        let code = relay.wait();
        if !matches!(code, Some(0) | None) {
            self.complaints.push(format!("SIGTERM after {age:?} ended with {code:?}"));
        }
    }

    fn term(&mut self) {
        let number = self.rng.usize(0..self.relays.len());
        let next = self.command(number).start();
        // As a rolling deployment does; ending it before is another row.
        next.wait_until_listening();
        let relay = std::mem::replace(&mut self.relays[number], next);
        let code = relay.terminate();
        if code != Some(0) {
            self.complaints.push(format!("SIGTERM ended with {code:?}"));
        }
    }

    /// Stops a relay at a step. The server ends its transaction, others take its tenants over, and then
    /// it goes on as if nothing had happened.
    async fn stop_at(&mut self, step: &str, length: Duration) {
        let point = format!("{step}:{}", self.rng.u8(1..=4));
        let mut zombie = self.command(0).env("FAILPOINT_STOP_AT", &point).start();
        self.bring_to(&mut zombie, &point, |relay| is_stopped(relay)).await;
        tokio::time::sleep(length).await;
        zombie.signal(Signal::SIGCONT);
        self.relays.push(zombie);
    }

    fn kill_all(&mut self) {
        for relay in std::mem::take(&mut self.relays) {
            relay.kill();
        }
        self.start_all();
        // Every other time the next fault may meet them while they start.
        if self.rng.bool() {
            self.relays.iter().for_each(RelayProcess::wait_until_listening);
        }
    }

    fn start_all(&mut self) {
        for number in 0..self.row.relays {
            let relay = self.command(number).start();
            self.relays.push(relay);
        }
    }

    fn end_all(&mut self) {
        for relay in std::mem::take(&mut self.relays) {
            let code = relay.terminate();
            if code != Some(0) {
                self.complaints.push(format!("SIGTERM ended with {code:?}"));
            }
        }
    }

    async fn replicas(&mut self, count: usize) {
        for number in self.relays.len()..count {
            let relay = self.command(number).start();
            self.relays.push(relay);
        }
        while self.relays.len() > count {
            // The oldest first: whoever is left has joined under load.
            let relay = self.relays.remove(0);
            if self.relays.len().is_multiple_of(2) {
                relay.kill();
            } else if let code @ (Some(1..) | None) = relay.terminate() {
                self.complaints.push(format!("SIGTERM of a replica ended with {code:?}"));
            }
        }
        self.relays.iter().for_each(RelayProcess::wait_until_listening);
        // Chance decides who gets what; all of them may.
        tokio::time::sleep(SHARED_LOAD).await;
        let (client, _driver) = self.client().await;
        let sql =
            "select count(*) from outbox.event where published_at > now() - interval '1 second'";
        let done: i64 = client.query_one(sql, &[]).await.expect(sql).get(0);
        if done == 0 {
            self.complaints.push(format!("{count} replicas published nothing in a second"));
        }
    }

    async fn kill_in_request(&mut self, accepted: bool) {
        self.ably.clear_faults().await;
        let kind = if accepted { "reply_lost" } else { "hang_before" };
        self.ably.fault(&format!(r#"{{"kind":"{kind}","delay_ms":60000,"times":1}}"#)).await;
        self.ably
            .wait_until("a request is out", async |stats| stats["faults"][0]["hits"] == 1)
            .await;
        self.kill_all();
        self.usual_trouble().await;
    }

    async fn end_backends(&mut self, which: &str) {
        let (client, _driver) = self.client().await;
        let mine = "datname = current_database() and application_name like 'outbox-relay %'";
        let sql = format!(
            "select count(pg_terminate_backend(pid)) > 0 from pg_stat_activity \
             where {mine} and {which}"
        );
        // One at least: between two connections there may be none.
        wait_until(&client, &sql).await;
    }

    async fn ably_trouble(&mut self, json: &str, ms: u64) {
        self.ably.clear_faults().await;
        self.ably.fault(json).await;
        // The relays may be waiting out what came before.
        self.ably
            .wait_until("the fault", async |stats| {
                stats["faults"][0]["hits"].as_u64().is_some_and(|hits| hits > 0)
            })
            .await;
        let length = Duration::from_millis(self.rng.u64(ms / 2..=ms));
        self.watch(length).await;
        self.ably.clear_faults().await;
        self.usual_trouble().await;
    }

    async fn proxy_trouble(&mut self, length: Duration, silent: bool) {
        let proxy = self.proxy.as_ref().expect("a proxy");
        if silent {
            proxy.blackhole();
        } else {
            proxy.refuse();
        }
        self.watch(length).await;
        self.proxy.as_ref().expect("a proxy").heal();
    }

    /// An hour and a little of the relays' time.
    async fn an_hour_away(&mut self) {
        self.ably.fault(r#"{"kind":"status","status":503,"code":50300}"#).await;
        self.watch(Duration::from_secs(3_700 / FASTER)).await;
        self.ably.clear_faults().await;
        self.usual_trouble().await;
        let relay = self.relays.first().expect("a relay");
        relay.wait_for_log("Ably accepts events again", 1);
        let line = relay.log().into_iter().rfind(|line| says(line, "Ably accepts events again"));
        let down = line.and_then(|line| line["down_s"].as_u64()).unwrap_or_default();
        self.notes.push(format!("Ably was away for {down} s by a relay's clock"));
        if down < 3_600 {
            self.complaints.push(format!("the outage was {down} s only by the relay's clock"));
        }
        let (client, _driver) = self.client().await;
        let sql = "select count(*) from outbox.event where status = 'failed' or attempts > 0";
        let blamed: i64 = client.query_one(sql, &[]).await.expect(sql).get(0);
        if blamed > 0 {
            self.complaints.push(format!("{blamed} events were blamed for the outage"));
        }
    }

    async fn trigger_off(&mut self) {
        let (client, _driver) = self.client().await;
        for (statement, pause) in [("disable", 3_500), ("enable", 0)] {
            let sql = format!("alter table outbox.event {statement} trigger event_bell");
            client.batch_execute(&sql).await.expect("alter table");
            self.watch(Duration::from_millis(pause)).await;
        }
    }

    async fn bulk_copy(&mut self) {
        let (client, _driver) = self.client().await;
        let sql = "copy outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
                   from stdin";
        let mut sink = pin!(client.copy_in::<_, std::io::Cursor<Vec<u8>>>(sql).await.expect(sql));
        for chunk in 0..100 {
            let line =
                |n: u32| format!("bulk{}\tTask\t1\tkitchen.task.moved\t{{\"n\":{n}}}\n", n % 10);
            let lines: String = (chunk * 1_000..(chunk + 1) * 1_000).map(line).collect();
            sink.send(std::io::Cursor::new(lines.into_bytes())).await.expect("copy");
        }
        assert_eq!(sink.finish().await.expect("copy"), 100_000);
    }

    /// A backlog of one tenant, and events of another that must not wait for it.
    async fn backlog(&mut self, events: i64) {
        let (client, _driver) = self.client().await;
        let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
                   select 'big', 'Task', '1', 'kitchen.task.moved', jsonb_build_object('n', n) \
                     from generate_series(1, $1::bigint) n";
        client.execute(sql, &[&events]).await.expect("backlog");
        let mut slowest = Duration::ZERO;
        for n in 0..20 {
            let payload = format!("{{\"n\":{n}}}");
            let written = Instant::now();
            let id = insert(&client, "small", "kitchen.task.claimed", &payload).await;
            let id = id.expect("insert");
            while self.subscriber.when(&id).is_none() {
                if written.elapsed() > Duration::from_secs(60) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            slowest = slowest.max(written.elapsed());
        }
        let left: i64 = client
            .query_one("select count(*) from outbox.event where status = 'pending'", &[])
            .await
            .expect("count")
            .get(0);
        self.notes.push(format!(
            "slowest of 20 single events beside the backlog: {} ms; {left} still waited",
            slowest.as_millis()
        ));
        if slowest > BESIDE_BACKLOG_MAX {
            self.complaints.push(format!("a single event waited {slowest:?} beside a backlog"));
        }
    }
}

/// Whether SIGSTOP has reached it: state `T` in what the kernel says of the process.
fn is_stopped(relay: &RelayProcess) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", relay.pid())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
