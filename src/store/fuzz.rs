//! Fuzz entry points: connection strings and schema names.

use super::dsn::Dsn;
use super::schema_name::SchemaName;

/// A password that nothing may repeat.
const SECRET: &str = "pw7Zq9xSECRET";

/// Connection strings of both forms; whatever comes of one must not show the password.
pub(crate) fn connection_string(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A fuzzer finds the word, and then repeats it itself.
    if text.contains("SECRET") {
        return;
    }
    check(&text);
    for before in [
        "postgres://u:PW@",
        "postgresql://u:PW@h:5432/",
        "postgres://u@h/d?password=PW&",
        "password=PW ",
        "host=h password = 'PW' ",
    ] {
        check(&format!("{}{text}", before.replace("PW", SECRET)));
    }
}

fn check(text: &str) {
    let said = match Dsn::parse(text) {
        Ok(parsed) => format!("{} {:?}", parsed.dsn, parsed.dsn),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!said.contains(SECRET), "the password is repeated: {said}");
    assert!(!said.contains(['\n', '\r', '\0']), "not one line: {said:?}");
}

/// Schema names: what is accepted stays inside its quotes.
pub(crate) fn schema_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(schema) = SchemaName::new(text) else { return };
    assert_eq!(schema.as_str(), text);
    let identifier = schema.fill(":\"schema\"");
    assert_eq!(unquoted(&identifier, '"').as_deref(), Some(text));
    let literal = schema.fill(":'schema'");
    assert_eq!(unquoted(&literal, '\'').as_deref(), Some(text));
}

/// The text inside quotes in which the quote itself is doubled.
fn unquoted(text: &str, quote: char) -> Option<String> {
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c == quote && rest.next() != Some(quote) {
            return None;
        }
        out.push(c);
    }
    Some(out)
}
