//! `cobuf-bench`: measures what the buffer itself costs on this machine, beside the least that it
//! must cost there.
//!
//! ```text
//!   cobuf-bench CASE…
//!   a case ──► rounds: each thing once, then each again … ──► samples
//!          ──► figures, baselines, ratios, goals ──► report
//!
//!   args        the command line
//!   case        the definition of a case; cases: a module for each
//!   consumer    takes the batches of a host
//!   plugins     where the plugins of the cases come from
//!   report      the output
//!
//!   Needed only by some cases:
//!   task        the least runtime of a task
//!   memory      shared memory of the same kind as a host's segment
//!   partner     starts other processes of this executable; serve: runs in them; relay: their roles
//!   processes   processor time and memory of processes, from /proc
//!   simulation  computes the earliest possible deliveries
//!   crowd       computes what many cores reach, from counted cache lines
//!   pictures    a folder of synthetic photographs
//! ```
//!
//! The measuring itself, in turns and with spreads, is `cobuf::measure`, which `cobuf bench
//! PIPELINE` uses as well. A missed goal is a finding, not an error. Every figure and every ratio
//! is measured in this run, except those that are called computed.

mod args;
mod case;
mod cases;
mod consumer;
mod crowd;
mod memory;
mod partner;
mod pictures;
mod plugins;
mod processes;
mod relay;
mod report;
mod serve;
mod simulation;
mod task;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use cobuf::measure::machine::Machine;
use cobuf::measure::plan::Plan;
use cobuf::output::{self, ReportLost};
use cobuf::progress::{ended, finish, log_to_stderr, say};

use self::args::Args;
use self::case::Case;
use self::plugins::Plugins;
use self::report::{CaseReport, Report};

/// The exit code if the report could not be written.
const LOST: u8 = 1;
/// The exit code if nothing could be measured.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(0, false);
    let done = match &args.partner {
        Some(args::Internal::Partner(partner)) => serve::serve(partner).map(|()| ExitCode::SUCCESS),
        None => bench(&args),
    };
    let code = done.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::from(if error.is::<ReportLost>() { LOST } else { CANNOT_START })
    });
    finish();
    code
}

fn bench(args: &Args) -> Result<ExitCode> {
    if args.list {
        return print(&cases::list());
    }
    let plan = Plan::new(args.seconds, args.runs)?;
    let measured = measure(args, &cases::named(&args.cases)?, &plan);
    ended(measured)
}

/// Measures one case after the other. Prints each at once if the output is for people.
fn measure(args: &Args, cases: &[&'static Case], plan: &Plan) -> Result<ExitCode> {
    let plugins = Plugins::find(cases.iter().flat_map(|case| case.plugins).copied())?;
    let machine = Machine::here();
    if !args.json {
        print(&machine.to_string())?;
    }
    let mut report = Report { machine, seconds: args.seconds, cases: Vec::new() };
    for case in cases {
        say(&format!("measuring {}, for about {} s", case.name, args.seconds));
        let case =
            CaseReport { name: case.name, title: case.title, figures: (case.measure)(plan, &plugins)? };
        if !args.json {
            print(&case.to_string())?;
        }
        report.cases.push(case);
    }
    if args.json { print(&serde_json::to_string(&report)?) } else { Ok(ExitCode::SUCCESS) }
}

fn print(text: &str) -> Result<ExitCode> {
    output::report(text).map(|()| ExitCode::SUCCESS)
}
