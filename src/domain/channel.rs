//! Channel names: `tenant:{tenantId}`, and `tenant:{tenantId}:{module}` where events are routed by module.

use std::fmt;

use super::event::TenantId;

/// Prefix of every tenant channel; also the Ably namespace that one channel rule can cover.
const PREFIX: &str = "tenant:";

/// The longest channel name that is sent, in bytes. Ably advises fewer than 2,048 characters.
pub const CHANNEL_BYTES_MAX: usize = 2_047;

/// Why a tenant cannot have a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Empty or only blanks.
    #[error("tenantId is required")]
    Blank,
    /// A character that Ably or its capability wildcards cannot carry safely.
    #[error(
        "tenantId contains {0:?}, which an Ably channel or capability cannot carry safely; use an id without ':', '*', ',' and line breaks"
    )]
    Forbidden(char),
    /// `[` at the start is Ably's syntax for channel qualifiers.
    #[error(
        "tenantId starts with '[', which Ably reads as a channel qualifier; use another first character"
    )]
    LeadingBracket,
    /// Longer than [`CHANNEL_BYTES_MAX`] with its prefix.
    #[error("tenantId makes a channel name of {0} bytes; the limit is {CHANNEL_BYTES_MAX}")]
    TooLong(usize),
    /// The event type has no module.
    #[error("eventType needs at least two segments, such as kitchen.task")]
    NoModule,
    /// The module holds a character that Ably or its capability wildcards cannot carry safely.
    #[error(
        "eventType's module contains {0:?}, which an Ably channel or capability cannot carry safely; use a module without ':', '*', ',' and line breaks"
    )]
    ForbiddenInModule(char),
    /// A column that the channel's template names is empty or only blanks.
    #[error("{0} is blank, and the channel's template names it")]
    BlankColumn(&'static str),
    /// A column that the channel's template names holds a character that cannot be carried safely.
    #[error(
        "{0} contains {1:?}, which an Ably channel or capability cannot carry safely; leave it out of the channel's template"
    )]
    ForbiddenInColumn(&'static str, char),
}

/// A channel name that Ably takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(String);

impl ChannelName {
    /// The channel of a tenant.
    ///
    /// # Errors
    /// When the id is blank, too long, or holds a character that Ably cannot carry safely: a `:` or
    /// `*` would match another tenant's capability, a `,` breaks lists of channels, and control
    /// characters break logs and lines.
    pub fn for_tenant(tenant: &TenantId) -> Result<Self, ChannelError> {
        let id = tenant.as_str();
        if id.trim().is_empty() {
            return Err(ChannelError::Blank);
        }
        if let Some(bad) = id.chars().find(is_unsafe) {
            return Err(ChannelError::Forbidden(bad));
        }
        if id.starts_with('[') {
            return Err(ChannelError::LeadingBracket);
        }
        let bytes = PREFIX.len() + id.len();
        if bytes > CHANNEL_BYTES_MAX {
            return Err(ChannelError::TooLong(bytes));
        }
        Ok(Self(format!("{PREFIX}{id}")))
    }

    /// The channel of one module of a tenant: `tenant:abc` and `kitchen.task.claimed` give `tenant:abc:kitchen`.
    ///
    /// # Errors
    /// As [`ChannelName::for_tenant`], and when the event type has no module or one that Ably cannot carry safely.
    pub fn for_module(tenant: &TenantId, event_type: &str) -> Result<Self, ChannelError> {
        let Self(mut name) = Self::for_tenant(tenant)?;
        let module = module_of(event_type).ok_or(ChannelError::NoModule)?;
        if let Some(bad) = module.chars().find(is_unsafe) {
            return Err(ChannelError::ForbiddenInModule(bad));
        }
        name.push(':');
        name.push_str(module);
        if name.len() > CHANNEL_BYTES_MAX {
            return Err(ChannelError::TooLong(name.len()));
        }
        Ok(Self(name))
    }

    /// A name that is made of checked parts.
    ///
    /// # Errors
    /// When the whole is too long or begins with `[`.
    pub(super) fn of_checked(name: String) -> Result<Self, ChannelError> {
        if name.starts_with('[') {
            return Err(ChannelError::LeadingBracket);
        }
        if name.len() > CHANNEL_BYTES_MAX {
            return Err(ChannelError::TooLong(name.len()));
        }
        Ok(Self(name))
    }

