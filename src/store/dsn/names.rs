//! The names of parameters: those that are understood, and those of drivers and ORMs that are not
//! for us.

/// Parameters of other drivers and of their pools: accepted, named in one warning, without effect.
/// Refusing them would refuse the `DATABASE_URL` that the application beside us runs on.
pub(super) const IGNORED: &[&str] = &[
    // Prisma
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "max_idle_connection_lifetime",
    "max_connection_lifetime",
    "single_use_connections",
    // node-postgres, postgres.js, Vercel
    "uselibpqcompat",
    "max",
    "idle_timeout",
    "idleTimeoutMillis",
    "connectionTimeoutMillis",
    "max_lifetime",
    "query_timeout",
    "workaround",
    "supa",
    // pgx, SQLAlchemy, Rails, JDBC
    "pool_max_conns",
    "pool_min_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
    "pool",
    "pool_size",
    "max_overflow",
    "checkout_timeout",
    "reaping_frequency",
    "encoding",
    "currentSchema",
    "reWriteBatchedInserts",
    "binary_parameters",
    // libpq: of no use here. Ours is the name by which an operator finds the relay's sessions.
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "sslcompression",
    "ssl_max_protocol_version",
    "sslcertmode",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
];

/// Parameters by which drivers are told not to use prepared statements, with the values that say so:
/// the server behind them is a pooler in transaction mode.
pub(super) const NO_PREPARED_STATEMENTS: &[(&str, &[&str])] = &[
    ("pgbouncer", &["true", "1"]),
    ("statement_cache_size", &["0"]),
    ("statement-cache-capacity", &["0"]),
    ("statement_cache_capacity", &["0"]),
    ("description_cache_capacity", &["0"]),
    ("prepared_statement_cache_size", &["0"]),
    ("prepared_statements", &["false"]),
    ("prepare", &["false"]),
    ("prepareThreshold", &["0"]),
    ("prepare_threshold", &["0", "None"]),
    ("default_query_exec_mode", &["simple_protocol", "exec", "describe_exec"]),
];

/// Parameters that would weaken or change what the user asked for if they were ignored.
pub(super) const UNSUPPORTED: &[(&str, &str)] = &[
    ("sslcrl", "revocation lists are not read; remove it, or terminate TLS where they are"),
    ("sslcrldir", "revocation lists are not read; remove it, or terminate TLS where they are"),
    ("requirepeer", "the owner of a unix socket is not checked; protect its directory instead"),
    ("require_auth", "use channel_binding=require to insist on SCRAM over TLS"),
    ("require_ssl", "use sslmode=require"),
    ("service", "service files are not read; write its parameters out"),
    ("servicefile", "service files are not read; write its parameters out"),
    ("passfile", "password files are not read; put the whole string into a file instead"),
    ("replication", "this is an ordinary client; remove it"),
    ("oauth_issuer", "OAuth is not supported; use a password or a client certificate"),
    ("oauth_client_id", "OAuth is not supported; use a password or a client certificate"),
];

/// Parameters that have an effect, and their spelling for suggestions.
pub(super) const UNDERSTOOD: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "options",
    "schema",
    "connect_timeout",
    "target_session_attrs",
    "load_balance_hosts",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslaccept",
    "sslidentity",
    "sslnegotiation",
    "sslsni",
    "ssl",
    "ssl_min_protocol_version",
    "channel_binding",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
];

/// The known parameter that an unknown one most likely means: at most two slips, and fewer than half
/// of a short name.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    // The distance costs time by length; no known name is longer than 30 bytes.
    if unknown.len() > 40 {
        return None;
    }
    let lower = unknown.to_ascii_lowercase().replace('-', "_");
    UNDERSTOOD
        .iter()
        .chain(IGNORED)
        .chain(NO_PREPARED_STATEMENTS.iter().map(|(name, _)| name))
        .map(|name| (strsim::damerau_levenshtein(&lower, name), *name))
        .filter(|(distance, name)| *distance <= 2 && distance * 2 < name.len())
        .min()
        .map(|(_, name)| name)
}
