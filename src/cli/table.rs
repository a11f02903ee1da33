//! Rows for people: aligned columns, and nothing in them that a terminal would obey.

/// The longest cell in characters; the rest of a longer one is in `--json`.
const CELL_CHARS_MAX: usize = 72;

/// The narrowest that a column is made for the others' sake.
const COLUMN_CHARS_MIN: usize = 8;

/// Aligned lines, the head in front.
pub(super) fn lines(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    lines_within(head, rows, usize::MAX)
}

/// The same for a screen of so many characters: the widest columns are cut first.
pub(super) fn lines_within(head: &[&str], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cut(&clean(cell), CELL_CHARS_MAX)).collect())
        .collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let between = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + between > width {
        let widest = widths.iter_mut().max().filter(|widest| **widest > COLUMN_CHARS_MIN);
        // Nothing can be cut any more: the screen does it.
        let Some(widest) = widest else { break };
        *widest -= 1;
    }
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    std::iter::once(&head).chain(&rows).map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| {
        let cell = if cell.chars().count() > *width { cut(cell, width - 1) } else { cell.clone() };
        format!("{cell:width$}")
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Text from outside on one line, without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// So many characters, and a sign for the rest.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
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

    #[test]
    fn on_a_narrow_screen_long_cells_are_cut_and_no_column_is_lost() {
        let rows = [vec!["t".repeat(60), "10,000+".into(), "61.0 s".into()]];
        for width in [80, 40, 30] {
            let lines = lines_within(&["TENANT", "PENDING", "OLDEST"], &rows, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            assert!(lines[1].ends_with("  10,000+  61.0 s"), "{lines:#?}");
        }
        // Nobody has a screen like that.
        assert_eq!(lines_within(&["TENANT", "PENDING"], &rows, 1).len(), 2);
    }
}
