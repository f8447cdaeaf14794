//! cobuf beside what users would pick instead, on the same work in one run.
//!
//! ```text
//!   args ──► peers: which are there, which are missing (each asked by `probe`)
//!              │     native/   cobuf, floors, ceilings: this program again, as a child
//!              │     python/   one script a peer, by an interpreter that the user names
//!   equipment  │     times to sleep, photos, slides, cobuf's plugins
//!              ▼
//!            rounds: peer A, B, C …, then again; each measurement a child with a limit (child, protocol)
//!              ▼
//!            report: REPORT.md with what is held to (goals), ratios.svg (plot), --json
//! ```
//!
//! Nothing is installed. What a peer copies and gives up stands beside its code, and from there in the report.
//!
//! Invariants: one measurement runs at a time; a child that hangs or dies costs its own figure only; a ratio is made of
//! two measurements of the same round.

mod args;
mod child;
mod equipment;
mod goals;
mod machine;
mod memory;
mod meter;
mod native;
mod peers;
mod photos;
mod plot;
mod protocol;
mod report;
mod rounds;
mod slides;
mod statistics;
mod work;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use args::{Args, Part, RunArgs};
use equipment::Equipment;
use peers::Peers;
use report::Report;

fn main() -> ExitCode {
    let Args { part, run } = Args::parse();
    let done = match part {
        None => compare(&run),
        Some(Part::Measure { peer, request }) => measure(&peer, &request),
        Some(Part::Iceoryx2 { role }) => native::iceoryx2::play(&role),
    };
    done.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// Measures everyone and writes the report.
fn compare(args: &RunArgs) -> Result<()> {
    args.check(&Peers::names())?;
    let equipment = Equipment::make(&args.works())?;
    let peers = Peers::find(args);
    for missing in &peers.missing {
        eprintln!("{} is left out, missing: {}", missing.name, missing.why);
    }
    let results = rounds::run(&peers, &equipment, args);
    let report = Report::new(&peers, &equipment, &results, args);
    write(args, "REPORT.md", &report.markdown())?;
    write(args, "ratios.svg", &plot::svg(report.works())?)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

fn write(args: &RunArgs, name: &str, text: &str) -> Result<()> {
    let path = args.output.join(name);
    fs::create_dir_all(&args.output)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// One measurement, for the process that asked for it.
fn measure(peer: &str, request: &str) -> Result<()> {
    let request = serde_json::from_str(request).context("the request is wrong")?;
    println!("{}", serde_json::to_string(&native::measure(peer, &request)?)?);
    Ok(())
}
