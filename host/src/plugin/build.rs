//! Builds a plugin's package with cargo and finds the library in cargo's messages.
//!
//! Cargo names a package by the path that it was given, which links may lead through. So paths are
//! compared after all links on them were followed.

use std::io::{self, BufRead, BufReader};
use std::path::{Component, Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command};
use std::thread;

use cargo_metadata::{CrateType, Message, MetadataCommand};

use super::error::PluginError;
use super::tool::{Finished, Tool};
use crate::cancel::Cancel;

/// How many of cargo's last lines an error shows.
const SHOWN_LINES: usize = 30;

/// Builds the package in `folder`; returns the path of its `cdylib`. Cargo's lines go to the log as
/// they arrive.
pub(super) fn build(folder: &Path, cancel: Option<&Cancel>) -> Result<PathBuf, PluginError> {
    let failed = |reason: String| PluginError::Build { folder: folder.to_owned(), reason };
    let manifest = without_parents(folder).join("Cargo.toml");
    if !manifest.is_file() {
        let missing = match folder.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no such folder".to_owned(),
            Err(error) => format!("the folder cannot be read ({error})"),
            Ok(_) => "it has no Cargo.toml".to_owned(),
        };
        return Err(failed(format!("{missing}; give a package's folder, or a .so file")));
    }
    if manifest.to_str().is_none() {
        return Err(failed("its path is not UTF-8, which cargo refuses; give a built .so file".to_owned()));
    }
    tracing::debug!(target: "cobuf::build", package = %folder.display(), "building a plugin");
    let at = manifest.clone();
    let cargo = Tool::start(&mut cargo(&manifest), move |stdout, stderr| read_streams(stdout, stderr, &at));
    let cargo = cargo.map_err(|error| {
        failed(format!("cannot run cargo ({error}); install Rust, or give a built .so file"))
    })?;
    let Finished { said, status, cancelled } = cargo.finish(cancel);
    let (succeeded, status) = match status {
        Ok(status) => (status.success(), format!(", {status}")),
        // Cargo's last message says the same.
        Err(_) => (said.finished == Some(true), String::new()),
    };
    if cancelled {
        return Err(PluginError::Cancelled);
    }
    if !succeeded {
        return Err(failed(format!("cargo build failed{status}{}", said.shown_or_told())));
    }
    said.library.ok_or_else(|| {
        failed("it has no cdylib; put `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml".to_owned())
    })
}

/// The same folder by a path without `..`, which cargo would take away together with the name
/// before it, even if that is a link to elsewhere. Links after it stay, because a package may be a
/// member of the workspace that the link lies in.
fn without_parents(folder: &Path) -> PathBuf {
    let parts: Vec<Component<'_>> = folder.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return folder.to_owned();
    };
    let before: PathBuf = parts[..=last].iter().collect();
    let after: PathBuf = parts[last + 1..].iter().collect();
    before.canonicalize().map_or_else(|_| folder.to_owned(), |before| before.join(after))
}

/// The command that builds the package of a manifest.
fn cargo(manifest: &Path) -> Command {
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
    command
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
    let package = |file: &Path| {
        metadata.packages.iter().find(|package| is_same(package.manifest_path.as_std_path(), file))
    };
    let application = package(&application)?;
    application.targets.iter().any(|target| target.is_lib()).then_some(())?;
    Some([package(manifest)?, application].map(|package| package.name.to_string()))
}

/// Whether two paths lead to the same file or folder.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The lines that cargo has printed.
#[derive(Debug, Default)]
struct Said {
    /// The package's library.
    library: Option<PathBuf>,
    /// Whether the build has succeeded, if it was begun.
    finished: Option<bool>,
    /// The lines for people.
    lines: Vec<String>,
}

impl Said {
    /// Where an error's reader finds cargo's reasons: in the log, or here if the log has none.
    fn shown_or_told(&self) -> String {
        if logs() {
            return "; its errors are in the log".to_owned();
        }
        let lines = &self.lines[self.lines.len().saturating_sub(SHOWN_LINES)..];
        format!(":\n{}", lines.join("\n"))
    }
}

/// Standard output names the library, standard error is for people.
fn read_streams(stdout: ChildStdout, stderr: ChildStderr, manifest: &Path) -> Said {
    let folder = manifest.parent().unwrap_or(manifest).to_owned();
    let spoken = thread::spawn(move || forward_lines(BufReader::new(stderr), &folder));
    let mut said = Said::default();
    for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
        match message {
            Message::BuildFinished(finished) => said.finished = Some(finished.success),
            other => said.library = library_in(other, manifest).or(said.library),
        }
    }
    said.lines = spoken.join().unwrap_or_default();
    said
}

