//! `cobuf check`: puts a plugin through the tests of `cobuf_host::conformance`, and prints the
//! findings.

mod sandbox;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use cobuf_host::conformance::{Examination, Finding, Outcome, Report};
use cobuf_host::{Dictionary, printable};

use crate::args::CheckArgs;
use crate::dictionary::{self, Given};
use crate::pipeline;
use cobuf::output;
use cobuf::progress::say;
use cobuf::signals::Signals;

/// The exit code if a test failed.
const FAILED: u8 = 1;

pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let signals = Signals::install()?;
    let examination = examination(args, &signals)?;
    if args.sandbox {
        let proposal = signals.at_once(|| examination.propose_sandbox())?;
        let folder = args.pipeline.as_deref().and_then(Path::parent);
        let text =
            if args.json { sandbox::as_json(&proposal)? } else { sandbox::as_text(&proposal, folder)? };
        output::report(&text)?;
        if args.message.is_empty() && args.pipeline.is_none() {
            say(FEW_MESSAGES);
        }
        return Ok(if sandbox::passed(&proposal) { ExitCode::SUCCESS } else { ExitCode::from(FAILED) });
    }
    // The fork server cleans up after a command that ends at once.
    let report = signals.at_once(|| examination.run())?;
    let text =
        if args.json { as_json(&report)? } else { as_table(&report, output::in_colour(&std::io::stdout())) };
    output::report(&text)?;
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn examination(args: &CheckArgs, signals: &Signals) -> Result<Examination> {
    let python = args.python.as_deref();
    let read = |path: &PathBuf| signals.at_once(|| pipeline::read(path, &[], python));
    let pipeline = args.pipeline.as_ref().map(read).transpose()?;
    let plugin = pipeline::plugin(&args.plugin, python);
    let plugin = match &pipeline {
        Some(pipeline) => pipeline.prepared(plugin),
        None => plugin,
    };
    let plugin = plugin.built_unless(signals.cancel())?;
    let kind = plugin.manifest().map(|manifest| manifest.kind);
    let examination = Examination::of(plugin).cancelled_by(signals.cancel());
    let mut examination = examination.time_limit(args.time_limit).soak(args.soak);
    let mut configured = None;
    if let Some(pipeline) = &pipeline {
        // If the file is no plugin, the first finding says so.
        configured = kind.ok().map(|kind| pipeline.config(kind).clone());
        examination = examination.pipeline(pipeline)?;
    }
    if let Some(seed) = args.seed {
        examination = examination.seed(seed);
    }
    let config = signals.at_once(|| dictionary::config(args.config.as_deref(), configured, &args.set))?;
    if let Some(config) = config {
        examination = match config.folder() {
            Some(folder) => examination.working_directory(folder),
            None => examination,
        };
        examination = examination.config(config.entries);
    }
    let read = |value: &OsString| Ok(Given::read("--message", value)?.entries);
    let messages: Result<Vec<Dictionary>> = signals.at_once(|| args.message.iter().map(read).collect());
    Ok(examination.messages(messages?))
}

fn as_json(report: &Report) -> Result<String> {
    let object = serde_json::json!({
        "passed": report.passed(),
        "manifest": report.manifest,
        "findings": report.findings,
    });
    Ok(serde_json::to_string(&object)?)
}

fn as_table(report: &Report, colours: bool) -> String {
    let mut lines = Vec::new();
    if let Some(manifest) = &report.manifest {
        lines.push(format!("{} {} {}", manifest.kind, manifest.name, manifest.version));
    }
    let width = report.findings.iter().map(|finding| finding.test.len()).max().unwrap_or_default();
    for Finding { test, title, outcome, detail } in &report.findings {
        let (on, off) = if colours { (colour(*outcome), "\x1b[0m") } else { ("", "") };
        lines.push(format!("  {on}{outcome:<7}{off}  {test:<width$}  {title}"));
        if !detail.is_empty() {
            let indent = " ".repeat(2 + 7 + 2 + width + 2);
            // The rest of the table has colours of its own; this has none.
            let detail = printable(detail);
            lines.push(format!("{indent}{}", detail.replace('\n', &format!("\n{indent}"))));
        }
    }
    let count = |outcome| report.count(outcome);
    lines.push(format!(
        "{}: {} passed, {} warned, {} failed, {} skipped",
        if report.passed() { "passed" } else { "FAILED" },
        count(Outcome::Passed),
        count(Outcome::Warned),
        count(Outcome::Failed),
        count(Outcome::Skipped)
    ));
    if report.finding("produce").is_some_and(|finding| finding.outcome == Outcome::Skipped) {
        lines.push(MESSAGES.to_owned());
    }
    lines.join("\n")
}

/// What is said of a sandbox that was found with the empty message.
const FEW_MESSAGES: &str = "what no message needs is not allowed: give messages of each kind with --message '{\"KEY\": VALUE}', or \
                            those of a commander with --pipeline FILE";

/// How to have the tests made that were skipped for want of a message.
const MESSAGES: &str = "most tests need messages that this producer can do: give one with --message '{\"KEY\": VALUE}', \
                        or those of a commander with --pipeline FILE";

/// An outcome's colour on a terminal: green, dim, yellow, red.
fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "\x1b[32m",
        Outcome::Skipped => "\x1b[2m",
        Outcome::Warned => "\x1b[33m",
        Outcome::Failed => "\x1b[31m",
    }
}
