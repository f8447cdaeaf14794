//! The `cobuf` command: runs and measures a pipeline, makes, lists, inspects and checks plugins,
//! prints shell completions.
//!
//! ```text
//!   args      the command line
//!   pipeline  pipeline files, and the changes that the command line makes
//!   run       `cobuf run`: the loop over the batches
//!   watch     `cobuf run --watch`: swaps plugins whose sources change
//!   report    the summary of a run, for people and for programs
//!   chaos     `cobuf chaos`: a pipeline under random faults, compared with an undisturbed run
//!   new       `cobuf new`: a crate for a plugin, from templates
//!   list      `cobuf list`: the plugins that can be given by name
//!   inspect   `cobuf inspect`: a plugin's manifest and declarations
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
mod inspect;
mod list;
mod new;
mod pipeline;
mod report;
mod run;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command, RunArgs};
use cobuf::progress::{finish, log_to_stderr, say};

/// The exit code if nothing could be started.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    cobuf::signals::take_harmless();
    let args = Args::parse();
    log_to_stderr(args.verbose, !matches!(args.command, Command::Bench(_)));
    let done = match args.command {
        Command::Run(run) => run::run(&run),
        Command::Watch(run) => run::run(&RunArgs { watch: true, ..*run }),
        Command::Chaos(chaos) => chaos::chaos(&chaos),
        Command::New(new) => new::new(&new).map(|()| ExitCode::SUCCESS),
        Command::List(list) => list::list(&list).map(|()| ExitCode::SUCCESS),
        Command::Inspect(inspect) => inspect::inspect(&inspect).map(|()| ExitCode::SUCCESS),
        Command::Check(check) => check::check(&check),
        Command::Bench(bench) => bench::bench(&bench),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "cobuf", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    let code = done.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::from(CANNOT_START)
    });
    finish();
    code
}
