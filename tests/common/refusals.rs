//! What the tests of refusals share: a start that fails, its sentence, and packages that their authors wrote elsewhere.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use cobuf_host::{HostBuilder, Plugin, PluginError, StartError};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};
use toml::{Table, Value};

use super::common::{host, list, plugin, repository, small};

/// The error of a start that must fail.
pub(crate) fn start_error(builder: HostBuilder) -> StartError {
    match builder.start() {
        Ok(host) => panic!("it has started: {host:?}"),
        Err(error) => error,
    }
}

/// The error of a start with this producer, which must be refused as a plugin.
pub(crate) fn refusal_of(producer: Plugin) -> PluginError {
    let builder = host().commander(plugin("list-commander")).commander_config(list([]));
    let builder = builder.producer(producer).producer_config(super::common::arrays_config(&small()));
    match start_error(builder.workers(1)) {
        StartError::Plugin(refused) => refused,
        other => panic!("expected a plugin's refusal, got {other:?}"),
    }
}

/// An error with its causes, as an application prints it: `failed: cause: root`.
pub(crate) fn said(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

/// Asserts that an error, with its causes, says all of this, and that it reads as one sentence among others: no capital, no
/// stop at its end, nothing twice.
#[track_caller]
pub(crate) fn assert_says(error: &dyn Error, parts: &[&str]) {
    let said = said(error);
    for part in parts {
        assert!(said.contains(part), "expected {part:?} in: {said}");
    }
    let first = said.chars().next();
    assert!(first.is_some_and(|first| !first.is_uppercase()) && !said.ends_with('.'), "{said}");
    let clauses: Vec<&str> = said.split(": ").filter(|clause| clause.len() > 10).collect();
    let distinct: std::collections::BTreeSet<&&str> = clauses.iter().collect();
    assert_eq!(distinct.len(), clauses.len(), "something is said twice: {said}");
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("these paths have plain names")
}

/// A folder for a test's files.
pub(crate) fn folder() -> tempfile::TempDir {
    // Not `cobuf-…`, which are the runs' own.
    tempfile::Builder::new().prefix("refusals-of-a-test-").tempdir().expect("a folder for the test's files")
}

/// The bytes of a plugin's file.
pub(crate) fn bytes_of(plugin: &Plugin) -> Vec<u8> {
    fs::read(plugin.path()).expect("the plugin's file can be read")
}

/// The plugin's bytes, with a section changed.
pub(crate) fn with_section(bytes: &[u8], name: &str, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).unwrap();
    let (offset, size) = file.section_by_name(name).unwrap().file_range().unwrap();
    let mut changed = bytes.to_vec();
    change(&mut changed[offset as usize..(offset + size) as usize]);
    changed
}

/// A file with these bytes, as a plugin.
pub(crate) fn file_of(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> Plugin {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("the file can be written");
    Plugin::file(path)
}

/// A package as an author has it, outside of the repository's workspace; it depends on the plugin-api alone.
///
/// Packages are kept below cargo's folder for tests, and built into this build's own target folder: what has not changed
/// is not built again, the dependencies not even once.
#[derive(Debug)]
pub(crate) struct Package<'a> {
    /// Its name, which no other package has.
    pub(crate) name: &'a str,
    /// `src/lib.rs`.
    pub(crate) source: &'a str,
    /// What `cargo rustc` is to give to the compiler.
    pub(crate) rustc_arguments: &'a [&'a str],
    /// A plugin-api of its own instead of the repository's.
    pub(crate) api: Option<OtherApi<'a>>,
}

/// A plugin-api that differs from the repository's.
#[derive(Debug)]
pub(crate) struct OtherApi<'a> {
    /// The folder in the repository with its sources, such as `plugin-api`.
    pub(crate) sources: &'a str,
    pub(crate) version: &'a str,
    /// File, text, and what replaces the text where it first occurs.
    pub(crate) edits: &'a [(&'a str, &'a str, &'a str)],
}

impl<'a> Package<'a> {
    pub(crate) fn new(name: &'a str, source: &'a str) -> Self {
        Self { name, source, rustc_arguments: &[], api: None }
    }

    /// Writes and builds it.
    pub(crate) fn build(&self) -> Plugin {
        // Tests that share a package must not write it while another one's cargo reads it.
        static BUILDING: Mutex<()> = Mutex::new(());
        let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        Plugin::file(self.compile(&self.write()))
    }

