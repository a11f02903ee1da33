//! Texts from elsewhere, made fit for one line of a log.

/// Longest text of a server that is kept, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// One line without control characters, blanks joined, of at most 300 characters.
///
/// Direction marks go too: in a terminal they can make a line read differently from what it says.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut chars = 0;
    let mut blank = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            blank = !line.is_empty();
            continue;
        }
        if matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            continue;
        }
        if chars + 1 + usize::from(blank) >= TEXT_CHARS_MAX {
            line.push('…');
            return line;
        }
        if std::mem::take(&mut blank) {
            line.push(' ');
            chars += 1;
        }
        line.push(c);
        chars += 1;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_one_short_line() {
        assert_eq!(one_line("  a\r\n\tb\u{0}c \u{202e}d\u{2028}e\x1b[31m "), "a b c d e [31m");
        assert_eq!(one_line(""), "");
        assert_eq!(one_line(&"é".repeat(299)), "é".repeat(299));
        for long in ["é".repeat(400), "a ".repeat(400)] {
            let line = one_line(&long);
            assert!((298..=300).contains(&line.chars().count()), "{}", line.chars().count());
            assert!(line.ends_with('…'));
        }
    }
}
