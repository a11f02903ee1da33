//! Channel names: `tenant:{tenantId}`.

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
        if let Some(bad) = id.chars().find(|c| matches!(c, ':' | '*' | ',') || c.is_control()) {
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
