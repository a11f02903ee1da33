//! The flags of the settings, made from the table of settings.

use clap::{Arg, ArgMatches, FromArgMatches};

use crate::config::Flags;
use crate::config::table::{SETTINGS, Setting};

/// The settings that were given as flags.
#[derive(Default)]
pub(super) struct SettingFlags(Flags);

impl SettingFlags {
    pub(super) fn into_flags(self) -> Flags {
        self.0
    }
}

/// The settings that have a flag.
fn flagged() -> impl Iterator<Item = (&'static Setting, &'static str)> {
    SETTINGS.iter().filter_map(|setting| Some((setting, setting.flag?)))
}

fn arg(setting: &Setting, flag: &'static str) -> Arg {
    let summary = setting.doc.split_once(". ").map_or(setting.doc, |(first, _)| first);
    let default =
        setting.default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    let help = format!("{}{default} [env: {}]", summary.trim_end_matches('.'), setting.env[0]);
    let value_name = if setting.kind.is_secret() { "URL" } else { "VALUE" };
    Arg::new(flag)
        .long(flag)
        .global(true)
        .value_name(value_name)
        .help(help)
        .help_heading("Settings")
}

impl clap::Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(flagged().map(|(setting, flag)| arg(setting, flag)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (setting, flag) in flagged() {
            if let Some(value) = matches.get_one::<String>(flag) {
                self.0.set(setting.key, value.clone());
            }
        }
        Ok(())
    }
}
