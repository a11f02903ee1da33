//! `outbox-relay holds`: which tenants wait, and why.

use super::failure::{Exit, Failure};
use super::{Context, operate, output, pause, table};
use crate::store::decide::HeldTenant;
use crate::store::operator::Operator;
use crate::store::pause::Pause;

/// How far a tenant's backlog is counted.
pub(super) const BACKLOG_MAX: i64 = 10_000;

/// The columns of [`row`] and [`paused`].
pub(super) const HEAD: [&str; 6] = ["TENANT", "REASON", "SINCE", "UNTIL", "BACKLOG", "MESSAGE"];

/// Holds that are read at once.
const PAGE: i64 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what is paused and the tenants on hold
    List(ListOptions),
    /// Let tenants go on now; one that is `blocked` goes on behind its failed event
    Release(ReleaseOptions),
}

#[derive(Debug, clap::Args)]
struct ListOptions {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..=1_000))]
    limit: i64,

    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ReleaseOptions {
    /// Tenants to release
    #[arg(value_name = "TENANT", required_unless_present = "all", conflicts_with = "all")]
    tenants: Vec<String>,

    /// Release every tenant that is on hold
    #[arg(long)]
    all: bool,

    /// Say what would be released, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Who does it, for the audit [default: database role and system user]
    #[arg(long, value_name = "WHO", value_parser = operate::parse_text)]
    by: Option<String>,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = operate::parse_text)]
    reason: Option<String>,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let work = async {
        match &options.action {
            Action::List(options) => list(options, context).await,
            Action::Release(options) => release(options, context).await,
        }
    };
    operate::unless_stopped(&context.stop, work).await
}

async fn list(options: &ListOptions, context: &Context) -> Result<(), Failure> {
    let mut operator = operate::operator(context).await?;
    let pauses = operator.pauses(options.limit).await?;
    let holds = operator.holds("", None, options.limit, BACKLOG_MAX).await?;
    if i64::try_from(holds.len()).is_ok_and(|found| found >= options.limit) {
        tracing::info!("there may be more: --limit is {}", options.limit);
    }
    if options.json {
        pauses.iter().try_for_each(operate::json)?;
        return holds.iter().try_for_each(operate::json);
    }
    let rows: Vec<Vec<String>> = pauses.iter().map(paused).chain(holds.iter().map(row)).collect();
    operate::lines(&table::lines(&HEAD, &rows))
}

pub(super) fn paused(pause: &Pause) -> Vec<String> {
    vec![
        pause::in_words(pause),
        "paused".to_owned(),
        time(&pause.since),
        pause.until.as_deref().map_or_else(|| "resumed".to_owned(), time),
        String::new(),
        format!("by {}: {}", pause.actor, pause.reason.as_deref().unwrap_or("no reason given")),
    ]
}

fn time(time: &str) -> String {
    time.get(..19).map_or_else(|| time.to_owned(), |at| format!("{at}Z"))
}

pub(super) fn row(hold: &HeldTenant) -> Vec<String> {
    vec![
        hold.tenant_id.clone(),
        hold.reason.clone(),
        time(&hold.since),
        match &hold.until {
            None => "somebody acts".to_owned(),
            Some(_) if !hold.waiting => "now: retrying".to_owned(),
            Some(until) => time(until),
        },
        backlog(hold),
        hold.message.clone(),
    ]
}

fn backlog(hold: &HeldTenant) -> String {
    let more = if hold.backlog >= BACKLOG_MAX { "+" } else { "" };
    format!("{}{more}", hold.backlog)
}

/// A hold in one line.
pub(super) fn in_words(hold: &HeldTenant) -> String {
    let until = hold.until.as_deref().unwrap_or("somebody acts");
    let HeldTenant { tenant_id, since, reason, message, .. } = hold;
    format!(
        "tenant {tenant_id} since {since} until {until}, {} waiting, {reason}: {message}",
        backlog(hold)
    )
}

async fn release(options: &ReleaseOptions, context: &Context) -> Result<(), Failure> {
    let mut operator = operate::operator(context).await?;
    let mut account = operate::account(&operator, options.by.as_deref(), options.reason.as_deref());
    if !options.all {
        // All of them are looked up before the first is released.
        for tenant in &options.tenants {
            if operator.holds("", Some(tenant), 1, 1).await?.is_empty() {
                return Err(Failure::new(
                    Exit::BadData,
                    format!("tenant {tenant:?} is not on hold"),
                    "see `outbox-relay holds list`",
                ));
            }
        }
        for tenant in &options.tenants {
            release_one(&mut operator, tenant, options.dry_run, &account).await?;
        }
        return Ok(());
    }
    account.filter = Some(r#"{"all":true}"#.to_owned());
    let mut after = String::new();
    loop {
        let page = operator.holds(&after, None, PAGE, 1).await?;
        for hold in &page {
            release_one(&mut operator, &hold.tenant_id, options.dry_run, &account).await?;
        }
        match page.into_iter().last() {
            Some(last) => after = last.tenant_id,
            None => return Ok(()),
        }
    }
}

async fn release_one(
    operator: &mut Operator,
    tenant: &str,
    dry_run: bool,
    account: &crate::store::decide::Account,
) -> Result<(), Failure> {
    let name = table::clean(tenant);
    if dry_run {
        return output::line(&format!("would release {name}"));
    }
    if operator.release_hold(tenant, account).await? {
        return output::line(&format!("released {name}"));
    }
    output::line(&format!("{name} is no longer on hold"))
}
