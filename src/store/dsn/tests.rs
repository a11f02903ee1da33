//! Connection strings as people have them, and as they should not.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

fn parse(text: &str) -> Dsn {
    Dsn::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).dsn
}

fn error(text: &str) -> DsnError {
    Dsn::parse(text).map_or_else(|e| e, |parsed| panic!("{text} was taken as {}", parsed.dsn))
}

fn warnings(text: &str) -> Vec<String> {
    Dsn::parse(text).unwrap().warnings
}

fn password(dsn: &Dsn) -> Option<&str> {
    dsn.password.as_ref().map(|p| p.expose_secret())
}

fn mode(text: &str) -> Option<TlsMode> {
    parse(text).tls.mode
}

fn default_mode(text: &str) -> TlsMode {
    let dsn = parse(text);
    dsn.tls.mode.unwrap_or_else(|| dsn.servers[0].default_tls_mode())
}

#[test]
fn both_forms_say_the_same() {
    for text in [
        "postgres://ann:s3cret@db.example.com:6432/app",
        "postgresql://ann:s3cret@db.example.com:6432/app",
        "host=db.example.com port=6432 user=ann password=s3cret dbname=app",
        "  host = 'db.example.com' port= 6432\tuser =ann\n password='s3cret' dbname=app  ",
        "postgres:///app?host=db.example.com&port=6432&user=ann&password=s3cret",
        "\"postgres://ann:s3cret@db.example.com:6432/app\"",
    ] {
        let dsn = parse(text);
        assert_eq!(dsn.to_string(), "ann@db.example.com:6432/app", "{text}");
        assert_eq!(format!("{dsn:?}"), "Dsn(ann@db.example.com:6432/app)");
        assert_eq!(password(&dsn), Some("s3cret"), "{text}");
    }
}

#[test]
fn a_stock_prisma_string_works_with_one_warning() {
    let text = "postgresql://u:p@host.example.com:5432/app?schema=public&pgbouncer=true&connection_limit=1\
                &pool_timeout=20&connect_timeout=15&socket_timeout=30&statement_cache_size=0&sslaccept=strict";
    let Parsed { dsn, warnings } = Dsn::parse(text).unwrap();
    assert_eq!(dsn.schema(), Some("public"));
    assert!(dsn.transaction_pooler());
    assert_eq!(dsn.sockets.connect_timeout, Some(Duration::from_secs(15)));
    assert_eq!(dsn.tls.mode, Some(TlsMode::VerifyFull));
    assert_eq!(
        warnings,
        [
            "connection string parameters that have no effect here: connection_limit, pool_timeout, socket_timeout"
        ]
    );
}

#[test]
fn prismas_ssl_parameters_are_mapped() {
    assert_eq!(mode("postgres://h/?sslaccept=accept_invalid_certs"), Some(TlsMode::Require));
    let lax = "postgres://h/?sslmode=require&sslaccept=accept_invalid_certs&sslcert=/ca.pem";
    assert_eq!(mode(lax), Some(TlsMode::Require));
    assert_eq!(mode("postgres://h/?sslmode=prefer&sslaccept=strict"), Some(TlsMode::VerifyFull));
    let dsn = parse("postgres://h/?sslmode=require&sslcert=/ca.pem");
    assert_eq!((dsn.tls.mode, dsn.tls.client), (Some(TlsMode::VerifyCa), None));
    assert_eq!(dsn.tls.root_file, Some("/ca.pem".into()));
    let warned = warnings("postgres://h/?sslpassword=geheim&sslidentity=/c.p12");
    assert!(warned[0].contains("PKCS #12") && !warned[0].contains("geheim"));
    assert!(matches!(error("postgres://h/?sslpassword=x"), DsnError::Unsupported { .. }));
}

