//! `outbox-relay events requeue` and `outbox-relay events discard`.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};

use tokio_util::sync::CancellationToken;

use super::list;
use super::select::{self, FilterOptions};
use super::tally::{Pace, Tally};
use crate::cli::failure::{Exit, Failure};
use crate::cli::operate::{self, counted};
use crate::cli::{Context, output};
use crate::domain::event::{Seq, TenantId};
use crate::store::decide::{Account, Decision};
use crate::store::operator::{COUNT_MAX, Operator};
use crate::store::stored_event::{EventFilter, StoredEvent};

/// Events that a filter brings at once.
const PAGE: i64 = 1_000;

/// Events in the sample of a dry run.
const SAMPLE: i64 = 10;

#[derive(Debug, clap::Args)]
struct Target {
    /// Ids or positions of failed events
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Count the events, show some, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask; needed for a filter where nobody can be asked
    #[arg(long)]
    yes: bool,

    /// Who does it, for the audit [default: database role and system user]
    #[arg(long, value_name = "WHO", value_parser = operate::parse_text)]
    by: Option<String>,

    /// Every failed event
    #[arg(long, help_heading = "Filter")]
    all: bool,

    // Last: its heading is that of what follows.
    #[command(flatten)]
    filter: FilterOptions,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A requeued event keeps its envelope id, and gets a new message id, so that Ably delivers it again
within the two minutes for which it remembers ids too.

Examples:
  outbox-relay events requeue 01a2b3…                         one event, by id
  outbox-relay events requeue --code 40009 --since 2h --dry-run
  outbox-relay events requeue --tenant tenant-abc --rate 10 --yes")]
pub(super) struct RequeueOptions {
    /// Events a second at most
    #[arg(long, value_name = "N", default_value_t = 500)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", value_parser = operate::parse_text)]
    reason: Option<String>,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A discarded event stays in the outbox as failed, with the decision in its error; lists leave it out
unless --discarded is given, and `events requeue --discarded` takes the decision back.")]
pub(super) struct DiscardOptions {
    /// Why; stored with the event
    #[arg(long, value_name = "TEXT", value_parser = operate::parse_text)]
    reason: String,

    #[command(flatten)]
    target: Target,
}

pub(super) async fn requeue(options: &RequeueOptions, context: &Context) -> Result<(), Failure> {
    let decision = Decision::Requeue { discarded: options.target.filter.discarded };
    let wording = Wording { verb: "requeue", past: "requeued" };
    let reason = options.reason.as_deref();
    execute(&options.target, decision, wording, reason, options.rate, context).await
}

pub(super) async fn discard(options: &DiscardOptions, context: &Context) -> Result<(), Failure> {
    let wording = Wording { verb: "discard", past: "discarded" };
    if options.target.filter.discarded {
        return Err(Failure::new(
            Exit::Usage,
            "discarded events cannot be discarded again",
            "leave --discarded out",
        ));
    }
    // Nothing is published, so the database's own pace will do.
    let reason = Some(options.reason.as_str());
    execute(&options.target, Decision::Discard, wording, reason, u32::MAX, context).await
}

#[derive(Debug, Clone, Copy)]
struct Wording {
    verb: &'static str,
    past: &'static str,
}

async fn execute(
    target: &Target,
    decision: Decision,
    wording: Wording,
    reason: Option<&str>,
    rate: u32,
    context: &Context,
) -> Result<(), Failure> {
    target.check(wording)?;
    let mut operator = operate::operator(context).await?;
    let account = operate::account(&operator, target.by.as_deref(), reason);
    let stop = &context.stop;
    let mut run = Run { decision, wording, account, stop, rate, tally: Tally::default() };
    let outcome = if target.ids.is_empty() {
        run.by_filter(target, &mut operator).await
    } else {
        run.by_ids(target, &mut operator).await
    };
    // What has been done is said whatever ended it.
    if run.tally.asked > 0 {
        operate::lines(&run.tally.summary(wording.past))?;
    }
    outcome
}

impl Target {
    /// Ids or a filter, not both, and not neither.
    fn check(&self, wording: Wording) -> Result<(), Failure> {
        let filtered = self.all || !self.filter.is_empty();
        let cause = match (self.ids.is_empty(), filtered) {
            (false, true) => "both ids and a filter are given",
            (true, false) => "neither an id nor a filter is given",
            (true, true) if self.all && !self.filter.is_empty() => {
                "--all and a filter contradict each other"
            }
            (false, false) | (true, true) => return self.check_consent(wording),
        };
        let verb = wording.verb;
        let remedy = format!(
            "name events, or narrow them down by --tenant, --type, --code or --since; `events {verb} --all` means every failed event"
        );
        Err(Failure::new(Exit::Usage, cause, remedy))
    }

    /// A filter may mean more than one thinks: somebody has to say yes.
    fn check_consent(&self, wording: Wording) -> Result<(), Failure> {
        let sure = self.yes || self.dry_run || !self.ids.is_empty();
        if sure || (std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Usage,
            format!("a filter without --yes, and nobody here to ask whether to {}", wording.verb),
            "look at it with --dry-run, then add --yes",
        ))
    }
}

/// One command under way.
struct Run<'c> {
    decision: Decision,
    wording: Wording,
    account: Account,
    stop: &'c CancellationToken,
    rate: u32,
    tally: Tally,
}

