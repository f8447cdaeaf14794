//! Builds a plugin's package with cargo and finds the library in cargo's messages.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use cargo_metadata::{CrateType, Message, MetadataCommand};

use super::error::PluginError;

/// How many of cargo's last lines an error shows.
const SHOWN_LINES: usize = 30;

/// Builds the package in `folder`; returns the path of its `cdylib`. Cargo's lines go to the log as
/// they arrive.
pub(super) fn build(folder: &Path) -> Result<PathBuf, PluginError> {
    let failed = |reason: String| PluginError::Build { folder: folder.to_owned(), reason };
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(failed("it has no Cargo.toml; give a package's folder, or a .so file".to_owned()));
    }
    tracing::debug!(target: "cobuf::build", package = %folder.display(), "building a plugin");
    let mut cargo = spawn_cargo(&manifest).map_err(|error| {
        failed(format!("cannot run cargo ({error}); install Rust, or give a built .so file"))
    })?;
    let (library, lines) = read_output(&mut cargo, &manifest);
    let status = cargo.wait().map_err(|error| failed(format!("cannot wait for cargo: {error}")))?;
    if !status.success() {
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        return Err(failed(format!("cargo build failed, {status}:\n{}", shown.join("\n"))));
    }
    library.ok_or_else(|| {
        failed("it has no cdylib; put `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml".to_owned())
    })
}

fn spawn_cargo(manifest: &Path) -> std::io::Result<Child> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").arg("--lib").arg("--manifest-path").arg(manifest);
    if let Some([plugin, application]) = packages_with_application(manifest) {
        command.args(["-p", &plugin, "-p", &application]);
    }
    command.arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// The names of the plugin's package and of this application's, if `cargo run` started the
/// application and both are members of one workspace.
///
/// Built together they share the features of their common dependencies. Built alone, the plugin
/// would need fewer features of some of them, and cargo would compile these and everything that
/// depends on them once more. The application's library is up to date, because cargo has just built
/// it.
fn packages_with_application(manifest: &Path) -> Option<[String; 2]> {
    let application = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().ok()?;
    let plugin = manifest.canonicalize().ok()?;
    let package = |file: &Path| metadata.packages.iter().find(|package| package.manifest_path == *file);
    let application = package(&application)?;
    application.targets.iter().any(|target| target.is_lib()).then_some(())?;
    Some([package(&plugin)?, application].map(|package| package.name.to_string()))
}

/// Reads both of cargo's streams to their ends: standard output names the library, standard error
/// is for people.
fn read_output(cargo: &mut Child, manifest: &Path) -> (Option<PathBuf>, Vec<String>) {
    let manifest = manifest.canonicalize().unwrap_or_else(|_| manifest.to_owned());
    let folder = manifest.parent().unwrap_or(&manifest).to_owned();
    let spoken = cargo
        .stderr
        .take()
        .map(|stderr| thread::spawn(move || forward_lines(BufReader::new(stderr), &folder)));
    let messages = cargo.stdout.take().map(BufReader::new);
    let library = messages
        .into_iter()
        .flat_map(Message::parse_stream)
        .map_while(Result::ok)
        .filter_map(|message| library_in(message, &manifest))
        .last();
    let lines = spoken.and_then(|thread| thread.join().ok()).unwrap_or_default();
    (library, lines)
}

fn library_in(message: Message, manifest: &Path) -> Option<PathBuf> {
    let Message::CompilerArtifact(artifact) = message else { return None };
    let ours = artifact.manifest_path.as_std_path() == manifest;
    let is_plugin = artifact.target.crate_types.contains(&CrateType::CDyLib);
    let library = artifact.filenames.into_iter().find(|file| file.extension() == Some("so"))?;
    (ours && is_plugin).then(|| library.into_std_path_buf())
}

/// Shows cargo's lines as they come, and before the first of a dependency says that this takes time.
fn forward_lines(stderr: impl BufRead, folder: &Path) -> Vec<String> {
    let itself = format!("({})", folder.display());
    let mut said = false;
    let lines = stderr.lines().map_while(Result::ok);
    lines
        .inspect(|line| {
            let compiles = line.trim_start().starts_with("Compiling");
            if compiles && !line.contains(&itself) && !said {
                said = true;
                show(&format!(
                    "building the plugin {}: its dependencies first, which can take some minutes, once",
                    folder.display()
                ));
            }
            show(line);
        })
        .collect()
}

/// A first build takes minutes. If the application has no log, the lines go to standard error, so
/// that the application does not look hung.
fn show(line: &str) {
    if line.trim_start().starts_with("Finished") {
        // If cargo had nothing to do, this is its only line, and there is no need to show it.
        tracing::debug!(target: "cobuf::build", "{line}");
    } else if tracing::dispatcher::has_been_set() {
        tracing::info!(target: "cobuf::build", "{line}");
    } else {
        eprintln!("{line}");
    }
}