#[test]
fn sslmodes_mean_what_they_mean_in_libpq() {
    for (value, expected) in [
        ("disable", TlsMode::Disable),
        ("allow", TlsMode::Allow),
        ("prefer", TlsMode::Prefer),
        ("require", TlsMode::Require),
        ("no-verify", TlsMode::Require),
        ("verify-ca", TlsMode::VerifyCa),
        ("verify-full", TlsMode::VerifyFull),
    ] {
        assert_eq!(mode(&format!("postgres://h/?sslmode={value}")), Some(expected));
    }
    let rds = "host=h sslmode=require sslrootcert=/etc/rds.pem";
    assert_eq!(mode(rds), Some(TlsMode::VerifyCa), "require with a root file verifies the chain");
    assert_eq!(mode("host=h sslmode=no-verify sslrootcert=/r.pem"), Some(TlsMode::Require));
    assert_eq!(mode("host=h sslrootcert=/r.pem"), Some(TlsMode::VerifyFull));
    assert_eq!(mode("host=h sslrootcert=system"), Some(TlsMode::VerifyFull));
    assert_eq!(parse("host=h sslrootcert=system").tls.root_file, None);
    assert_eq!(mode("postgres://h/?ssl=true"), Some(TlsMode::Require));
    assert_eq!(mode("postgres://h/?ssl=false"), Some(TlsMode::Disable));
    for text in [
        "host=h sslmode=require sslrootcert=system",
        "host=h sslmode=prefer sslnegotiation=direct",
        "host=h sslnegotiation=direct",
        "host=h sslkey=/k.pem",
        "host=h sslmode=disable channel_binding=require",
    ] {
        assert!(matches!(error(text), DsnError::Conflict(_)), "{text}");
    }
}

#[test]
fn without_sslmode_the_look_of_the_host_decides() {
    for text in [
        "postgres:///db?host=/tmp",
        "postgres://localhost/db",
        "postgres://127.0.0.1/db",
        "postgres://[::1]/db",
        "postgres://10.1.2.3/db",
        "postgres://192.168.0.9/db",
        "postgres://[fd00::5]/db",
        "postgres://postgres:5432/db",
        "postgres://db.default.svc.cluster.local/db",
        "postgres://host.docker.internal/db",
        "host=db.example.com hostaddr=127.0.0.1",
    ] {
        assert_eq!(default_mode(text), TlsMode::Prefer, "{text}");
    }
    for text in [
        "postgres://db.example.com/db",
        "postgres://8.8.8.8/db",
        "postgres://[2001:db8::1]/db",
        "postgres://x.rds.amazonaws.com/db",
        "host=db hostaddr=203.0.113.5",
    ] {
        assert_eq!(default_mode(text), TlsMode::Require, "{text}");
    }
}

#[test]
fn hosts_are_found_wherever_they_stand() {
    for (text, shown) in [
        ("postgres://u@h1:1,h2,[::1]:3/d", "u@h1:1,h2:5432,[::1]:3/d"),
        ("host=h1,h2 port=6000 dbname=d", "h1:6000,h2:6000/d"),
        ("host=h1,h2 port=1,2", "h1:1,h2:2"),
        ("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", "u@/var/run/postgresql:5432/d"),
        ("postgres:///d?host=/tmp/x", "/tmp/x:5432/d"),
        ("postgres://old:7777/d?host=/tmp/x", "/tmp/x:7777/d"),
        ("host=/var/run/postgresql", "/var/run/postgresql:5432"),
        ("hostaddr=10.0.0.1 dbname=d", "10.0.0.1:5432/d"),
        ("host=::1 port=5", "[::1]:5"),
        ("dbname=d", "/var/run/postgresql:5432,/tmp:5432,localhost:5432/d"),
        ("postgres:///d", "/var/run/postgresql:5432,/tmp:5432,localhost:5432/d"),
        ("postgres://", "/var/run/postgresql:5432,/tmp:5432,localhost:5432"),
    ] {
        assert_eq!(parse(text).to_string(), shown, "{text}");
    }
    for text in [
        "host=a,b port=1,2,3",
        "host=a,b hostaddr=1.1.1.1",
        "host=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a",
    ] {
        assert!(matches!(error(text), DsnError::Conflict(_)), "{text}");
    }
    for text in
        ["host=h port=0", "postgres://h:70000/d", "hostaddr=nonsense", "postgres://h:port/d"]
    {
        assert!(matches!(error(text), DsnError::InvalidValue { .. }), "{text}");
    }
    assert!(matches!(error("postgres://[::1/d"), DsnError::Syntax(_)));
}

