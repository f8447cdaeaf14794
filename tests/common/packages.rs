//! Packages that their authors wrote elsewhere: outside of the repository's workspace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cobuf_host::{Dictionary, HostBuilder, Plugin};
use rustix::fs::{FlockOperation, flock};
use toml::{Table, Value};

use super::refusals::text;
use super::{host, list, plugin, repository};
use crate::harness;

/// The target folder of this build.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target folder")
}

/// A file or folder of tests, which is kept.
fn below_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Waits until this process alone works at what has this name; the lock goes with the descriptor.
fn lock(name: &str) -> File {
    let path = below_target(&format!("{name}.lock"));
    // Opened for writing, which also makes the file.
    let lock = File::options().create(true).append(true).open(path).expect("the lock can be opened");
    flock(&lock, FlockOperation::LockExclusive).expect("the lock can be waited for");
    lock
}

/// A file that `build` makes below the target folder, once for each run of a test binary.
pub(crate) fn once(name: &str, file: &str, build: impl FnOnce(&Path)) -> Plugin {
    let (built, library) = (below_target(&format!("{name}.built")), below_target(file));
    let _lock = lock(name);
    let session = harness::plugins::session();
    if !fs::read_to_string(&built).is_ok_and(|before| before == session) || !library.exists() {
        build(&library);
        fs::write(built, session).expect("the file can be written");
    }
    Plugin::file(library)
}

/// A package as an author has it, outside of the repository's workspace; it depends on the
/// plugin-api alone.
///
/// Packages are kept below cargo's folder for tests, and built into this build's own target folder:
/// an unchanged package is not built again, and all of them share their dependencies.
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
    /// Its name, which no other has. Packages with the same one share its build.
    pub(crate) name: &'a str,
    /// The folder in the repository with its sources, such as `plugin-api`.
    pub(crate) sources: &'a str,
    pub(crate) version: &'a str,
    /// File, text, and the replacement of its first occurrence.
    pub(crate) edits: &'a [(&'a str, &'a str, &'a str)],
}

impl<'a> Package<'a> {
    pub(crate) fn new(name: &'a str, source: &'a str) -> Self {
        Self { name, source, rustc_arguments: &[], api: None }
    }

    /// Writes and builds it.
    pub(crate) fn build(&self) -> Plugin {
        let built = below_target(&format!("{}.built", self.name));
        // Only one process builds it, and none writes it while another one's cargo reads it.
        let _lock = lock(self.name);
        let input = format!("{} {self:?}", harness::plugins::session());
        let library = self.library();
        if fs::read_to_string(&built).is_ok_and(|before| before == input) && library.exists() {
            return Plugin::file(library);
        }
        self.compile(&self.write());
        fs::write(built, input).expect("the file can be written");
        Plugin::file(library)
    }

