//! One row of the table.

use super::Kind;

/// One setting: its names, its default, its limits and its meaning.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `section.key` of the configuration file.
    pub key: &'static str,
    /// Environment variables, the most specific first.
    pub env: &'static [&'static str],
    /// The flag without its dashes. Rare on purpose: what a flag holds is in every process list.
    pub flag: Option<&'static str>,
    /// The default as somebody would write it; `None` when there is none.
    pub default: Option<&'static str>,
    /// A value to copy, where the default cannot be one.
    pub example: &'static str,
    /// Type, limits and place.
    pub kind: Kind,
    /// What it is, and what too high and too low do.
    pub doc: &'static str,
}

impl Setting {
    /// `section` of `section.key`.
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }

    /// `key` of `section.key`.
    pub fn leaf(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, leaf)| leaf)
    }
}
