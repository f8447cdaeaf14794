//! `cobuf check --sandbox`: what a producer needs of a sandbox, as a table for a pipeline file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cobuf_host::conformance::SandboxProposal;
use cobuf_host::{Sandbox, SandboxNeeds};
use serde_json::{Map, Value, json};

/// How many of the needs of one kind are shown.
const SHOWN: usize = 8;

/// Whether the producer works in each sandbox that was tried.
pub(super) fn passed(proposal: &SandboxProposal) -> bool {
    proposal.works.is_ok() && !matches!(proposal.given, Some(Err(_)))
}

/// The proposal for people; paths below the folder are shown as from there, as in its pipeline file.
pub(super) fn as_text(proposal: &SandboxProposal, folder: Option<&Path>) -> Result<String> {
    let SandboxProposal { needs, messages, unneeded, works, given, .. } = proposal;
    let mut lines =
        vec![format!("{} produced without a sandbox; beside what every program may do:", count(*messages))];
    let mut any = false;
    for (name, list) in listed(needs) {
        for (index, item) in list.iter().take(SHOWN).enumerate() {
            any = true;
            lines.push(format!("  {:<8}  {item}", if index == 0 { name } else { "" }));
        }
        if list.len() > SHOWN {
            lines.push(format!("  {:<8}  and {} more", "", list.len() - SHOWN));
        }
    }
    if !any {
        lines.push("  nothing".to_owned());
    }
    if !unneeded.is_empty() {
        lines.push(format!("It works without {}, though it asks for that.", unneeded.join(", ")));
    }
    lines.push(format!("\n[sandbox]\n{}", table(&proposal.sandbox, folder)?));
    lines.push(match works {
        Ok(()) => "works: in this sandbox it produces the same messages".to_owned(),
        Err(reason) => format!("FAILED: in this sandbox it does not work: {reason}"),
    });
    lines.extend(given.as_ref().map(|given| match given {
        Ok(()) => "works: in the pipeline's sandbox, too".to_owned(),
        Err(reason) => format!("FAILED: in the pipeline's sandbox it does not work: {reason}"),
    }));
    Ok(lines.join("\n"))
}

pub(super) fn as_json(proposal: &SandboxProposal) -> Result<String> {
    let SandboxProposal { needs, sandbox, messages, unneeded, works, given, .. } = proposal;
    let told = |works: &Result<(), String>| json!({"works": works.is_ok(), "reason": works.as_ref().err()});
    let needs: Value = listed(needs).into_iter().map(|(name, list)| (name.to_owned(), json!(list))).collect();
    let object = json!({
        "passed": passed(proposal),
        "messages": messages,
        "needs": needs,
        "unneeded": unneeded,
        "sandbox": sandbox,
        "proposed": told(works),
        "given": given.as_ref().map(told),
    });
    Ok(serde_json::to_string(&object)?)
}

fn count(messages: usize) -> String {
    if messages == 1 { "one message was".to_owned() } else { format!("{messages} messages were") }
}

/// The kinds of needs, with what was asked for of each.
fn listed(needs: &SandboxNeeds) -> [(&'static str, Vec<String>); 7] {
    let paths = |paths: &BTreeSet<PathBuf>| -> Vec<String> {
        paths.iter().map(|path| path.display().to_string()).collect()
    };
    let texts = |texts: &BTreeSet<String>| texts.iter().cloned().collect();
    let threads = if needs.threads { vec!["started".to_owned()] } else { Vec::new() };
    [
        ("read", paths(&needs.read)),
        ("write", paths(&needs.write)),
        ("network", texts(&needs.network)),
        ("programs", texts(&needs.programs)),
        ("threads", threads),
        ("calls", texts(&needs.calls)),
        ("never", texts(&needs.never)),
    ]
}

/// The entries of the pipeline file's table that are not as they are without it.
fn table(sandbox: &Sandbox, folder: Option<&Path>) -> Result<String> {
    let mut shown = sandbox.clone();
    let folder = folder.map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.to_owned()));
    for path in shown.read.iter_mut().chain(&mut shown.write) {
        let below = folder.as_ref().and_then(|folder| path.strip_prefix(folder).ok());
        if let Some(below) = below {
            *path = if below.as_os_str().is_empty() { ".".into() } else { below.to_owned() };
        }
    }
    let entries = |sandbox: &Sandbox| -> Result<Map<String, Value>> {
        match serde_json::to_value(sandbox)
            .context("a path is no UTF-8, so that no pipeline file can name it")?
        {
            Value::Object(entries) => Ok(entries),
            other => bail!("a sandbox is no table: {other}"),
        }
    };
    let default = entries(&Sandbox::default())?;
    let differ = entries(&shown)?.into_iter().filter(|(key, value)| default.get(key) != Some(value));
    // JSON of texts, lists of them and switches is TOML, too, but for one character.
    let lines = differ.map(|(key, value)| format!("{key} = {value}\n").replace('\x7f', "\\u007f"));
    Ok(lines.collect())
}
