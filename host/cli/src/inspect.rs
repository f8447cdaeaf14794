//! `cobuf inspect`: a plugin's manifest and declarations.

use anyhow::Result;
use cobuf_host::{ArraySpec, Declarations, Inspection, ManifestInfo};

use crate::args::InspectArgs;
use crate::{config_schema, dictionary, pipeline};
use cobuf::output::report;
use cobuf::signals::Signals;

pub(crate) fn inspect(args: &InspectArgs) -> Result<()> {
    let signals = Signals::install()?;
    // Files may be pipes that nobody writes to.
    let config = signals.at_once(|| dictionary::config(args.config.as_deref(), None, &args.set))?;
    let plugin = pipeline::plugin(&args.plugin, args.python.as_deref()).built_unless(signals.cancel())?;
    let manifest = plugin.manifest()?;
    let mut inspection = Inspection::of(plugin);
    if let Some(config) = config {
        if let Some(folder) = config.folder() {
            inspection = inspection.working_directory(folder);
        }
        inspection = inspection.config(config.entries);
    }
    // The fork server cleans up after a command that ends at once.
    let declared = signals.at_once(|| inspection.run())?;
    let text = if args.json { as_json(&manifest, &declared)? } else { as_text(&manifest, &declared)? };
    report(&text)
}

fn as_json(manifest: &ManifestInfo, declared: &Declarations) -> Result<String> {
    let config_schema: serde_json::Value = serde_json::from_str(&declared.config_schema)?;
    let arrays = declared.schema.as_ref().map(|schema| schema.arrays());
    let object =
        serde_json::json!({ "manifest": manifest, "config_schema": config_schema, "arrays": arrays });
    Ok(serde_json::to_string(&object)?)
}

fn as_text(manifest: &ManifestInfo, declared: &Declarations) -> Result<String> {
    let ManifestInfo { kind, name, version, api_version, rustc, target, .. } = manifest;
    // For a plugin in C it is the version of the interface in its header.
    let interface = if api_version.starts_with("C/") { "cobuf.h" } else { "plugin-api" };
    let mut lines = vec![
        format!("{kind} {name} {version}"),
        format!("  {interface:<12} {api_version}"),
        format!("  compiler     {rustc}"),
        format!("  target       {target}"),
        format!("  cpu features {}", manifest.cpu_features.join(", ")),
    ];
    let schema: serde_json::Value = serde_json::from_str(&declared.config_schema)?;
    lines.push("configuration".to_owned());
    lines.extend(config_schema::lines(&schema));
    if let Some(schema) = &declared.schema {
        lines.push("arrays of a slot".to_owned());
        let bytes = |array: &ArraySpec| {
            let most = if array.at_most_axes().is_empty() { "" } else { "at most " };
            format!("  {array}, {most}{} bytes", array.bytes())
        };
        lines.extend(schema.arrays().iter().map(bytes));
        lines.push(format!("  {} bytes in all", schema.bytes()));
    }
    Ok(lines.join("\n"))
}
