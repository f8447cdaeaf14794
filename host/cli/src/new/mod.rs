//! `cobuf new`: a complete crate for a plugin, from templates that are in this executable.
//!
//! ```text
//!   noise/                    a cargo workspace of its own, wherever it is made
//!     Cargo.toml  src/lib.rs  the plugin that was asked for
//!     commander/              a small plugin of the other kind, to run it with
//!     noise.toml              a pipeline of the two
//!     README.md  .gitignore
//! ```
//!
//! A pipeline needs both kinds of plugin, and a new author has neither. So both come as source, and
//! `cobuf run noise.toml` needs only cargo. The same two templates serve both commands.
//!
//! Invariant: the folder exists whole or not at all. It is written under another name beside its
//! place, and then renamed.

mod name;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cobuf_host::PluginKind;

use crate::args::NewArgs;
use cobuf::output::report;

/// The version of cobuf-plugin-api that this command speaks: they are released together.
const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The values of the templates' placeholders.
struct Crate<'a> {
    kind: PluginKind,
    name: &'a str,
    /// The package of the other kind beside it.
    partner: String,
    /// The dependency on cobuf-plugin-api, as TOML.
    plugin_api: String,
}

/// A file's path in the new folder, and its content.
type NewFile = (String, String);

pub(crate) fn new(args: &NewArgs) -> Result<()> {
    let kind = PluginKind::from(args.kind);
    name::check(&args.name)?;
    let crate_ = Crate {
        kind,
        name: &args.name,
        partner: name::of_partner(&args.name, kind),
        plugin_api: plugin_api(args.plugin_api.as_deref())?,
    };
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    write(&folder, &crate_.files()).with_context(|| format!("cannot make {}", folder.display()))?;
    report(&crate_.next_steps(&folder))
}

impl Crate<'_> {
    fn files(&self) -> [NewFile; 7] {
        let source = |kind| match kind {
            PluginKind::Producer => include_str!("templates/producer.rs").to_owned(),
            PluginKind::Commander => include_str!("templates/commander.rs").to_owned(),
        };
        let other = name::other(self.kind);
        [
            ("Cargo.toml".to_owned(), self.fill(include_str!("templates/Cargo.toml.in"))),
            ("src/lib.rs".to_owned(), source(self.kind)),
            (format!("{other}/Cargo.toml"), self.fill(include_str!("templates/partner.toml.in"))),
            (format!("{other}/src/lib.rs"), source(other)),
            (format!("{}.toml", self.name), self.fill(include_str!("templates/pipeline.toml.in"))),
            ("README.md".to_owned(), self.fill(include_str!("templates/README.md.in"))),
            (".gitignore".to_owned(), include_str!("templates/gitignore").to_owned()),
        ]
    }

    fn fill(&self, template: &str) -> String {
        let (commander, producer, setting, first_step) = match self.kind {
            PluginKind::Producer => {
                ("./commander", ".", "producer.width=64", "the function `load`, which makes an item")
            }
            PluginKind::Commander => {
                (".", "./producer", "commander.length=50", "the method `next`, which makes the messages")
            }
        };
        [
            ("{{name}}", self.name),
            ("{{kind}}", &self.kind.to_string()),
            ("{{partner}}", &self.partner),
            ("{{partner_kind}}", &name::other(self.kind).to_string()),
            ("{{plugin_api}}", &self.plugin_api),
            ("{{commander}}", commander),
            ("{{producer}}", producer),
            ("{{setting}}", setting),
            ("{{first_step}}", first_step),
        ]
        .iter()
        .fold(template.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
    }

    fn next_steps(&self, folder: &Path) -> String {
        let Self { kind, name, .. } = self;
        format!(
            "made the {kind} {name} in {folder}, with a {partner_kind} to run it with; next:\n\n  \
             cd {folder}\n  \
             cargo test            # its unit tests\n  \
             cobuf run {name}.toml  # builds both plugins and runs them\n\n\
             src/lib.rs is the plugin, README.md says more",
            folder = folder.display(),
            partner_kind = name::other(*kind),
        )
    }
}

/// The dependency on cobuf-plugin-api, as TOML: on this folder, or on the registry.
fn plugin_api(folder: Option<&Path>) -> Result<String> {
    let Some(folder) = folder else { return Ok(format!("{API_VERSION:?}")) };
    let wrong =
        || format!("--plugin-api {} is wrong, expected the folder of cobuf-plugin-api", folder.display());
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).with_context(wrong)?;
    let manifest: toml::Table = manifest.parse().with_context(wrong)?;
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(|name| name.as_str());
    ensure!(
        name == Some("cobuf-plugin-api"),
        "{}: it has the package {}",
        wrong(),
        name.unwrap_or("of no name")
    );
    let path = folder.canonicalize().with_context(wrong)?;
    let path = path.to_str().with_context(|| format!("{}, by a path that is UTF-8", wrong()))?;
    Ok(format!("{{ path = {} }}", serde_json::Value::from(path)))
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
