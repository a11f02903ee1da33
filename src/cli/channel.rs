//! `outbox-relay channel`: from tenants to channel names and back.

use serde::Serialize;

use super::failure::{Exit, Failure};
use super::{operate, output};
use crate::domain::channel::ChannelName;
use crate::domain::event::TenantId;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// The channel of a tenant; with --event-type that of the event type's module
    Name {
        /// The tenant's id
        #[arg(long, value_name = "T")]
        tenant: String,

        /// An event type, whose first segment is its module
        #[arg(long, value_name = "E")]
        event_type: Option<String>,

        /// One JSON object instead of the bare name
        #[arg(long)]
        json: bool,
    },
    /// The tenant of a channel and, if it has one, the module
    Parse {
        /// The channel's name, such as tenant:abc
        #[arg(value_name = "NAME")]
        name: String,

        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

/// A channel and what it is made of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    channel: &'a str,
    tenant_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
}

pub(super) fn execute(options: &Options) -> Result<(), Failure> {
    match &options.action {
        Action::Name { tenant, event_type, json } => {
            let tenant = TenantId::new(tenant);
            let channel = match event_type {
                Some(event_type) => ChannelName::for_module(&tenant, event_type),
                None => ChannelName::for_tenant(&tenant),
            };
            let channel = channel.map_err(|error| {
                Failure::of_line(
                    Exit::BadData,
                    error,
                    "name the tenant and an event type such as kitchen.task",
                )
            })?;
            if *json { show(channel.as_str(), true) } else { output::line(channel.as_str()) }
        }
        Action::Parse { name, json } => show(name, *json),
    }
}

fn show(channel: &str, json: bool) -> Result<(), Failure> {
    let (tenant, module) = ChannelName::parse(channel).ok_or_else(|| {
        let shown: String = channel.chars().take(100).collect();
        Failure::new(
            Exit::BadData,
            format!("{shown:?} is no channel of a tenant"),
            "channels are tenant:{tenantId} and tenant:{tenantId}:{module}",
        )
    })?;
    if json {
        return operate::json(&Shown { channel, tenant_id: tenant.as_str(), module });
    }
    let module = module.map(|module| format!("module {module}"));
    operate::lines(&std::iter::once(format!("tenant {tenant}")).chain(module).collect::<Vec<_>>())
}
