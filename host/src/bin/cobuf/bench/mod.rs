//! `cobuf bench`: how fast a pipeline is, or the buffer itself, on this machine.
//!
//! ```text
//!   cobuf bench PIPELINE.toml   own      several runs of a pipeline, and what limited them
//!   cobuf bench CASE…           cases    what the buffer costs, beside the least that the machine makes it cost
//!
//!   a case ──► rounds: each thing once, then each again … ──► samples ──► figures, baselines, ratios, goals ──► report
//! ```
//!
//!   plan        how long and how often things are measured, in turns
//!   consumer    takes the batches of a host
//!   samples     medians, spreads, percentiles
//!   figure      what a case says: a figure, the baselines beside it, the goal
//!   plugins     where the plugins of the cases come from
//!   report      what is printed; machine: which machine it was
//!
//!   What only some cases need:
//!   memory      shared memory of the same kind as a host's segment
//!   partner     other processes: this executable again; relay: what they do
//!   processes   what processes use, by /proc
//!   simulation  when batches could be delivered at best
//!   pictures    a folder of photographs that are none
//!
//! A goal that is missed is a finding, not an error. Every figure and every ratio but those called computed is measured in this run.

mod cases;
mod consumer;
mod figure;
mod machine;
mod memory;
mod own;
pub(crate) mod partner;
mod pictures;
mod plan;
mod plugins;
mod processes;
mod relay;
mod report;
mod samples;
mod simulation;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use self::cases::Case;
use self::machine::Machine;
use self::plan::Plan;
use self::plugins::Plugins;
use self::report::{CaseReport, Report};
use crate::args::BenchArgs;
use crate::progress::say;

pub(crate) fn bench(args: &BenchArgs) -> Result<ExitCode> {
    if args.list {
        return print(&cases::list());
    }
    let plan = Plan::new(args.seconds, args.runs)?;
    let measured = match pipeline_of(args) {
        Some(pipeline) => measure_own(args, pipeline, &plan),
        None => measure_cases(args, &cases::named(&args.what)?, &plan),
    };
    plan.signals.exit_code().map_or(measured, Ok)
}

/// The pipeline file that is to be measured, where it is one.
fn pipeline_of(args: &BenchArgs) -> Option<&Path> {
    let [what] = &args.what[..] else { return None };
    let path = Path::new(what);
    (path.is_file() || path.extension().is_some_and(|extension| extension == "toml")).then_some(path)
}

fn measure_own(args: &BenchArgs, path: &Path, plan: &Plan) -> Result<ExitCode> {
    say(&format!("measuring {}, for about {} s", path.display(), args.seconds));
    let report = own::measure(path, args, plan)?;
    print(&if args.json { serde_json::to_string(&report)? } else { report.to_string() })
}

/// Measures one case after the other, and prints each at once where people read it.
fn measure_cases(args: &BenchArgs, cases: &[&'static Case], plan: &Plan) -> Result<ExitCode> {
    let BenchArgs { batches, workers, slots, any_order, set, .. } = args;
    let changes = batches.is_some() || workers.is_some() || slots.is_some() || *any_order || !set.is_empty();
    ensure!(
        !changes,
        "--batches, --workers, --slots, --any-order and --set are for a pipeline; the built-in cases say themselves what they measure"
    );
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
