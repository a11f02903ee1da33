//! Which channels an event goes to: its tenant's, or those that a template makes of its columns.
//!
//! What is promised under a template: order and completeness *per channel*. To keep that with rows that are claimed
//! tenant by tenant, two tenants must never share a channel. So a template contains `{tenant_id}`, and at most one
//! placeholder between two colons: as no value contains a colon, the parts of a name can be told apart, and different
//! tenants have different names. (`{tenant_id}{module}` would make one name of `a` + `bc` and `ab` + `c`.)

use std::fmt;

use super::channel::{ChannelError, ChannelName, module_of};
use super::event::Event;

/// The template of the channel that every tenant has.
pub const TENANT_TEMPLATE: &str = "tenant:{tenant_id}";

/// The columns that a template may name.
pub const PLACEHOLDERS: [&str; 5] =
    ["tenant_id", "module", "event_type", "aggregate_type", "aggregate_id"];

/// What is wrong with a template or with what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// No such column.
    #[error("has an unknown placeholder {{{0}}}; there are {known}", known = known())]
    Unknown(String),
    /// A `{` or `}` without its other half.
    #[error("has a brace without its other half")]
    Unbalanced,
    /// Two tenants would share a channel.
    #[error("lacks {{tenant_id}}: two tenants would share a channel, and order is kept per tenant")]
    NoTenant,
    /// The parts could not be told apart.
    #[error(
        "has several placeholders in {0:?}: put a colon between them, or two tenants could share a channel"
    )]
    Joined(String),
    /// Nothing between two colons, at the start or at the end.
    #[error("has an empty part: a channel's name has something on both sides of each colon")]
    EmptyPart,
    /// A character that Ably or its capability wildcards cannot carry safely.
    #[error("contains {0:?}, which an Ably channel or capability cannot carry safely")]
    Forbidden(char),
    /// It could make the name of another tenant's own channel.
    #[error(
        "could make the name of another tenant's own channel, tenant:{{tenant_id}}, which is used too: \
         give it another first part than \"tenant\", or a third part"
    )]
    LikeTenants,
}

fn known() -> String {
    PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ")
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column(&'static str),
}

/// A channel's name with columns left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<TemplateError>> {
        let (mut pieces, mut errors) = (Vec::new(), Vec::new());
        for (index, part) in text.split(':').enumerate() {
            if index > 0 {
                pieces.push(Piece::Text(":".to_owned()));
            }
            if part.trim().is_empty() {
                errors.push(TemplateError::EmptyPart);
            }
            read_part(part, &mut pieces, &mut errors);
        }
        let forbidden = text.chars().enumerate().find(|(index, c)| {
            matches!(c, '*' | ',') || c.is_control() || (*index == 0 && *c == '[')
        });
        errors.extend(forbidden.map(|(_, c)| TemplateError::Forbidden(c)));
        if !pieces.contains(&Piece::Column("tenant_id")) {
            errors.push(TemplateError::NoTenant);
        }
        errors.dedup();
        if errors.is_empty() { Ok(Self(pieces)) } else { Err(errors) }
    }

    /// The channel of an event.
    ///
    /// # Errors
    /// When the event lacks a column that the template names, or has one that Ably cannot carry in a name.
    pub fn fill(&self, event: &Event) -> Result<ChannelName, ChannelError> {
        let mut name = String::with_capacity(64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Column(column) => name.push_str(checked(column, value(column, event)?)?),
            }
        }
        ChannelName::of_checked(name)
    }

    /// The resource of Ably's capabilities that covers every channel of this template: its first part and all
    /// below it.
    pub fn resource(&self) -> String {
        match self.0.as_slice() {
            [Piece::Text(first), Piece::Text(colon), ..] if colon == ":" => format!("{first}:*"),
            _ => "*".to_owned(),
        }
    }

    /// Whether it may make `tenant:` and one more part, as [`TENANT_TEMPLATE`] does.
    fn may_look_like_tenants(&self) -> bool {
        let colon = Piece::Text(":".to_owned());
        let mut parts = self.0.split(|piece| *piece == colon);
        let (first, others) = (parts.next().unwrap_or_default(), parts.count());
        let literal = matches!(first, [Piece::Text(text)] if text != "tenant");
        others == 1 && !literal
    }
}

