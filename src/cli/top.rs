//! `outbox-relay top`: how the outbox is, live in a terminal, from SQL alone.

mod draw;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::view::{After, View};
use super::failure::{Exit, Failure};
use super::{Context, assemble, operate};
use crate::config::Environment;
use crate::store::operator::Operator;
use crate::store::session::Store;
use crate::store::stats::{Stats, StatsLimits};

/// What is logged while the screen is ours: nothing, or it would be written into it.
pub(super) const LOG_LEVEL: &str = "off";

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Rows that a look reads at most to count something: tens of milliseconds of the server's time.
const LIMITS: StatsLimits = StatsLimits { counted: 10_000, listed: 100 };

/// How long a key is waited for before it is asked whether to end.
const KEY_WAIT: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: Tab and arrows change the panel and scroll, p keeps the picture as it is, q ends. Every second at most 10,000 rows a question
are read, for 2 s at most; `+` says that there are more. NO_COLOR is respected. For a script: `outbox-relay stats`.")]
pub(super) struct Options {}

pub(super) async fn execute(_: &Options, context: &Context) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "top needs a terminal",
            "use `outbox-relay stats`, or `stats --json`",
        ));
    }
    // What is wrong with the database is said before the screen is taken.
    let operator = operate::operator(context).await?;
    let configuration = &context.configuration;
    let store = assemble::store(&configuration.settings, configuration.database_url()?)?;
    let plain = Environment::of_process().get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut view = View::new(store.describe(), !plain);

    let screen = ratatui::try_init()
        .map_err(|error| Failure::internal(format!("the terminal cannot be used: {error}")))?;
    let _restored = Restored;
    let closing = CancellationToken::new();
    let _closes = closing.clone().drop_guard();
    let (told, mut looks) = mpsc::channel(1);
    let (typed, mut keys) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(look(operator, store, told));
    tasks.spawn_blocking(move || read_keys(&typed, &closing));
    live(screen, &mut view, &mut looks, &mut keys, &context.stop).await
}

/// Gives the terminal back, also when the command ends by an error; for a panic ratatui has a hook.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn live(
    mut screen: ratatui::DefaultTerminal,
    view: &mut View,
    looks: &mut mpsc::Receiver<Result<Stats, String>>,
    keys: &mut mpsc::Receiver<Event>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    loop {
        screen.draw(|frame| draw::draw(frame, view)).map_err(|error| {
            Failure::internal(format!("the terminal cannot be written: {error}"))
        })?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(seen) = looks.recv() => view.seen(seen, Instant::now().into_std()),
            key = keys.recv() => match key {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if view.key(key.code, key.modifiers) == After::End {
                        return Ok(());
                    }
                }
                Some(_) => {}
                // The terminal is gone.
                None => return Ok(()),
            }
        }
    }
}

async fn look(operator: Operator, store: Store, told: mpsc::Sender<Result<Stats, String>>) {
    let mut connected = Some(operator);
    loop {
        let seen = match connected.take() {
            Some(operator) => Ok(operator),
            None => Box::pin(store.operator()).await,
        };
        let seen = match seen {
            Ok(mut operator) => {
                let stats = operator.stats(LIMITS).await;
                connected = stats.is_ok().then_some(operator);
                stats
            }
            Err(error) => Err(error),
        };
        if told.send(seen.map_err(|error| error.to_string())).await.is_err() {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn read_keys(typed: &mpsc::Sender<Event>, closing: &CancellationToken) {
    while !closing.is_cancelled() {
        let read = match event::poll(KEY_WAIT) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let Ok(event) = read else { return };
        if typed.blocking_send(event).is_err() {
            return;
        }
    }
}
