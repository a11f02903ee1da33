//! What the operators' commands share: the connection, who they act for, and being interrupted.

use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::{Context, assemble, output};
use crate::store::decide::Account;
use crate::store::operator::Operator;

/// The longest `--by` and `--reason`, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// Connects to the outbox of the settings.
pub(super) async fn operator(context: &Context) -> Result<Operator, Failure> {
    let configuration = &context.configuration;
    let store = assemble::store(&configuration.settings, configuration.database_url()?)?;
    // Boxed: connecting is a large future, and every command would contain it.
    Ok(Box::pin(store.operator()).await?)
}

/// Runs what changes nothing, or nothing that a rollback would not undo, until it is done or the user
/// has had enough.
pub(super) async fn unless_stopped(
    stop: &CancellationToken,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::select! {
        () = stop.cancelled() => Err(Failure::new(Exit::Temporary, "interrupted", "run it again")),
        outcome = work => outcome,
    }
}

/// On whose account this command acts.
pub(super) fn account(operator: &Operator, by: Option<&str>, reason: Option<&str>) -> Account {
    let actor = by.map_or_else(|| format!("{} ({})", operator.role(), os_user()), str::to_owned);
    let operation = uuid::Uuid::now_v7().to_string();
    Account { actor, operation, filter: None, reason: reason.map(str::to_owned) }
}

fn os_user() -> String {
    let uid = nix::unistd::Uid::current();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// `--by` and `--reason`: one line that says something.
pub(super) fn parse_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        Err("it is blank".to_owned())
    } else if text.chars().count() > TEXT_CHARS_MAX {
        Err(format!("it is longer than {TEXT_CHARS_MAX} characters"))
    } else if text.chars().any(char::is_control) {
        Err("it contains a control character".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Several lines on stdout.
pub(super) fn lines(lines: &[String]) -> Result<(), Failure> {
    lines.iter().try_for_each(|line| output::line(line))
}

/// A value as one line of JSON on stdout.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::internal(format!("the output is not JSON: {error}")))?;
    output::line(&text)
}

/// `1 event`, `2 events`.
pub(super) fn counted(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
