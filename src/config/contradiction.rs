//! Settings that are each right and do not go together.

use std::net::SocketAddr;

use super::configuration::missing;
use super::problem::{Origin, Problem};
use super::settings::{OnOversize, Settings};
use crate::domain::routing::Routing;

/// What keeps a relay from starting. `reads` says which secrets the command has looked for, `of_key` where a
/// setting came from.
pub(super) fn problems(
    settings: &Settings,
    reads: impl Fn(&'static str) -> bool,
    of_key: impl Fn(&str) -> Origin,
) -> Vec<Problem> {
    let (modules, too) = (settings.channel_modules.clone(), settings.channel_tenant_too);
    let routing = Routing::new(&settings.channel_template, modules, too);
    let mut problems: Vec<Problem> = routing
        .err()
        .into_iter()
        .flatten()
        .map(|error| {
            let what = format!("channel.template: {error}");
            let remedy = "change it, or leave channel.modules and channel.tenant_too as they are";
            Problem::at(what, of_key("channel.template"), remedy)
        })
        .collect();
    if settings.message_oversize == OnOversize::Reference && reads("payload.secret") {
        if settings.payload_url.is_none() {
            problems.push(missing("payload.url"));
        }
        if settings.payload_secret.is_none() {
            problems.push(missing("payload.secret"));
        }
    }
    if reads("http.dashboard_token") {
        problems.extend(open_dashboard(settings, of_key("http.dashboard")));
    }
    problems
}

/// Others could look, and perhaps act.
fn open_dashboard(settings: &Settings, origin: Origin) -> Option<Problem> {
    let listen: SocketAddr = settings.http_listen.parse().ok()?;
    let open = !listen.ip().is_loopback() && settings.http_dashboard_token.is_none();
    (open && settings.http_dashboard.serves(listen)).then(|| {
        let what = format!("http.dashboard is on at {listen}, which other machines reach, and http.dashboard_token is not set");
        let remedy = "set OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN (or …_FILE), or listen on 127.0.0.1";
        Problem::at(what, origin, remedy)
    })
}

/// What is worth a line in the log.
pub(super) fn warnings(settings: &Settings, of_key: impl Fn(&str) -> Origin) -> Vec<Problem> {
    let grace = settings.shutdown_grace;
    let kept = settings.retention_published;
    let by_reference = settings.message_oversize == OnOversize::Reference;
    [
        (
            !grace.is_zero() && grace < settings.ably_request_timeout,
            "shutdown.grace",
            "shutdown.grace is shorter than ably.request_timeout: a stop may cut a request off",
            "raise shutdown.grace or lower ably.request_timeout",
        ),
        (
            settings.ably_connect_timeout > settings.ably_request_timeout,
            "ably.connect_timeout",
            "ably.connect_timeout is longer than ably.request_timeout and never reached",
            "lower ably.connect_timeout",
        ),
        (
            by_reference && settings.http_listen == "off",
            "message.oversize",
            "message.oversize is reference and http.listen is off: this relay serves no payloads",
            "set http.listen, unless another relay serves them",
        ),
        (
            by_reference && !kept.is_zero() && kept < settings.payload_lifetime,
            "payload.lifetime",
            "payload.lifetime is longer than retention.published: links will lead to deleted events",
            "lower payload.lifetime or raise retention.published",
        ),
    ]
    .into_iter()
    .filter(|(applies, ..)| *applies)
    .map(|(_, key, what, remedy)| Problem::at(what, of_key(key), remedy))
    .collect()
}
