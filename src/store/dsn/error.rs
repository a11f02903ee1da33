//! Why a connection string was refused. No message quotes a value: a misplaced delimiter can turn
//! half a password into any part of the string, so values are never safe to print.

/// A connection string that cannot be used; the text is one line, cause and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DsnError {
    /// Nothing, or only blanks.
    #[error(
        "the connection string is empty; set it to something like postgres://user:password@host:5432/database"
    )]
    Empty,
    /// Another database's URL, or a driver's own scheme.
    #[error(
        "the connection string starts with {0}://, which is not PostgreSQL's; it must start with postgres:// or postgresql://"
    )]
    Scheme(String),
    /// Neither form could be read.
    #[error("the connection string cannot be read: {0}")]
    Syntax(&'static str),
    /// A delimiter stands where only a password can have it.
    #[error(
        "the connection string is ambiguous: it seems to hold a password (or name) with raw special characters; percent-encode it: '@' is %40, ':' is %3A, '/' is %2F, '?' is %3F, '#' is %23, '%' is %25"
    )]
    PercentEncode,
    /// A parameter that neither libpq nor a known driver has.
    #[error("unknown parameter {key} in the connection string{}", did_you_mean(*.suggestion))]
    UnknownParameter {
        /// The parameter's name as it was given.
        key: String,
        /// The nearest known parameter.
        suggestion: Option<&'static str>,
    },
    /// An unknown parameter behind the password: it may be a piece of it, so it is not named.
    #[error(
        "unknown parameter behind the password in the connection string{}; if it belongs to the password, quote the password ('...' in the keyword form) or percent-encode it (in a URL)",
        did_you_mean(*.suggestion)
    )]
    UnknownAfterPassword {
        /// The nearest known parameter.
        suggestion: Option<&'static str>,
    },
    /// A known parameter with a value it cannot have.
    #[error("{key} in the connection string must be {expected}")]
    InvalidValue {
        /// The parameter.
        key: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A parameter that changes security or meaning and is not supported: never ignored silently.
    #[error("{key} in the connection string is not supported; {remedy}")]
    Unsupported {
        /// The parameter.
        key: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Parameters that contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
}

fn did_you_mean(suggestion: Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |known| format!("; did you mean {known}?"))
}