    /// Writes it; gives its folder.
    pub(crate) fn write(&self) -> PathBuf {
        let folder = below_target(self.name);
        let mut manifest = self.manifest();
        match &self.api {
            None => add_api(&mut manifest, &repository().join("plugin-api")),
            Some(api) => add_api(&mut manifest, &api.write()),
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

    /// What cargo builds of it.
    fn library(&self) -> PathBuf {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        target().join(profile).join(harness::plugins::library(self.name))
    }

    fn compile(&self, folder: &Path) {
        let mut command = Command::new(env!("CARGO"));
        command.args(["rustc", "--lib", "--offline", "--manifest-path"]).arg(folder.join("Cargo.toml"));
        command.arg("--target-dir").arg(target());
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command.arg("--").args(self.rustc_arguments);
        let output = command.stdin(Stdio::null()).output().expect("cargo can be run");
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
    }
}

/// The `Cargo.toml` at the repository's top.
fn repository_manifest() -> Table {
    let text = fs::read_to_string(repository().join("Cargo.toml")).expect("the repository has a Cargo.toml");
    text.parse().expect("cargo reads it too")
}

/// The settings of the repository's dev profile, as variables for cargo.
pub(crate) fn profile_variables() -> Vec<(String, String)> {
    let profile = repository_manifest()["profile"]["dev"].as_table().expect("it is a table").clone();
    let variable = |(key, value): (String, Value)| {
        let name = format!("CARGO_PROFILE_DEV_{}", key.replace('-', "_").to_uppercase());
        (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    profile.into_iter().map(variable).collect()
}

fn table<'a>(parent: &'a mut Table, name: &str) -> &'a mut Table {
    parent.get_mut(name).and_then(Value::as_table_mut).unwrap_or_else(|| panic!("there is a table {name}"))
}

fn add_api(manifest: &mut Table, path: &Path) {
    let dependency = Table::from_iter([("path".to_owned(), Value::from(text(path)))]);
    table(manifest, "dependencies").insert("cobuf-plugin-api".to_owned(), dependency.into());
}

impl OtherApi<'_> {
    /// Writes it, with a workspace to inherit from; gives its folder.
    ///
    /// It is outside of the packages' folders: cargo knows a package inside the workspace by its
    /// relative path, and would take it for the repository's plugin-api.
    fn write(&self) -> PathBuf {
        let root = below_target(&format!("api-{}", self.name));
        let _lock = lock(&format!("api-{}", self.name));
        let mut workspace = table(&mut repository_manifest(), "workspace").clone();
        workspace.retain(|key, _| !["default-members", "exclude"].contains(&key));
        workspace.insert("members".to_owned(), vec!["plugin-api"].into());
        table(&mut workspace, "package").insert("version".to_owned(), self.version.into());
        let manifest = Table::from_iter([("workspace".to_owned(), Value::from(workspace))]);
        write(&root.join("Cargo.toml"), &manifest.to_string());
        let folder = root.join("plugin-api");
        self.copy_to(&folder);
        folder
    }

    fn copy_to(&self, to: &Path) {
        let from = repository().join(self.sources);
        let mut edits_done = 0;
        for file in files_below(&from) {
            let name = file.strip_prefix(&from).expect("it is below").to_owned();
            let mut content = fs::read_to_string(&file).expect("sources are text");
            for (_, before, after) in self.edits.iter().filter(|(edited, ..)| Path::new(edited) == name) {
                assert!(content.contains(before), "{} no longer has {before:?}", file.display());
                content = content.replacen(before, after, 1);
                edits_done += 1;
            }
            write(&to.join(name), &content);
        }
        assert_eq!(edits_done, self.edits.len());
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("so can its entries").path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| files_below(folder)));
    files
}

/// Writes a file, unless it has this content already: cargo goes by the time of the last change.
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
    Package::new("odd-producer", include_str!("sources/odd_producer.rs")).build()
}

/// The commander `odd_commander.rs`.
pub(crate) fn odd_commander() -> Plugin {
    Package::new("odd-commander", include_str!("sources/odd_commander.rs")).build()
}

/// The plugin in the documentation of the trait `Producer` or `Commander`, as its reader would copy
/// it.
pub(crate) fn documented(file: &str) -> String {
    let path = repository().join("plugin-api/src").join(file);
    let source = fs::read_to_string(path).unwrap();
    let documentation: Vec<&str> = source.lines().filter_map(|line| line.strip_prefix("///")).collect();
    let documentation = documentation.join("\n");
    let mut blocks = documentation.split(" ```").skip(1).step_by(2);
    let example = blocks.find(|block| block.contains("export_")).unwrap();
    let shown = example.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    let shown: Vec<&str> = shown.filter(|line| !line.starts_with("# ")).collect();
    format!("#![forbid(unsafe_code)]\n{}\n", shown.join("\n"))
}

/// A host with one worker of the odd producer, and no message.
pub(crate) fn odd_host() -> HostBuilder {
    let builder = host().commander(plugin("list-commander")).commander_config(list([]));
    builder.producer(odd_producer()).producer_config(Dictionary::new()).workers(1)
}
