//! The plugins of `plugins/`, built once for each test binary.
//!
//! They are copied below cargo's folder for tests: another build of the same package, such as the
//! one that `cobuf run` makes, replaces the file in the target folder while a test may read it.
//! The copy is replaced in one step, and only by other bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use super::{Process, repository};

/// All packages of `plugins/` that cargo builds.
const PACKAGES: [&str; 8] = [
    "boxes-producer",
    "digits-producer",
    "fill-producer",
    "image-commander",
    "image-producer",
    "index-commander",
    "list-commander",
    "tokens-producer",
];

/// Names the process whose builds a test may use; see [`session`].
const SESSION: &str = "COBUF_TEST_SESSION";

/// The file of a plugin of `plugins/`.
pub(crate) fn file(name: &str) -> PathBuf {
    assert!(PACKAGES.contains(&name), "{name} is not among the plugins that are built for tests");
    build_all();
    folder().join(library(name))
}

/// The folder with the files of all plugins.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins")
}

/// Names the first process of this test binary, which runs the tests. What was built for one of its
/// tests is up to date for the others: sources do not change meanwhile.
pub(crate) fn session() -> String {
    env::var(SESSION).unwrap_or_else(|_| {
        let own = Process::get(Process::own_pid()).expect("this process runs");
        format!("{}-{}", own.pid, own.started)
    })
}

/// Builds all plugins, if this process is the first one and has not done so.
pub(super) fn build_all() {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if *built || env::var_os(SESSION).is_some() {
        return;
    }
    build();
    *built = true;
}

/// Tells the tests' processes that everything is built.
pub(super) fn tell(command: &mut Command) {
    command.env(SESSION, session());
}

fn build() {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(repository()).args(["build", "--lib", "--message-format=json-render-diagnostics"]);
    command.args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    // With the command, so that their common dependencies have the features that it wants: those are
    // compiled already, and `cobuf run` builds a plugin of this workspace in the same way.
    command.args(["-p", "cobuf"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stdin(Stdio::null()).output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::create_dir_all(folder()).expect("the folder can be made");
    for file in String::from_utf8_lossy(&output.stdout).lines().flat_map(libraries) {
        copy(&file, &folder());
    }
    for package in PACKAGES {
        assert!(folder().join(library(package)).exists(), "cargo has built no library of {package}");
    }
}

/// How cargo calls the library of a package.
pub(crate) fn library(package: &str) -> String {
    format!("lib{}.so", package.replace('-', "_"))
}

/// The plugins' libraries in one of cargo's messages.
fn libraries(message: &str) -> Vec<PathBuf> {
    let Ok(message) = serde_json::from_str::<serde_json::Value>(message) else { return Vec::new() };
    let files = message["filenames"].as_array().into_iter().flatten();
    let files = files.filter_map(|file| file.as_str()).map(PathBuf::from);
    let names = PACKAGES.map(library);
    files
        .filter(|file| file.file_name().is_some_and(|name| names.iter().any(|known| name == known.as_str())))
        .collect()
}

/// Copies a file into a folder, unless it is there already.
fn copy(file: &Path, folder: &Path) {
    let bytes = fs::read(file).expect("cargo has just built it");
    let to = folder.join(file.file_name().expect("a library has a name"));
    if fs::read(&to).is_ok_and(|before| before == bytes) {
        return;
    }
    let new = tempfile::NamedTempFile::new_in(folder).expect("a file more in the folder");
    fs::write(new.path(), bytes).expect("the file can be written");
    new.persist(to).expect("a file can be renamed in its folder");
}
