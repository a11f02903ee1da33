//! SQL that is generated for tables of an application: templates with places to fill.
//!
//! What is filled in may be any name that PostgreSQL allows, so it is quoted before it comes here, filled in
//! in one pass (a name may look like a place), and function bodies get a dollar quote that occurs in none of it.

use std::fmt::Write as _;

/// Fills `{{name}}` by what `values` has for it; a place without a value stays, and PostgreSQL refuses it.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            continue;
        };
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.push_str(value),
            None => _ = write!(out, "{{{{{name}}}}}"),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A dollar quote that occurs in none of these texts.
pub(super) fn dollar_quote(values: &[(&str, &str)]) -> String {
    let mut tag = "$body$".to_owned();
    let mut n = 0_u32;
    while values.iter().any(|(_, value)| value.contains(&tag)) {
        n += 1;
        tag = format!("$body{n}$");
    }
    tag
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted text; backslashes are ordinary characters whatever the server's settings are.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_once_and_unknown_ones_stay() {
        let values = [("a", "{{b}}"), ("b", "x")];
        assert_eq!(fill("{{a}} {{b}} {{c}} {{", &values), "{{b}} x {{c}} {{");
    }

    #[test]
    fn a_body_is_quoted_by_what_it_does_not_contain() {
        assert_eq!(dollar_quote(&[("t", "a$body$b"), ("u", "$body1$")]), "$body2$");
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
