//! The `cobuf` command: runs and measures a pipeline, makes, lists, inspects and checks plugins,
//! prints shell completions.
//!
//! ```text
//!   args      the command line; numbers, dictionary: values of its options
//!   pipeline  pipeline files, and the changes that the command line makes
//!   run       `cobuf run`: the loop over the batches
//!   top       `cobuf top`: a look at a run from outside
//!   watch     `cobuf run --watch`: swaps plugins whose sources change
//!   report    the summary of a run, for people and for programs; failure: an error of its stream
//!   kept      the checkpoints that it reads and writes; checkpoint: `cobuf checkpoint`
//!   save      batches as files
//!   preview   `cobuf preview`: the first batches as pictures
//!   chaos     `cobuf chaos`: a pipeline under random faults, compared with an undisturbed run
//!   completions `cobuf completions`: what a shell offers
//!   new       `cobuf new`: a crate for a plugin, from templates
//!   list      `cobuf list`: the plugins that can be given by name
//!   inspect   `cobuf inspect`: a plugin's manifest and declarations; config_schema: its fields
//!   check     `cobuf check`: whether a plugin does what a host relies on
//!   bench     `cobuf bench`: how fast a pipeline is
//! ```
//!
//! `lib.rs` has the parts that the buffer's own benchmark uses as well: measuring, the progress
//! bar, signals.
//!
//! Exit codes: 0 all went well; 1 batches failed, the stream ended with an error, or a check
//! failed; 2 the command line, a pipeline file, a plugin or the machine did not allow a start; 129,
//! 130 and 143 stopped by SIGHUP, Ctrl-C (SIGINT) and SIGTERM.

mod args;
mod bench;
mod chaos;
mod check;
mod checkpoint;
mod completions;
mod config_schema;
mod dictionary;
mod failure;
mod inspect;
mod kept;
mod list;
mod new;
mod numbers;
mod pipeline;
mod preview;
mod report;
mod run;
mod save;
mod top;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command, RunArgs};
use cobuf::output::{self, ReportLost};
use cobuf::progress::{finish, log_to_stderr, say};
use cobuf::signals::{exit_code, take_harmless};
use completions::completions;

/// The exit code if the report could not be written, or something that was asked for failed.
const FAILED: u8 = 1;
/// The exit code if nothing could be started.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    take_harmless();
    let done = match Args::try_parse() {
        Ok(args) => perform(args),
        Err(asked) if !asked.use_stderr() => help(&asked).map(|()| ExitCode::SUCCESS),
        Err(wrong) => wrong.exit(),
    };
    let code = done.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        let code = if error.is::<ReportLost>() { FAILED } else { CANNOT_START };
        // A command that a signal has ended has not failed by itself.
        exit_code().unwrap_or(ExitCode::from(code))
    });
    finish();
    code
}

/// The help and the version are reports as well.
fn help(asked: &clap::Error) -> Result<()> {
    let text = asked.render();
    let coloured = output::in_colour(&std::io::stdout());
    output::report(&if coloured { text.ansi().to_string() } else { text.to_string() })
}

fn perform(args: Args) -> Result<ExitCode> {
    log_to_stderr(args.verbose, !matches!(args.command, Command::Bench(_)));
    match args.command {
        Command::Run(run) => run::run(&run),
        Command::Top(args) => top::top(&args),
        Command::Watch(run) => run::run(&RunArgs { watch: true, ..*run }),
        Command::Preview(args) => preview::preview(&args),
        Command::Chaos(chaos) => chaos::chaos(&chaos),
        Command::New(new) => new::new(&new).map(|()| ExitCode::SUCCESS),
        Command::List(list) => list::list(&list).map(|()| ExitCode::SUCCESS),
        Command::Inspect(inspect) => inspect::inspect(&inspect).map(|()| ExitCode::SUCCESS),
        Command::Check(check) => check::check(&check),
        Command::Checkpoint(args) => checkpoint::checkpoint(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(bench) => bench::bench(&bench),
        Command::Completions { shell } => output::report(&completions(shell)).map(|()| ExitCode::SUCCESS),
    }
}