#[test]
fn odd_passwords_are_understood_or_refused_with_the_remedy() {
    for (text, expected) in [
        ("postgres://u:p%40ss%3Aw%2Frd%23%3F%25@h/d", "p@ss:w/rd#?%"),
        ("postgres://u:p@ss:w#rd@h/d", "p@ss:w#rd"),
        ("postgres://u:100%@h/d", "100%"),
        ("postgres://u:a%zzb@h/d", "a%zzb"),
        ("postgres://u:caf%C3%A9@h/d", "café"),
        ("postgres://u:a+b@h/d", "a+b"),
        ("postgres://u@h/d?password=p@ss", "p@ss"),
        (r"host=h password='p@ss \'w\\ rd'", r"p@ss 'w\ rd"),
        (r"host=h password=a\ b", "a b"),
    ] {
        assert_eq!(password(&parse(text)), Some(expected), "{text}");
    }
    for text in [
        "postgres://u:p@ss:w/rd#?%@h/d",
        "postgres://u:p/w@h/d",
        "postgres://u:p?w@h/d",
        "postgres://u:12?user=w@h/d",
        "postgres://u:12/3@h/d",
        "postgres://u:50%25%@h/d",
    ] {
        assert_eq!(error(text), DsnError::PercentEncode, "{text}");
    }
    assert!(DsnError::PercentEncode.to_string().contains("'@' is %40"));
    assert_eq!(password(&parse("postgres://u:@h/d")), None);
}

#[test]
fn unknown_parameters_are_refused_with_a_suggestion() {
    for (text, message) in [
        (
            "postgres://h/?sslmod=require",
            "unknown parameter sslmod in the connection string; did you mean sslmode?",
        ),
        ("host=h data_base=x", "unknown parameter data_base in the connection string"),
        (
            "postgres://h/?connectionLimit=1",
            "unknown parameter connectionLimit in the connection string; did you mean connection_limit?",
        ),
        (
            "host=h sslmode=requre",
            "sslmode in the connection string must be disable, allow, prefer, require, verify-ca, verify-full or no-verify",
        ),
    ] {
        assert_eq!(error(text).to_string(), message);
    }
    let cut = error("host=h password=hunter two=2 user=u");
    assert_eq!(cut, DsnError::UnknownAfterPassword { suggestion: None });
    assert!(!cut.to_string().contains("two"));
}

#[test]
fn other_databases_and_drivers_are_named() {
    for scheme in ["mysql", "jdbc:postgresql", "postgresql+asyncpg", "prisma"] {
        assert_eq!(error(&format!("{scheme}://u:p@h/d")), DsnError::Scheme(scheme.to_owned()));
    }
    assert_eq!(error(" \n"), DsnError::Empty);
    assert_eq!(error("\"\""), DsnError::Empty);
    assert!(matches!(error("mydatabase"), DsnError::Syntax(_)));
    assert!(matches!(error("host='h"), DsnError::Syntax(_)));
    assert!(matches!(error("postgres://u:a\0b@h"), DsnError::Syntax(_)));
    assert!(matches!(error("postgres://u:a%00b@h"), DsnError::Syntax(_)));
    assert!(matches!(error("host=h service=x"), DsnError::Unsupported { .. }));
    assert!(matches!(error("host=h gssencmode=require"), DsnError::Unsupported { .. }));
}

#[test]
fn a_writer_is_wanted_unless_the_string_says_otherwise() {
    assert_eq!(parse("host=h").session, SessionWanted::ReadWrite);
    assert_eq!(parse("host=h target_session_attrs=any").session, SessionWanted::Any);
    assert_eq!(parse("host=h target_session_attrs=primary").session, SessionWanted::Primary);
    assert!(error("host=h target_session_attrs=standby").to_string().contains("the relay writes"));
}

