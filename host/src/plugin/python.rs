//! Plugins that are Python code: `slides.py:Slides`, or `package.module:Name`.
//!
//! ```text
//!   interpreter ── asked once, by `cobuf._describe` ──► the file of the plugin for Python code,
//!                                                       the sources of the object's modules,
//!                                                       the command of a fork server
//! ```
//!
//! The sources are read then, and never again: a worker that starts later runs the same code.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command};
use std::thread;

use cobuf_plugin_api::{Dictionary, PluginKind, codec};
use serde::Deserialize;

use super::code::Code;
use super::error::PluginError;
use super::interpreter::{self, Interpreter};
use super::tool::{Finished, Tool};
use crate::cancel::Cancel;

/// The program for the interpreter. It says in the same way that it cannot, whatever its version.
const ASK: &str = "\
import json, sys
sys.path[:] = [entry for entry in sys.path if entry]
try:
    from cobuf import _describe
except Exception as error:
    lacks = '%s: %s' % (type(error).__name__, error)
    print(json.dumps({'lacks': lacks, 'python': sys.version.split()[0]}))
else:
    _describe.main()
";

/// A plugin that is a Python object: `slides.py:Slides`, or `package.module:Name`.
///
/// Its configuration is the keyword arguments of its class or function. It works in processes of a
/// Python interpreter: that of the active environment, see [`interpreter`](Self::interpreter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonPlugin {
    /// As it was given.
    object: PathBuf,
    /// The folder that a file's path is relative to, and in which modules are looked for as well.
    folder: PathBuf,
    kind: Option<PluginKind>,
    interpreter: Option<PathBuf>,
    preload: Vec<String>,
    /// The variables of the plugins' processes, which the preloaded modules may read as well.
    env: BTreeMap<String, String>,
}

/// The interpreter's description of a plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Described {
    /// The plugin for Python code.
    file: PathBuf,
    /// The object, and the sources of its modules.
    code: Dictionary,
    /// The object's name.
    name: String,
    /// The files that were read.
    sources: Vec<PathBuf>,
    /// The command of a fork server.
    server: Vec<String>,
    /// The JSON Schema of its arguments, if the object was loaded.
    config_schema: Option<serde_json::Value>,
    /// The version of the package.
    version: String,
    /// The version of Python.
    python: String,
    /// Why the package cannot be imported.
    lacks: Option<String>,
    /// The reason why the object cannot be a plugin.
    error: Option<String>,
}

impl PythonPlugin {
    /// The object that a text names, if it names one: a file or a module, a colon, and a name. A
    /// file's path is relative to the folder.
    pub(super) fn parse(folder: &Path, given: &Path) -> Option<Self> {
        let (place, name) = given.to_str()?.rsplit_once(':')?;
        let is_place = is_source(place) || is_dotted_name(place);
        (is_place && is_dotted_name(name)).then(|| Self {
            object: given.to_owned(),
            folder: folder.to_owned(),
            kind: None,
            interpreter: None,
            preload: vec!["numpy".to_owned()],
            env: BTreeMap::new(),
        })
    }

    /// The interpreter to use. Default: that of the package whose script has started the command
    /// `cobuf`; the active virtual or conda environment (`VIRTUAL_ENV`, `CONDA_PREFIX`); a `.venv` in
    /// the folder or in one above it; `python3` on the `PATH`. It needs the package `cobuf`, of the
    /// same version as this library.
    #[must_use]
    pub fn interpreter(mut self, path: impl Into<PathBuf>) -> Self {
        self.interpreter = Some(path.into());
        self
    }

    /// The modules that the fork server loads once for all processes; `numpy` by default. They must
    /// not start threads.
    #[must_use]
    pub fn preload(mut self, modules: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.preload = modules.into_iter().map(Into::into).collect();
        self
    }

    /// The environment variables of the plugins' processes, see
    /// [`ProcessSetup::env`](crate::ProcessSetup::env).
    pub(crate) fn env(mut self, env: &BTreeMap<String, String>) -> Self {
        self.env.clone_from(env);
        self
    }