/// Reads what stands between two colons.
fn read_part(part: &str, pieces: &mut Vec<Piece>, errors: &mut Vec<TemplateError>) {
    let (mut rest, mut columns) = (part, 0);
    while let Some((before, after)) = rest.split_once('{') {
        if before.contains('}') {
            errors.push(TemplateError::Unbalanced);
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some((name, behind)) = after.split_once('}') else {
            errors.push(TemplateError::Unbalanced);
            return;
        };
        match PLACEHOLDERS.iter().find(|known| **known == name) {
            Some(known) => pieces.push(Piece::Column(known)),
            None => errors.push(TemplateError::Unknown(name.to_owned())),
        }
        (rest, columns) = (behind, columns + 1);
    }
    if rest.contains('}') {
        errors.push(TemplateError::Unbalanced);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    if columns > 1 {
        errors.push(TemplateError::Joined(part.to_owned()));
    }
}

fn value<'e>(column: &str, event: &'e Event) -> Result<&'e str, ChannelError> {
    Ok(match column {
        "tenant_id" => event.tenant_id.as_str(),
        "module" => module_of(&event.event_type).ok_or(ChannelError::NoModule)?,
        "event_type" => &event.event_type,
        "aggregate_type" => &event.aggregate_type,
        _ => &event.aggregate_id,
    })
}

fn checked<'e>(column: &'static str, value: &'e str) -> Result<&'e str, ChannelError> {
    if value.trim().is_empty() {
        return Err(ChannelError::BlankColumn(column));
    }
    match value.chars().find(|c| matches!(c, ':' | '*' | ',') || c.is_control()) {
        Some(bad) => Err(ChannelError::ForbiddenInColumn(column, bad)),
        None => Ok(value),
    }
}

/// The channels of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The channel that events are grouped by.
    pub lead: ChannelName,
    /// Another one that gets it too.
    pub also: Option<ChannelName>,
}

/// Where events go. By default to their tenant's channel.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Routing {
    /// None: the tenant's channel.
    template: Option<Template>,
    /// Modules that go by the template; none for all.
    modules: Option<Vec<String>>,
    /// Whether the tenant's channel gets those events too.
    tenant_too: bool,
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.template {
            None => f.write_str(TENANT_TEMPLATE),
            Some(template) => (template, &self.modules, self.tenant_too).fmt(f),
        }
    }
}

impl Routing {
    /// Routing by a template: events of `modules`, or all; `tenant_too` publishes them to their tenant's channel as
    /// well.
    ///
    /// # Errors
    /// Everything that is wrong with the template, and its clash with the tenants' channels if those are used beside it.
    pub fn new(
        template: &str,
        modules: Option<Vec<String>>,
        tenant_too: bool,
    ) -> Result<Self, Vec<TemplateError>> {
        let parsed = Template::parse(template)?;
        if template == TENANT_TEMPLATE {
            return Ok(Self::default());
        }
        if (tenant_too || modules.is_some()) && parsed.may_look_like_tenants() {
            return Err(vec![TemplateError::LikeTenants]);
        }
        Ok(Self { template: Some(parsed), modules, tenant_too })
    }

    /// Whether every event goes to its tenant's channel and nowhere else.
    pub fn is_plain(&self) -> bool {
        self.template.is_none()
    }

    /// Where an event goes.
    ///
    /// # Errors
    /// As [`ChannelName::for_tenant`] and [`Template::fill`].
    pub fn route(&self, event: &Event) -> Result<Route, ChannelError> {
        let by_template = self.template.as_ref().filter(|_| {
            let module = module_of(&event.event_type);
            self.modules.as_ref().is_none_or(|named| named.iter().any(|m| Some(&**m) == module))
        });
        let Some(template) = by_template else {
            return Ok(Route { lead: ChannelName::for_tenant(&event.tenant_id)?, also: None });
        };
        let channel = template.fill(event)?;
        if !self.tenant_too {
            return Ok(Route { lead: channel, also: None });
        }
        // Grouped by the channel that all of the tenant's events share: so each of both gets them in order.
        Ok(Route { lead: ChannelName::for_tenant(&event.tenant_id)?, also: Some(channel) })
    }

    /// The resources of Ably's capabilities that the relay's key must be able to publish to.
    pub fn resources(&self) -> Vec<String> {
        let tenants = "tenant:*".to_owned();
        let mut resources = match &self.template {
            None => vec![tenants],
            Some(template) if self.tenant_too || self.modules.is_some() => {
                vec![tenants, template.resource()]
            }
            Some(template) => vec![template.resource()],
        };
        resources.dedup();
        resources
    }
}

#[cfg(test)]
mod tests;
