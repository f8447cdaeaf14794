//! `cobuf list`: the plugins that can be given by name, and whether they would load.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use cobuf_host::{FoundPlugin, PLUGIN_PATH, find_plugins, plugin_path};

use crate::args::ListArgs;
use cobuf::output::report;

pub(crate) fn list(args: &ListArgs) -> Result<()> {
    let found = find_plugins(&folders(args)?)?;
    let text = if args.json { as_json(&found)? } else { as_table(&found) };
    report(&text)
}

/// The folders that were given, which must all exist. If none was given: those of the environment,
/// which need not exist, as with `PATH`.
fn folders(args: &ListArgs) -> Result<Vec<PathBuf>> {
    if !args.folders.is_empty() {
        return Ok(args.folders.clone());
    }
    let folders = plugin_path();
    ensure!(
        !folders.is_empty(),
        "there is nowhere to look for plugins: {PLUGIN_PATH} is not set; set it to the folders with your plugins, or give \
         folders"
    );
    let (there, gone): (Vec<_>, Vec<_>) = folders.into_iter().partition(|folder| folder.is_dir());
    for folder in gone {
        tracing::warn!(folder = %folder.display(), "{PLUGIN_PATH} names a folder that does not exist");
    }
    Ok(there)
}

fn as_json(found: &[FoundPlugin]) -> Result<String> {
    let plugins: Vec<serde_json::Value> = found
        .iter()
        .map(|plugin| {
            let manifest = plugin.manifest.as_ref();
            serde_json::json!({
                "name": plugin.name,
                "kind": manifest.map(|manifest| manifest.kind),
                "version": manifest.map(|manifest| &manifest.version),
                "api_version": manifest.map(|manifest| &manifest.api_version),
                "path": plugin.path.to_string_lossy(), // JSON has no other texts than Unicode
                "loads": plugin.refusal.is_none(),
                "refusal": refusal(plugin),
                "shadowed": plugin.shadowed,
            })
        })
        .collect();
    Ok(serde_json::to_string(&plugins)?)
}

/// A line for each plugin, and one more if it would not load, or another plugin has its name.
fn as_table(found: &[FoundPlugin]) -> String {
    if found.is_empty() {
        return "no plugins".to_owned();
    }
    let rows: Vec<[String; 6]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(found.iter().map(row)).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let notes = std::iter::once(Vec::new()).chain(found.iter().map(|plugin| notes(plugin, found)));
    let mut lines = Vec::new();
    for (row, notes) in rows.iter().zip(notes) {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
        lines.extend(notes.iter().map(|note| format!("    {note}")));
    }
    lines.join("\n")
}

const HEAD: [&str; 6] = ["NAME", "KIND", "VERSION", "PLUGIN-API", "LOADS", "PATH"];

fn row(plugin: &FoundPlugin) -> [String; 6] {
    let manifest = plugin.manifest.as_ref();
    let unknown = || "?".to_owned();
    [
        plugin.name.clone(),
        manifest.map_or_else(unknown, |manifest| manifest.kind.to_string()),
        manifest.map_or_else(unknown, |manifest| manifest.version.clone()),
        manifest.map_or_else(unknown, |manifest| manifest.api_version.clone()),
        if plugin.refusal.is_none() { "yes" } else { "no" }.to_owned(),
        plugin.path.display().to_string(),
    ]
}

fn notes(plugin: &FoundPlugin, found: &[FoundPlugin]) -> Vec<String> {
    let mut notes: Vec<String> = refusal(plugin).into_iter().collect();
    if plugin.shadowed {
        let first = found.iter().find(|other| other.name == plugin.name);
        let first = first.map_or(Path::new(""), |other| &other.path);
        notes.push(format!("shadowed: by its name, {} is found first", first.display()));
    }
    notes
}

/// Why the plugin would not load, with the cause.
fn refusal(plugin: &FoundPlugin) -> Option<String> {
    let refusal = plugin.refusal.as_ref()?;
    let cause = std::error::Error::source(refusal);
    Some(cause.map_or_else(|| refusal.to_string(), |cause| format!("{refusal}: {cause}")))
}