#[test]
fn transaction_poolers_are_recognised() {
    for text in [
        "postgres://h/?pgbouncer=true",
        "postgres://h/?statement_cache_size=0",
        "postgres://h/?prepareThreshold=0",
        "postgres://u:p@ep-cool-1-pooler.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
        "postgres://u.ref:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
    ] {
        assert!(parse(text).transaction_pooler(), "{text}");
    }
    for text in [
        "postgres://h/?pgbouncer=false&statement_cache_size=100",
        "postgres://u:p@ep-cool-1.eu-central-1.aws.neon.tech/db",
        "postgres://u.ref:p@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
    ] {
        assert!(!parse(text).transaction_pooler(), "{text}");
    }
}

#[test]
fn socket_settings_have_libpqs_units() {
    let sockets = parse(
        "host=h connect_timeout=0 keepalives_idle=30 keepalives_count=0 tcp_user_timeout=1500",
    )
    .sockets;
    assert_eq!(sockets.connect_timeout, Some(Duration::from_secs(60)), "0 is not for ever");
    assert_eq!(sockets.keepalive_idle, Some(Duration::from_secs(30)));
    assert_eq!(sockets.keepalive_count, None);
    assert_eq!(sockets.tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert!(parse("host=h keepalives=0").sockets.keepalives_off);
}

#[test]
fn another_database_of_the_same_server() {
    let dsn = parse("postgres://u:pw@h/app?options=endpoint%3Dep-cool");
    let other = dsn.with_database("test_1");
    assert_eq!(other.to_string(), "u@h:5432/test_1");
    assert_eq!(password(&other), Some("pw"));
    assert_eq!(other.options.as_deref(), Some("endpoint=ep-cool"));
}

#[test]
fn names_from_outside_do_not_break_lines() {
    assert_eq!(parse("postgres://u%0Av@h/d%1B").to_string(), "u\\nv@h:5432/d\\u{1b}");
}

/// Everything that anybody could see of a string.
fn visible(text: &str) -> String {
    match Dsn::parse(text) {
        Ok(parsed) => format!("{parsed:?} {} {:#?}", parsed.dsn, parsed.dsn),
        Err(error) => format!("{error} {error:?}"),
    }
}

const MARK: &str = "Zq7Xw";

fn password_with_mark() -> impl Strategy<Value = String> {
    let odd = prop_oneof![any::<String>(), "[@:/?#%&= '\"\\\\,\\[\\]a-z0-9]{0,12}", "[ -~]{0,12}"];
    (odd.clone(), odd).prop_map(|(before, after)| format!("{before}{MARK}{after}"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = visible(&text);
    }

    #[test]
    fn no_text_of_delimiters_makes_it_panic(
        text in "(postgres(ql)?://)?([@:/?#%&=,'\"\\\\\\[\\] ]|host|port|sslmode|a|é|1|%2F){0,24}"
    ) {
        let _ = visible(&text);
    }

    #[test]
    fn a_raw_password_in_a_url_is_never_shown(password in password_with_mark()) {
        for text in [
            format!("postgres://user:{password}@host:5432/db?sslmode=require"),
            format!("postgres://user:{password}@host"),
            format!("postgres://user@host/db?password={password}"),
            format!("postgres://user@host/db?password={password}&sslmode=require"),
        ] {
            prop_assert!(!visible(&text).contains(MARK), "{text}: {}", visible(&text));
        }
    }

    #[test]
    fn a_raw_password_among_keywords_is_never_shown(password in password_with_mark()) {
        for text in [
            format!("host=h password={password} user=u"),
            format!("host=h user=u password='{password}' dbname=d"),
        ] {
            prop_assert!(!visible(&text).contains(MARK), "{text}: {}", visible(&text));
        }
    }

    #[test]
    fn an_encoded_password_arrives_unchanged(plain in "[^\0]{1,40}") {
        let encoded: String =
            percent_encoding::utf8_percent_encode(&plain, percent_encoding::NON_ALPHANUMERIC).to_string();
        let dsn = parse(&format!("postgres://user:{encoded}@host/db"));
        prop_assert_eq!(password(&dsn), Some(plain.as_str()));
        let quoted = plain.replace('\\', r"\\").replace('\'', r"\'");
        let dsn = parse(&format!("host=h password='{quoted}' user=u"));
        prop_assert_eq!(password(&dsn), Some(plain.as_str()));
    }
}
