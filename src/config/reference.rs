//! The table of settings as the README shows it.

use std::fmt::Write as _;

use super::table::{SETTINGS, Setting};
use super::value::Kind;

/// Every setting as a Markdown table; the README holds exactly this text.
pub fn markdown() -> String {
    let mut out = String::from(
        "| Setting | Environment | Flag | Default | Takes | Meaning |\n|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} |",
            setting.key,
            environment(setting),
            setting.flag.map_or_else(String::new, |flag| format!("`--{flag}`")),
            setting.default.map_or_else(String::new, |default| format!("`{default}`")),
            setting.kind.expected(),
            setting.doc,
        );
    }
    out
}

fn environment(setting: &Setting) -> String {
    let mut names: Vec<String> = setting.env.iter().map(|name| format!("`{name}`")).collect();
    if matches!(setting.kind, Kind::Secret { .. }) {
        names.extend(setting.env.iter().map(|name| format!("`{name}_FILE`")));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_one_row_of_six_cells() {
        let table = markdown();
        assert_eq!(table.lines().count(), SETTINGS.len() + 2);
        for (line, setting) in table.lines().skip(2).zip(SETTINGS) {
            assert_eq!(line.matches('|').count(), 7, "{line}");
            assert!(line.starts_with(&format!("| `{}` |", setting.key)), "{line}");
        }
        assert!(table.contains("`ABLY_API_KEY`, `ABLY_API_KEY_FILE`"));
    }
}
