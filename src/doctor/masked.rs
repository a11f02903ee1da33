//! Somebody else's query without its values: they may be personal data, and `doctor --json` goes to monitoring.

/// What stands for a value.
const MASK: char = '…';

/// The query with `…` for every string, number and comment. Cut queries are fine: what has no end is masked to
/// the end. Identifiers in double quotes stay; without them nobody finds whose query it is.
pub(super) fn masked(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let value = match c {
            '\'' => Some(quoted(rest)),
            '$' => dollar_quoted(rest),
            '-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => {
                Some(rest.find("*/").map_or(rest.len(), |end| end + 2))
            }
            c if c.is_ascii_digit() => Some(word),
            _ => None,
        };
        let taken = match value {
            Some(length) => {
                out.push(MASK);
                length
            }
            None => {
                let length = if c == '"' {
                    rest[1..].find('"').map_or(rest.len(), |end| end + 2)
                } else if word > 0 {
                    word
                } else {
                    c.len_utf8()
                };
                out.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[taken..];
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of a string that begins here. A backslash is taken to escape, as in `E'…'`: at worst too much is masked.
fn quoted(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of a `$tag$…$tag$` that begins here; `None` for a parameter such as `$1`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let name = &tag[1..end - 1];
    if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(text[end..].find(tag).map_or(text.len(), |at| end + at + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_the_rest_stays() {
        for (query, shown) in [
            (
                "select 'ann@example.com', 42, 4.2e-1, t1.\"a 7\" from t1",
                "select …, …, ….…-…, t1.\"a 7\" from t1",
            ),
            ("where name = 'O''Hara' and id = $1", "where name = …… and id = $…"),
            ("select E'it\\'s ann' || x", "select E… || x"),
            ("do $$ 'ann' $$; select $q$ ann $$ $q$ from y", "do …; select … from y"),
            ("select 1 -- ann\nfrom x /* ann */", "select … …\nfrom x …"),
            ("update p set phone = '+49 170 12345", "update p set phone = …"),
            ("select $tag$ cut", "select …"),
            ("", ""),
        ] {
            assert_eq!(masked(query), shown);
        }
    }
}