impl Run<'_> {
    async fn by_ids(&mut self, target: &Target, operator: &mut Operator) -> Result<(), Failure> {
        let events = select::events(operator, &target.ids, false).await?;
        for event in &events {
            self.refuse(event)?;
        }
        if target.dry_run {
            let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
            let verb = self.wording.verb;
            output::line(&format!("would {verb} {}", counted(count, "event")))?;
            return operate::lines(&list::table_of(&events));
        }
        let events = events.into_iter().map(|e| (Seq(e.seq), TenantId::new(e.tenant_id)));
        self.page(events.collect(), operator, &mut Pace::new(self.rate)).await
    }

    /// Only what has failed can be decided about, and a decision is not taken back by accident.
    fn refuse(&self, event: &StoredEvent) -> Result<(), Failure> {
        let (id, verb) = (&event.id, self.wording.verb);
        let (cause, remedy) = match (event.status.as_str(), event.discarded().is_some()) {
            ("failed", false) => return Ok(()),
            ("failed", true) if self.decision == (Decision::Requeue { discarded: true }) => {
                return Ok(());
            }
            ("failed", true) => (
                format!("event {id} was discarded; nothing was changed"),
                "see `outbox-relay events show`; `events requeue --discarded` takes the decision back",
            ),
            ("published", _) => (
                format!(
                    "event {id} is published: only failed events can be {}; nothing was changed",
                    self.wording.past
                ),
                "insert a new event instead: subscribers have seen this one",
            ),
            (status, _) => (
                format!("event {id} is {status}: there is nothing to {verb}; nothing was changed"),
                "it is published in its turn; `outbox-relay holds list` says whether its tenant waits",
            ),
        };
        Err(Failure::new(Exit::BadData, cause, remedy))
    }

    async fn by_filter(&mut self, target: &Target, operator: &mut Operator) -> Result<(), Failure> {
        let filter = target.filter.filter(operator);
        let count = operator.count_failed(&filter).await?;
        let Some(last) = count.last.filter(|_| count.events > 0) else {
            return output::line("no failed event matches");
        };
        let more = if count.events > COUNT_MAX { "more than " } else { "" };
        let events = counted(count.events.min(COUNT_MAX), "event");
        let what = format!("{more}{events} of {}", counted(count.tenants, "tenant"));
        let verb = self.wording.verb;
        if target.dry_run {
            output::line(&format!("would {verb} {what}; the first are"))?;
            let first = operator.next_failed(&filter, Seq(i64::MIN), last, SAMPLE).await?;
            let seqs: Vec<Seq> = first.into_iter().map(|(seq, _)| seq).collect();
            return operate::lines(&list::table_of(&operator.events(&seqs, false).await?));
        }
        if !target.yes && !confirmed(&format!("{verb} {what}?"), self.stop).await? {
            return output::line("nothing was changed");
        }
        self.account.filter = Some(filter_text(&filter));
        let mut pace = Pace::new(self.rate);
        let mut after = Seq(i64::MIN);
        loop {
            let page = operator.next_failed(&filter, after, last, PAGE).await?;
            let Some((end, _)) = page.last() else {
                return Ok(());
            };
            after = *end;
            self.page(page, operator, &mut pace).await?;
        }
    }

    /// Tenant by tenant, and within a tenant in order.
    async fn page(
        &mut self,
        events: Vec<(Seq, TenantId)>,
        operator: &mut Operator,
        pace: &mut Pace,
    ) -> Result<(), Failure> {
        let mut tenants: BTreeMap<TenantId, Vec<Seq>> = BTreeMap::new();
        for (seq, tenant) in events {
            tenants.entry(tenant).or_default().push(seq);
        }
        for (tenant, seqs) in &tenants {
            for batch in seqs.chunks(pace.batch()) {
                if !pace.wait(self.stop).await {
                    return Err(Failure::new(
                        Exit::Temporary,
                        "interrupted before everything was done",
                        "run the same command again for the rest",
                    ));
                }
                let decided = operator.decide(self.decision, tenant, batch, &self.account).await?;
                pace.took(batch.len(), tokio::time::Instant::now());
                self.tally.add(tenant, batch.len(), &decided);
                self.tally.say_progress(self.wording.past);
            }
        }
        Ok(())
    }
}

/// What a filter was, for the audit.
fn filter_text(filter: &EventFilter) -> String {
    // Strings, a number and a boolean: it always serialises.
    serde_json::to_string(filter).unwrap_or_default()
}

/// Asks on the terminal.
async fn confirmed(question: &str, stop: &CancellationToken) -> Result<bool, Failure> {
    // Without a line break: the answer follows it.
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        () = stop.cancelled() => Ok(false),
        answer = answer => match answer {
            Ok(Ok(line)) => Ok(matches!(line.trim(), "y" | "Y" | "yes")),
            Ok(Err(_)) | Err(_) => Ok(false),
        },
    }
}
