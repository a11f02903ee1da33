//! `outbox-relay pause` and `outbox-relay resume`: an operator stops publishing, and lets it go on.

use std::time::Duration;

use super::failure::{Exit, Failure};
use super::{Context, operate, output, table};
use crate::config::parse_duration;
use crate::store::operator::Operator;
use crate::store::pause::{Pause, Scope};

/// The longest `--for`; whoever means longer leaves it out.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Pauses that are shown when some are left.
const SHOWN_MAX: i64 = 100;

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Scopes {
    /// Everything
    #[arg(long)]
    all: bool,

    /// The events of this tenant (may be repeated)
    #[arg(long, value_name = "ID")]
    tenant: Vec<String>,

    /// The events of this type (may be repeated)
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Who does it, for the audit [default: database role and system user]
    #[arg(long, value_name = "WHO", value_parser = operate::parse_text)]
    by: Option<String>,

    /// Why, for the audit and for whoever looks
    #[arg(long, value_name = "TEXT", value_parser = operate::parse_text)]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writers go on; their events wait. Every relay keeps to it from its next claim on; what it has claimed by then
is still sent and settled. A tenant keeps its order: behind an event of a paused type its later events wait, too.
To pause what is paused already changes until when, by whom and why.

Examples:
  outbox-relay pause --all --reason 'deploying consumers' --for 15m
  outbox-relay pause --tenant tenant-abc
  outbox-relay resume --all")]
pub(super) struct PauseOptions {
    #[command(flatten)]
    scopes: Scopes,

    /// End it by itself after this time: 15m, 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = time)]
    time: Option<Duration>,

    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
--all ends the pause of everything; tenants and types that were paused by themselves stay so, and are listed.")]
pub(super) struct ResumeOptions {
    #[command(flatten)]
    scopes: Scopes,

    #[command(flatten)]
    who: Who,
}

fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Err(error) => Err(format!("it {error}; write 15m or 2h")),
        Ok(Duration::ZERO) => Err("it is no time".to_owned()),
        Ok(time) if time > TIME_MAX => Err("it is more than 365d; leave it out".to_owned()),
        Ok(time) => Ok(time),
    }
}

impl Scopes {
    fn list(&self) -> Vec<Scope> {
        let tenants = self.tenant.iter().cloned().map(Scope::Tenant);
        let types = self.event_type.iter().cloned().map(Scope::Type);
        self.all.then_some(Scope::All).into_iter().chain(tenants).chain(types).collect()
    }
}

pub(super) async fn pause(options: &PauseOptions, context: &Context) -> Result<(), Failure> {
    operate::unless_stopped(&context.stop, async {
        let mut operator = operate::operator(context).await?;
        let Who { by, reason } = &options.who;
        let account = operate::account(&operator, by.as_deref(), reason.as_deref());
        for scope in options.scopes.list() {
            operator.pause(&scope, options.time, &account).await?;
            output::line(&format!("paused {}", name(&scope)))?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn resume(options: &ResumeOptions, context: &Context) -> Result<(), Failure> {
    operate::unless_stopped(&context.stop, async {
        let mut operator = operate::operator(context).await?;
        let Who { by, reason } = &options.who;
        let account = operate::account(&operator, by.as_deref(), reason.as_deref());
        let mut missing = Vec::new();
        for scope in options.scopes.list() {
            if operator.resume(&scope, &account).await? {
                output::line(&format!("resumed {}", name(&scope)))?;
            } else {
                missing.push(name(&scope));
            }
        }
        still_paused(&mut operator).await?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::BadData,
            format!("not paused: {}", missing.join(", ")),
            "see `outbox-relay holds list`",
        ))
    })
    .await
}

async fn still_paused(operator: &mut Operator) -> Result<(), Failure> {
    for pause in operator.pauses(SHOWN_MAX).await? {
        tracing::info!("still paused: {}", in_words(&pause));
    }
    Ok(())
}

fn name(scope: &Scope) -> String {
    match scope {
        Scope::All => "everything".to_owned(),
        Scope::Tenant(tenant) => format!("tenant {}", table::clean(tenant)),
        Scope::Type(name) => format!("type {}", table::clean(name)),
    }
}

/// What a pause is about.
pub(super) fn in_words(pause: &Pause) -> String {
    match pause.scope.as_str() {
        "all" => "everything".to_owned(),
        scope => format!("{scope} {}", table::clean(&pause.target)),
    }
}