    /// The kind of the plugin, which the interpreter otherwise finds out by loading the object.
    pub(crate) fn of_kind(mut self, kind: PluginKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The object as it was given.
    pub fn object(&self) -> &Path {
        &self.object
    }

    /// Reads its code: the file of the plugin for it, and the code.
    pub(super) fn read(&self, cancel: Option<&Cancel>) -> Result<(PathBuf, Code), PluginError> {
        let described = self.describe(cancel)?;
        let bytes =
            codec::encode("the code", &described.code).map_err(|error| self.failed(error.to_string()))?;
        let code = Code {
            bytes,
            name: Some(described.name),
            sources: described.sources,
            server: described.server,
            config_schema: described.config_schema.map(|schema| schema.to_string()),
        };
        Ok((described.file, code))
    }

    fn failed(&self, reason: String) -> PluginError {
        PluginError::Python { object: self.object.clone(), reason }
    }

    /// Asks the interpreter.
    fn describe(&self, cancel: Option<&Cancel>) -> Result<Described, PluginError> {
        let failed = |reason| self.failed(reason);
        let folder = std::env::current_dir().unwrap_or_default().join(&self.folder);
        let found = interpreter::find(self.interpreter.as_deref(), &folder, |name| std::env::var_os(name));
        let interpreter = found.map_err(|looked| {
            failed(format!(
                "there is no Python interpreter: {looked}; activate an environment with the package cobuf, or \
                 give its interpreter with --python or the key `interpreter`"
            ))
        })?;
        let in_text = folder.to_str();
        let in_text =
            in_text.ok_or_else(|| failed(format!("its folder {} is not UTF-8", folder.display())))?;
        let request = serde_json::json!({
            "object": self.object,
            "folder": in_text,
            "kind": self.kind.map(|kind| kind.to_string()),
            "preload": self.preload,
            "env": self.env,
        });
        let mut command = Command::new(&interpreter.path);
        command.arg("-c").arg(ASK).arg(request.to_string());
        // A terminal's Ctrl-C is the application's, which gives this up.
        command.process_group(0);
        let ran = Tool::start(&mut command, read)
            .map_err(|error| failed(format!("cannot run {}: {error}", interpreter.shown())))?;
        let Finished { said, status, cancelled } = ran.finish(cancel);
        if cancelled {
            return Err(PluginError::Cancelled);
        }
        let Said { answer, errors } = said;
        let described: Described = serde_json::from_slice(&answer).map_err(|_| {
            let status = status.map(|status| format!(", {status}")).unwrap_or_default();
            failed(format!("{} gave no answer{status}:\n{}", interpreter.shown(), errors.trim_end()))
        })?;
        described.checked(&interpreter).map_err(failed)
    }
}

impl Described {
    /// The same, if it is of use to this library.
    fn checked(self, interpreter: &Interpreter) -> Result<Self, String> {
        const VERSION: &str = env!("CARGO_PKG_VERSION");
        let path = interpreter.path.display();
        let shown = interpreter.shown();
        if let Some(lacks) = self.lacks {
            return Err(format!(
                "{shown}, Python {}, cannot import the package cobuf ({lacks}); install it with \
                 `{path} -m pip install cobuf`, or choose another interpreter: activate its environment, or \
                 give it with --python or the key `interpreter`",
                self.python
            ));
        }
        if self.version != VERSION {
            return Err(format!(
                "the package cobuf of {shown} has the version {}, expected {VERSION}; install it with \
                 `{path} -m pip install cobuf=={VERSION}`, or use the command that the package brings along",
                self.version
            ));
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

impl Interpreter {
    fn shown(&self) -> String {
        format!("{} ({})", self.path.display(), self.because)
    }
}

/// The answer of the interpreter.
#[derive(Default)]
struct Said {
    answer: Vec<u8>,
    errors: String,
}

fn read(mut stdout: ChildStdout, mut stderr: ChildStderr) -> Said {
    let errors = thread::spawn(move || {
        let mut errors = Vec::new();
        let _ = stderr.read_to_end(&mut errors);
        String::from_utf8_lossy(&errors).into_owned()
    });
    let mut answer = Vec::new();
    // Half an answer is none.
    let _ = stdout.read_to_end(&mut answer);
    Said { answer, errors: errors.join().unwrap_or_default() }
}

/// Whether a path is that of Python source.
pub(super) fn is_source(path: &str) -> bool {
    path.len() > ".py".len() && path.ends_with(".py")
}

/// Whether a text is Python names with dots between them.
fn is_dotted_name(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut characters = name.chars();
        let begins = characters.next().is_some_and(|first| first == '_' || first.is_alphabetic());
        begins && characters.all(|other| other == '_' || other.is_alphanumeric())
    };
    text.split('.').all(is_name)
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::time::Duration;

    #[test]
    fn text_names_an_object_by_file_or_module() {
        let parse = |text: &str| PythonPlugin::parse(Path::new("/p"), Path::new(text));
        for object in
            ["slides.py:Slides", "../a b/my-slides.py:Slides", "package.module:Name", "m:a.b", "größe:_x1"]
        {
            assert_eq!(parse(object).map(|plugin| plugin.object), Some(PathBuf::from(object)));
        }
        let others = [
            "slides.py",
            "slides.py:",
            ":Slides",
            ".py:Slides",
            "slides.py:1st",
            "a/b:Name",
            "a..b:Name",
            "libx.so",
            "name",
            "slides.py:a b",
        ];
        for other in others {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn folder_that_is_not_utf8_is_an_error() {
        let folder = Path::new(OsStr::from_bytes(b"/p\xff"));
        let plugin = PythonPlugin::parse(folder, Path::new("slides.py:Slides")).unwrap();
        let error = plugin.interpreter("/bin/false").read(None).unwrap_err().to_string();
        assert!(error.ends_with("its folder /p\u{fffd} is not UTF-8"), "{error}");
    }

    #[test]
    fn interpreter_that_says_nothing_is_an_error() {
        let read = |interpreter: &str| {
            let plugin = PythonPlugin::parse(Path::new("/"), Path::new("slides.py:Slides")).unwrap();
            plugin.interpreter(interpreter).read(None).unwrap_err().to_string()
        };
        let error = read("/bin/false");
        assert!(error.contains("/bin/false (it was given) gave no answer, exit status: 1"), "{error}");
        let error = read("/gone/python");
        assert!(error.contains("cannot run /gone/python (it was given): No such file"), "{error}");
    }

    #[test]
    fn interpreter_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (hang, began) = (folder.path().join("hang"), folder.path().join("began"));
        // By another process: a file that this one has open for writing, or a fork of it, cannot be run.
        let write = r#"printf '#!/bin/sh\n: > %s\nsleep 1000\n' "$2" > "$1"; chmod +x "$1""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", write, "sh"]).args([&hang, &began]).status().unwrap();
        let cancel = Cancel::new().unwrap();
        let wish = cancel.clone();
        let asked = thread::spawn(move || {
            let plugin = PythonPlugin::parse(Path::new("/"), Path::new("slides.py:Slides")).unwrap();
            plugin.interpreter(hang).read(Some(&cancel))
        });
        while !began.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        wish.cancel();
        assert!(matches!(asked.join().unwrap(), Err(PluginError::Cancelled)));
    }

    fn checked(answer: &str) -> String {
        let described: Described = serde_json::from_str(answer).unwrap();
        let interpreter = Interpreter { path: "/v/bin/python".into(), because: "VIRTUAL_ENV".to_owned() };
        described.checked(&interpreter).unwrap_err()
    }

    #[test]
    fn interpreter_without_the_package_is_named_with_what_to_do() {
        let said =
            checked(r#"{"lacks": "ModuleNotFoundError: No module named 'cobuf'", "python": "3.12.1"}"#);
        assert!(
            said.starts_with(
                "/v/bin/python (VIRTUAL_ENV), Python 3.12.1, cannot import the package cobuf \
                 (ModuleNotFoundError: No module named 'cobuf'); install it with `/v/bin/python -m pip install cobuf`"
            ),
            "{said}"
        );
    }

    #[test]
    fn package_of_another_version_is_refused() {
        let said = checked(r#"{"version": "0.0.1", "python": "3.12.1"}"#);
        assert!(said.contains("has the version 0.0.1, expected"), "{said}");
    }
}
