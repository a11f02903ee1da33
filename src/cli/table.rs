//! Rows for people: aligned columns, and nothing in them that a terminal would obey.

/// The longest cell in characters; the rest of a longer one is in `--json`.
const CELL_CHARS_MAX: usize = 72;

/// Aligned lines, the head in front.
pub(super) fn lines(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cut(&clean(cell))).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    std::iter::once(&head).chain(&rows).map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Text from outside on one line, without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_terminals_are_not_driven() {
        let rows = [vec!["1".into(), "a\u{1b}[2J\nb".into()], vec!["22".into(), "x".repeat(100)]];
        let lines = lines(&["SEQ", "TEXT"], &rows);
        assert_eq!(lines[0], "SEQ  TEXT");
        assert_eq!(lines[1], "1    a\u{fffd}[2J\u{fffd}b");
        assert_eq!(lines[2], format!("22   {}…", "x".repeat(CELL_CHARS_MAX)));
    }
}