    /// A name that was in use already: of a group on record.
    pub fn recorded(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Whether it is the tenant's own channel.
    pub fn is_of_tenant(&self, tenant: &TenantId) -> bool {
        self.0.strip_prefix(PREFIX) == Some(tenant.as_str())
    }

    /// The tenant and, of a module's channel, the module: `tenant:abc:kitchen` gives `abc` and `kitchen`. What
    /// [`ChannelName::for_tenant`] and [`ChannelName::for_module`] would not make gives `None`.
    pub fn parse(channel: &str) -> Option<(TenantId, Option<&str>)> {
        let rest = channel.strip_prefix(PREFIX)?;
        let (tenant, module) = match rest.split_once(':') {
            Some((tenant, module)) => (TenantId::new(tenant), Some(module)),
            None => (TenantId::new(rest), None),
        };
        let made = match module {
            // Any second segment does: only the first one counts.
            Some(module) if module.contains('.') => return None,
            Some(module) => Self::for_module(&tenant, &format!("{module}.x")),
            None => Self::for_tenant(&tenant),
        };
        made.is_ok().then_some((tenant, module))
    }

    /// The tenant of a channel: `tenant:abc` gives `abc`. Anything with no or more than one colon,
    /// another prefix or an empty tenant is not a tenant channel.
    pub fn tenant_of(channel: &str) -> Option<TenantId> {
        let id = channel.strip_prefix(PREFIX)?;
        (!id.is_empty() && !id.contains(':')).then(|| TenantId::new(id))
    }

    /// The name as Ably has it, not percent-encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What would match another tenant's capability, break a list of channels, or break logs and lines.
fn is_unsafe(c: &char) -> bool {
    matches!(c, ':' | '*' | ',') || c.is_control()
}

/// The module of an event type: `kitchen.task.claimed` gives `kitchen`.
///
/// Returns `None` for fewer than two segments or an empty first one.
pub fn module_of(event_type: &str) -> Option<&str> {
    let (module, rest) = event_type.split_once('.')?;
    (!module.trim().is_empty() && !rest.trim().is_empty()).then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(id: &str) -> Result<String, ChannelError> {
        ChannelName::for_tenant(&TenantId::new(id)).map(|c| c.as_str().to_owned())
    }

    #[test]
    fn a_tenant_has_one_channel_and_back() {
        assert_eq!(channel("abc").unwrap(), "tenant:abc");
        assert_eq!(channel("café/ü 1").unwrap(), "tenant:café/ü 1");
        assert_eq!(ChannelName::tenant_of("tenant:abc"), Some(TenantId::new("abc")));
        for other in ["tenant:", "tenant", "kitchen:abc", "tenant:a:b", ""] {
            assert_eq!(ChannelName::tenant_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_module_has_a_channel_of_its_own_and_back() {
        let tenant = TenantId::new("abc");
        let name = |event_type| ChannelName::for_module(&tenant, event_type).map(|c| c.to_string());
        assert_eq!(name("kitchen.task.claimed").unwrap(), "tenant:abc:kitchen");
        assert_eq!(name("kitchen"), Err(ChannelError::NoModule));
        assert_eq!(name(".task"), Err(ChannelError::NoModule));
        assert_eq!(name("a:b.c"), Err(ChannelError::ForbiddenInModule(':')));
        assert_eq!(name(&format!("{}.x", "m".repeat(2_040))), Err(ChannelError::TooLong(2_051)));
        assert_eq!(
            ChannelName::parse("tenant:abc:kitchen"),
            Some((tenant.clone(), Some("kitchen")))
        );
        assert_eq!(ChannelName::parse("tenant:abc"), Some((tenant, None)));
        for other in [
            "tenant:",
            "tenant",
            "kitchen:abc",
            "tenant:a:",
            "tenant::k",
            "tenant:a:b:c",
            "tenant:a:b.c",
            "tenant:*",
        ] {
            assert_eq!(ChannelName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn ids_that_ably_cannot_carry_are_refused() {
        assert_eq!(channel(""), Err(ChannelError::Blank));
        assert_eq!(channel(" \t"), Err(ChannelError::Blank));
        for bad in [':', '*', ',', '\n', '\r', '\0', '\u{7f}'] {
            assert_eq!(channel(&format!("a{bad}b")), Err(ChannelError::Forbidden(bad)));
        }
        assert_eq!(channel("[a"), Err(ChannelError::LeadingBracket));
        assert!(channel("a[").is_ok());
        assert!(channel(&"x".repeat(CHANNEL_BYTES_MAX - PREFIX.len())).is_ok());
        assert_eq!(channel(&"x".repeat(2_041)), Err(ChannelError::TooLong(2_048)));
    }

    #[test]
    fn the_module_is_the_first_of_two_segments() {
        assert_eq!(module_of("kitchen.task.claimed"), Some("kitchen"));
        assert_eq!(module_of("a.b"), Some("a"));
        for bad in ["", "kitchen", ".task", "kitchen.", " .x"] {
            assert_eq!(module_of(bad), None, "{bad}");
        }
    }
}
