//! `cobuf completions`: what a shell offers, which is what the help shows.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::args::Args;

/// The completions for a shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut command = shown(&Args::command());
    let mut written = Vec::new();
    clap_complete::generate(shell, &mut command, "cobuf", &mut written);
    String::from_utf8_lossy(&written).into_owned()
}

/// The command with its visible options and aliases only: completions would offer the hidden ones.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(shown);
    let about = command.get_about().cloned().unwrap_or_default();
    let shown = Command::new(command.get_name().to_owned()).about(about).args(arguments).subcommands(verbs);
    match command.get_version() {
        Some(version) => shown.version(version.to_owned()),
        None => shown,
    }
}