    /// Writes it; gives its folder.
    pub(crate) fn write(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.name);
        let mut manifest = self.manifest();
        match &self.api {
            None => add_api(&mut manifest, &repository().join("plugin-api")),
            Some(api) => {
                // Not `plugin-api`: in the common target folder, cargo would take it for the repository's.
                let api_folder = format!("api-of-{}", self.name);
                copy_api(api, &folder.join(&api_folder));
                join_workspace(&mut manifest, api);
                add_api(&mut manifest, Path::new(&api_folder));
            }
        }
        write(&folder.join("Cargo.toml"), &manifest.to_string());
        write(&folder.join("src/lib.rs"), self.source);
        // The repository's versions of all dependencies; cargo drops what is not needed.
        let locked = fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock"));
        locked.expect("the repository's Cargo.lock can be copied");
        folder
    }

    fn manifest(&self) -> Table {
        let mut manifest: Table = toml::toml! {
            [package]
            version = "0.1.0"
            edition = "2024"
            publish = false
            [lib]
            crate-type = ["cdylib"]
            [dependencies]
            [workspace]
        };
        table(&mut manifest, "package").insert("name".to_owned(), self.name.into());
        // Dependencies that are built otherwise would be others.
        manifest.insert("profile".to_owned(), repository_manifest()["profile"].clone());
        manifest
    }

    fn compile(&self, folder: &Path) -> PathBuf {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target folder");
        let mut command = Command::new(env!("CARGO"));
        command.args(["rustc", "--lib", "--offline", "--manifest-path"]).arg(folder.join("Cargo.toml"));
        command.arg("--target-dir").arg(target);
        let mut profile = "debug";
        if !cfg!(debug_assertions) {
            command.arg("--release");
            profile = "release";
        }
        command.arg("--").args(self.rustc_arguments);
        let output = command.stdin(Stdio::null()).output().expect("cargo can be run");
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        target.join(profile).join(format!("lib{}.so", self.name.replace('-', "_")))
    }
}

/// The `Cargo.toml` at the repository's top.
fn repository_manifest() -> Table {
    let text = fs::read_to_string(repository().join("Cargo.toml")).expect("the repository has a Cargo.toml");
    text.parse().expect("cargo reads it too")
}

fn table<'a>(parent: &'a mut Table, name: &str) -> &'a mut Table {
    parent.get_mut(name).and_then(Value::as_table_mut).unwrap_or_else(|| panic!("there is a table {name}"))
}

fn add_api(manifest: &mut Table, path: &Path) {
    let dependency = Table::from_iter([("path".to_owned(), Value::from(text(path)))]);
    table(manifest, "dependencies").insert("cobuf-plugin-api".to_owned(), dependency.into());
}

/// Gives a copy of the plugin-api the workspace that it inherits from.
fn join_workspace(manifest: &mut Table, api: &OtherApi<'_>) {
    let mut workspace = table(&mut repository_manifest(), "workspace").clone();
    workspace.remove("members");
    workspace.remove("default-members");
    table(&mut workspace, "package").insert("version".to_owned(), api.version.into());
    manifest.insert("workspace".to_owned(), workspace.into());
}

fn copy_api(api: &OtherApi<'_>, to: &Path) {
    let from = repository().join(api.sources);
    let mut edits_done = 0;
    for file in files_below(&from) {
        let name = file.strip_prefix(&from).expect("it is below").to_owned();
        let mut content = fs::read_to_string(&file).expect("sources are text");
        for (_, before, after) in api.edits.iter().filter(|(edited, ..)| Path::new(edited) == name) {
            assert!(content.contains(before), "{} no longer has {before:?}", file.display());
            content = content.replacen(before, after, 1);
            edits_done += 1;
        }
        write(&to.join(name), &content);
    }
    assert_eq!(edits_done, api.edits.len());
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("so can its entries").path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| files_below(folder)));
    files
}

/// Writes a file where it is not so already: cargo goes by the time of the last change.
fn write(file: &Path, content: &str) {
    if fs::read_to_string(file).is_ok_and(|before| before == content) {
        return;
    }
    let folder = file.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("the folder can be made");
    fs::write(file, content).expect("the file can be written");
}

/// The producer `odd_producer.rs`.
pub(crate) fn odd_producer() -> Plugin {
    Package::new("odd-producer", include_str!("odd_producer.rs")).build()
}

/// The commander `odd_commander.rs`.
pub(crate) fn odd_commander() -> Plugin {
    Package::new("odd-commander", include_str!("odd_commander.rs")).build()
}

/// Tells a process of this executable that it is to be an application of its own.
const APPLICATION: &str = "COBUF_TEST_IS_APPLICATION";

/// What an application of its own was told by [`run_as_application`]; `None` in the test itself.
pub(crate) fn application() -> Option<String> {
    std::env::var(APPLICATION).ok()
}

/// Runs the test of this name in a process of its own, for what a whole process has: an end, an environment, an output.
pub(crate) fn run_as_application(test: &str, told: &str, environment: &[(&str, &str)]) -> Output {
    let mut application = Command::new(std::env::current_exe().expect("a test has an executable"));
    application.args(["--exact", "--nocapture", test]).env(APPLICATION, told);
    application.envs(environment.iter().copied()).output().expect("the executable can be run again")
}