fn library_in(message: Message, manifest: &Path) -> Option<PathBuf> {
    let Message::CompilerArtifact(artifact) = message else { return None };
    let is_plugin = artifact.target.crate_types.contains(&CrateType::CDyLib);
    let ours = is_plugin && is_same(artifact.manifest_path.as_std_path(), manifest);
    let library = artifact.filenames.into_iter().find(|file| file.extension() == Some("so"))?;
    ours.then(|| library.into_std_path_buf())
}

/// Shows cargo's lines as they come, and before the first of a dependency says that this takes time.
fn forward_lines(stderr: impl BufRead, folder: &Path) -> Vec<String> {
    let mut said = false;
    let lines = stderr.lines().map_while(Result::ok);
    lines
        .inspect(|line| {
            if !said && is_of_dependency(line, folder) {
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

/// Whether a line says that another package is compiled: `Compiling NAME VERSION (FOLDER)`, in
/// which a package from a registry has no folder.
fn is_of_dependency(line: &str, folder: &Path) -> bool {
    let in_brackets = line.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    line.trim_start().starts_with("Compiling")
        && !in_brackets.is_some_and(|compiled| is_same(Path::new(compiled), folder))
}

/// Whether the application's log takes cargo's lines.
fn logs() -> bool {
    tracing::enabled!(target: "cobuf::build", tracing::Level::INFO)
}

/// A first build takes minutes. If the application has no log, cargo's progress goes to standard
/// error, so that the application does not look hung. The build's errors do not: the application is
/// told them as its own error.
fn show(line: &str) {
    if line.trim_start().starts_with("Finished") {
        // If cargo had nothing to do, this is its only line, and there is no need to show it.
        tracing::debug!(target: "cobuf::build", "{line}");
    } else if tracing::dispatcher::has_been_set() {
        tracing::info!(target: "cobuf::build", "{line}");
    } else if is_progress(line) {
        eprintln!("{line}");
    }
}

/// Whether a line is one of cargo's progress, or of this module's: a verb that ends at column 12,
/// or a sentence. What the compiler says begins with its kind, or is an excerpt of the source.
fn is_progress(line: &str) -> bool {
    let verb = line.split_at_checked(12).filter(|(_, rest)| rest.starts_with(' '));
    let is_verb = |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphabetic());
    line.starts_with("building the plugin ") || verb.is_some_and(|(verb, _)| is_verb(verb.trim_start()))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn progress_is_told_from_what_the_compiler_says() {
        for progress in ["   Compiling tiny v0.1.0 (/home/tiny)", "    Updating crates.io index"] {
            assert!(is_progress(progress), "{progress}");
        }
        let others = [
            "error[E0308]: mismatched types",
            "warning: unused variable: `x`",
            " --> src/lib.rs:1:25",
            "1 | pub fn seven() -> u32 { \"seven\" }",
            "            let x = 1;",
            "  = note: `#[warn(unused)]` on by default",
            "",
        ];
        for other in others {
            assert!(!is_progress(other), "{other}");
        }
    }

    #[test]
    fn compiled_package_is_told_from_its_dependencies_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink("real", &link).unwrap();
        let compiling = |path: &Path| format!("   Compiling tiny v0.1.0 ({})", path.display());
        assert!(!is_of_dependency(&compiling(&real), &link));
        assert!(!is_of_dependency(&compiling(&link), &real));
        assert!(is_of_dependency(&compiling(folder.path()), &link));
        assert!(is_of_dependency("   Compiling serde v1.0.0", &link));
        assert!(!is_of_dependency("    Finished dev profile in 0.1s", &link));
    }

    #[test]
    fn parents_are_those_of_the_links_target() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("far/inner")).unwrap();
        symlink("far/inner", root.join("link")).unwrap();
        assert_eq!(without_parents(&root.join("link/../tiny")), root.join("far/tiny"));
        assert_eq!(without_parents(&root.join("link/tiny")), root.join("link/tiny"));
        assert_eq!(without_parents(Path::new("tiny")), Path::new("tiny"));
        assert_eq!(without_parents(&root.join("missing/../tiny")), root.join("missing/../tiny"));
    }
}
