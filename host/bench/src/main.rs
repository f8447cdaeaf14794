//! `cobuf-bench`: what the buffer itself costs on this machine, beside the least that the machine makes it cost.
//!
//! ```text
//!   cobuf-bench CASE…
//!   a case ──► rounds: each thing once, then each again … ──► samples ──► figures, baselines, ratios, goals ──► report
//!
//!   args        the command line
//!   case        what a case is; cases: a module each
//!   consumer    takes the batches of a host
//!   plugins     where the plugins of the cases come from
//!   report      what is printed
//!
//!   What only some cases need:
//!   memory      shared memory of the same kind as a host's segment
//!   partner     other processes: this executable again; serve: their whole life; relay: what they do
//!   processes   what processes use, by /proc
//!   simulation  when batches could be delivered at best
//!   pictures    a folder of synthetic photographs
//! ```
//!
//! Measuring itself, in turns and with spreads, is `cobuf::measure`, which `cobuf bench PIPELINE` uses as well.
//! A goal that is missed is a finding, not an error. Every figure and every ratio but those called computed is measured in this run.

mod args;
mod case;
mod cases;
mod consumer;
mod memory;
mod partner;
mod pictures;
mod plugins;
mod processes;
mod relay;
mod report;
mod serve;
mod simulation;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use cobuf::measure::machine::Machine;
use cobuf::measure::plan::Plan;
use cobuf::progress::{log_to_stderr, say};

use self::args::Args;
use self::case::Case;
use self::plugins::Plugins;
use self::report::{CaseReport, Report};

/// The exit code if nothing could be measured.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    cobuf_host::init();
    let args = Args::parse();
    log_to_stderr(0, false);
    let done = match &args.partner {
        Some(args::Internal::Partner(partner)) => serve::serve(partner).map(|()| ExitCode::SUCCESS),
        None => bench(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(CANNOT_START)
    })
}

fn bench(args: &Args) -> Result<ExitCode> {
    if args.list {
        return print(&cases::list());
    }
    let plan = Plan::new(args.seconds, args.runs)?;
    let measured = measure(args, &cases::named(&args.cases)?, &plan);
    plan.signals.exit_code().map_or(measured, Ok)
}

/// Measures one case after the other, and prints each at once if people read it.
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
    // A reader that has seen enough, such as `head`, is no error.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(ExitCode::SUCCESS)
}
