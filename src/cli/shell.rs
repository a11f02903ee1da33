//! `outbox-relay completions` and `outbox-relay man`: what shells and `man` know of the commands, made from the commands.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;
use super::failure::{Exit, Failure};
use super::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  outbox-relay completions bash > ~/.local/share/bash-completion/completions/outbox-relay
  outbox-relay completions zsh > ~/.zfunc/_outbox-relay
  outbox-relay completions fish > ~/.config/fish/completions/outbox-relay.fish")]
pub(super) struct CompletionsOptions {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  outbox-relay man | man -l -
  outbox-relay man --dir ~/.local/share/man/man1")]
pub(super) struct ManOptions {
    /// Write a page for each command into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(options: &CompletionsOptions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Args::command(), "outbox-relay", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}

pub(super) fn man(options: &ManOptions) -> Result<(), Failure> {
    let Some(dir) = &options.dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Args::command()).render(&mut page);
        rendered.map_err(|error| Failure::internal(format!("the page cannot be made: {error}")))?;
        return output::line(String::from_utf8_lossy(&page).trim_end());
    };
    write_pages(dir)
}

fn write_pages(dir: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Args::command(), dir).map_err(|error| {
        let cause = format!("the pages cannot be written to {}: {error}", dir.display());
        Failure::new(Exit::Temporary, cause, "name a directory that exists and can be written")
    })
}
