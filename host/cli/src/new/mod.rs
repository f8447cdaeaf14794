//! `cobuf new`: complete crates for plugins, from templates that are in this executable.
//!
//! ```text
//!   new producer noise                       new pipeline noise
//!   noise/   a workspace wherever it is      noise/   a workspace wherever it is
//!     Cargo.toml  src/lib.rs  the plugin       Cargo.toml
//!     commander/  one to run it with           producer/  commander/  two plugins
//!     noise.toml  a pipeline of the two        noise.toml             a pipeline of the two
//!     README.md  .gitignore                    README.md  .gitignore
//! ```
//!
//! With `--python` the folder has producer.py, commander.py and their tests, and no crate.
//!
//! A pipeline needs both kinds of plugin, and a new author has neither. So both come as source, and
//! `cobuf run noise.toml` needs only cargo. The same two templates serve all of them; `api` says
//! where the plugins' only dependency comes from.
//!
//! Invariant: the folder exists whole or not at all. It is written under another name beside its
//! place, and then renamed.

mod api;
mod name;
mod python;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cobuf_host::PluginKind;

use self::api::Api;
use crate::args::{NewArgs, NewKind};
use cobuf::output::report;

/// The values of the templates' placeholders.
struct Crates<'a> {
    kind: NewKind,
    name: &'a str,
    api: Api,
}

/// A file's path in the new folder, and its content.
type NewFile = (String, String);

pub(crate) fn new(args: &NewArgs) -> Result<()> {
    let NewArgs { kind, name, .. } = args;
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(name));
    let (files, next_steps) = if args.python {
        name::check_form(name)?;
        (python::files(name), python::next_steps(*kind, name, &folder))
    } else {
        name::check(name)?;
        let crates = Crates { kind: *kind, name, api: Api::find(args.plugin_api.as_deref())? };
        (crates.files(), crates.next_steps(&folder))
    };
    write(&folder, &files).with_context(|| format!("cannot make {}", folder.display()))?;
    report(&next_steps)
}

impl Crates<'_> {
    fn files(&self) -> Vec<NewFile> {
        let manifest = match self.kind.plugin() {
            Some(_) => include_str!("templates/Cargo.toml.in"),
            None => include_str!("templates/workspace.toml.in"),
        };
        let mut files = vec![
            ("Cargo.toml".to_owned(), self.fill(manifest)),
            (format!("{}.toml", self.name), self.fill(include_str!("templates/pipeline.toml.in"))),
            ("README.md".to_owned(), self.fill(include_str!("templates/README.md.in"))),
            (".gitignore".to_owned(), include_str!("templates/gitignore").to_owned()),
        ];
        for kind in [PluginKind::Producer, PluginKind::Commander] {
            let source = match kind {
                PluginKind::Producer => include_str!("templates/producer.rs"),
                PluginKind::Commander => include_str!("templates/commander.rs"),
            };
            let folder = if self.kind.plugin() == Some(kind) {
                String::new()
            } else {
                let member = include_str!("templates/member.toml.in");
                let member = member.replace("{{member}}", &name::of_member(self.name, kind));
                files.push((format!("{kind}/Cargo.toml"), member));
                format!("{kind}/")
            };
            files.push((format!("{folder}src/lib.rs"), source.to_owned()));
        }
        // The versions that the command was built with, which cargo has already.
        files.extend(self.api.lock.iter().map(|lock| ("Cargo.lock".to_owned(), lock.clone())));
        files
    }

    fn fill(&self, template: &str) -> String {
        let kind = self.kind.plugin();
        let place = |of: PluginKind| if kind == Some(of) { ".".to_owned() } else { format!("./{of}") };
        let main = kind.unwrap_or(PluginKind::Producer);
        let (setting, first_step) = match main {
            PluginKind::Producer => ("producer.width=64", "the function `load`, which makes an item"),
            PluginKind::Commander => ("commander.length=50", "the method `next`, which makes the messages"),
        };
        let (plugin, partner) = (place(main), name::other(main));
        let source = format!("{plugin}/src/lib.rs");
        let row =
            |kind, content: &str| format!("| `{kind}/` | {}, {content} |", name::of_member(self.name, kind));
        let (what, tests, files) = match kind {
            Some(kind) => (
                format!("A {kind}"),
                "unit tests in one process; --workspace for both plugins",
                [
                    format!(
                        "| `src/lib.rs` | the {kind}, with its configuration, its messages and its tests |"
                    ),
                    row(partner, &format!("a small {partner} to run it with; change or replace it")),
                ],
            ),
            None => (
                "A pipeline".to_owned(),
                "unit tests of both plugins, in one process each",
                [main, partner].map(|kind| row(kind, "with its configuration, its messages and its tests")),
            ),
        };
        [
            ("{{name}}", self.name),
            ("{{what}}", &what),
            ("{{files}}", &files.join("\n")),
            ("{{tests}}", tests),
            ("{{plugin}}", &plugin),
            ("{{source}}", source.trim_start_matches("./")),
            ("{{partner_kind}}", &partner.to_string()),
            ("{{plugin_api}}", &self.api.dependency),
            ("{{guide}}", &self.api.guide),
            ("{{commander}}", &place(PluginKind::Commander)),
            ("{{producer}}", &place(PluginKind::Producer)),
            ("{{setting}}", setting),
            ("{{first_step}}", first_step),
        ]
        .iter()
        .fold(template.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
    }

    fn next_steps(&self, folder: &Path) -> String {
        let name = self.name;
        let (what, tests, sources) = match self.kind.plugin() {
            Some(kind) => (
                format!(
                    "the {kind} {name} in {}, with a {} to run it with",
                    folder.display(),
                    name::other(kind)
                ),
                "its unit tests",
                "src/lib.rs is the plugin",
            ),
            None => (
                format!("the pipeline {name} in {}, with a producer and a commander", folder.display()),
                "the unit tests of both plugins",
                "producer/src/lib.rs and commander/src/lib.rs are the plugins",
            ),
        };
        let run = format!("cobuf run {name}.toml");
        let width = run.len();
        format!(
            "made {what}; next:\n\n  \
             cd {folder}\n  \
             {test:width$}  # {tests}\n  \
             {run}  # builds both plugins and runs them\n\n\
             {sources}, README.md says more",
            folder = folder.display(),
            test = "cargo test",
        )
    }
}

/// Writes the files into a new folder: all of them, or none.
fn write(folder: &Path, files: &[NewFile]) -> Result<()> {
    if folder.symlink_metadata().is_ok() {
        bail!("it is there already; remove it, or give another folder after the name");
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(parent.is_dir(), "there is no folder {}; make it first", parent.display());
    let staged = tempfile::Builder::new()
        .prefix(".cobuf-new-")
        .permissions(Permissions::from_mode(0o777)) // the user's umask restricts it
        .tempdir_in(parent)?;
    for (name, content) in files {
        let path = staged.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(parent))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::rename(staged.path(), folder)?;
    let _renamed = staged.keep();
    Ok(())
}
