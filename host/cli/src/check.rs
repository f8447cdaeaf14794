//! `cobuf check`: puts a plugin through the tests of `cobuf_host::conformance`, and prints the
//! findings.

use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use cobuf_host::conformance::{Examination, Finding, Outcome, Report};
use cobuf_host::{Dictionary, Pipeline, Plugin};

use crate::args::CheckArgs;

/// The exit code if a test failed.
const FAILED: u8 = 1;

pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let report = examination(args)?.run()?;
    let text = if args.json { as_json(&report)? } else { as_table(&report, std::io::stdout().is_terminal()) };
    // A closed pipe, as `head` leaves, is no error.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn examination(args: &CheckArgs) -> Result<Examination> {
    let plugin = Plugin::at(&args.plugin).built()?;
    let limit = Duration::try_from_secs_f64(args.time_limit).context("the time limit is wrong")?;
    let soak = Duration::try_from_secs_f64(args.soak).context("the soak time is wrong")?;
    let mut examination = Examination::of(plugin).time_limit(limit).soak(soak);
    if let Some(path) = &args.pipeline {
        examination = examination.pipeline(&Pipeline::read(path)?)?;
    }
    if let Some(seed) = args.seed {
        examination = examination.seed(seed);
    }
    if let Some(config) = &args.config {
        examination = examination.config(read_dictionary("--config", config)?);
    }
    let messages: Result<Vec<Dictionary>> =
        args.message.iter().map(|message| read_dictionary("--message", message)).collect();
    Ok(examination.messages(messages?))
}

/// Reads JSON, or `@` and the name of a JSON file.
fn read_dictionary(option: &str, text: &str) -> Result<Dictionary> {
    let json = match text.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).with_context(|| format!("cannot read {file} for {option}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&json).with_context(|| {
        format!("{option} {text:?} is wrong, expected a JSON object, or @ and a file with one")
    })
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
            lines.push(format!("  {:7}  {:width$}  {}", "", "", detail.replace('\n', " ")));
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
    lines.join("\n")
}

/// An outcome's colour on a terminal: green, dim, yellow, red.
fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "\x1b[32m",
        Outcome::Skipped => "\x1b[2m",
        Outcome::Warned => "\x1b[33m",
        Outcome::Failed => "\x1b[31m",
    }
}
