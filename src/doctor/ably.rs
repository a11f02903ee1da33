//! Ably: the way there, its clock, and what the key may do. Nothing is published: a key is tried by asking for
//! a token with the capability, so that no subscriber notices.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::finding::{Finding, Report};
use super::server::clock_offset;
use super::{Subject, Trouble};
use crate::ably::Client;
use crate::domain::failure::FailureClass;

const ABLY: &str = "ably";

pub(super) async fn examine(report: &mut Report, subject: &Subject) {
    let client = match &subject.ably {
        Ok(client) => client,
        Err(Trouble { cause, remedy }) => {
            return report.add(Finding::critical(ABLY, "key", cause, remedy));
        }
    };
    let begun = Instant::now();
    let time = match client.time().await {
        Ok(time) => time,
        Err(failure) => {
            let remedy = "check ABLY_ENDPOINT, the way to the internet, and status.ably.com";
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            return report.add(
                Finding::critical(ABLY, "reachable", failure.to_string(), remedy).measured(ms),
            );
        }
    };
    let took = begun.elapsed();
    let ms = took.as_millis();
    report.add(
        Finding::ok(ABLY, "reachable", format!("answers in {ms} ms"))
            .measured(u64::try_from(ms).unwrap_or(u64::MAX)),
    );
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // When it answered, if both ways take as long.
    let here = here.saturating_sub(took / 2).as_millis();
    let offset = time - i64::try_from(here).unwrap_or(i64::MAX);
    report.add(clock_offset(ABLY, "Ably's clock", offset));
    for resource in &subject.resources {
        report.add(may_publish(client, resource).await);
    }
}

/// Whether the key may do what a relay does.
async fn may_publish(client: &Client, resource: &str) -> Finding {
    match client.may_publish(resource).await {
        Ok(()) => Finding::ok(ABLY, "key", format!("may publish to {resource}")),
        Err(failure) => match failure.class {
            FailureClass::Capability => Finding::critical(
                ABLY,
                "key",
                failure.to_string(),
                format!("give the key the publish capability for {resource} in Ably's dashboard"),
            )
            .measured(failure.code),
            FailureClass::Configuration => {
                Finding::critical(ABLY, "key", failure.to_string(), failure.class.remedy())
                    .measured(failure.code)
            }
            FailureClass::Outage
            | FailureClass::ThrottledAccount
            | FailureClass::ThrottledChannel
            | FailureClass::Content
            | FailureClass::Unknown => {
                let says = format!("it is not known what the key may do: {failure}");
                Finding::skipped(ABLY, "key", says)
            }
        },
    }
}
