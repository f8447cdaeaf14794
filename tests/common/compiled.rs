//! Plugins in C and C++ that tests build with the system's compiler and the shipped header.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use cobuf_host::Plugin;
use tempfile::TempDir;

use super::refusals::text;
use super::repository;

const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"];

/// Runs the compiler on a source of the repository, with the header's folder and these arguments,
/// and without a warning.
pub(crate) fn compile(compiler: &str, source: &Path, arguments: &[&str]) {
    let include = repository().join("plugin-api/include");
    let mut command = Command::new(compiler);
    command.args(STRICT).arg("-I").arg(include).args(arguments).arg(source).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("these tests need {compiler}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A plugin that is built from this source into the folder.
pub(crate) fn build(folder: &TempDir, compiler: &str, source: &Path, arguments: &[&str]) -> Plugin {
    let library = folder.path().join("libplugin.so");
    compile(compiler, source, &[&["-shared", "-fPIC", "-o", text(&library)], arguments].concat());
    Plugin::file(library)
}

/// The model for authors of producers in C.
pub(crate) fn ramp(folder: &TempDir, arguments: &[&str]) -> Plugin {
    let source = repository().join("plugins/ramp-producer-c/ramp.c");
    build(folder, "cc", &source, &[&["-std=c99"], arguments].concat())
}

/// The C++ producer in the documentation, as its reader would copy it.
pub(crate) fn documented(folder: &TempDir) -> Plugin {
    let page = fs::read_to_string(repository().join("plugin-api/include/README.md")).unwrap();
    let example = page.split("```cpp\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let source = folder.path().join("sine.cpp");
    fs::write(&source, example).unwrap();
    build(folder, "c++", &source, &["-std=c++11"])
}

/// The producer of `tests/hostile`, built once for each run of a test binary.
pub(crate) fn hostile() -> Plugin {
    let sources = repository().join("tests/hostile/producer");
    super::packages::once("hostile-producer", "libhostile_producer.so", |library| {
        let rest = fs::read_dir(&sources).expect("the folder is there").map(|entry| entry.unwrap().path());
        let mut rest: Vec<_> = rest.filter(|path| path.extension().is_some_and(|kind| kind == "c")).collect();
        rest.sort();
        let first = rest.remove(0);
        let files: Vec<&str> = rest.iter().map(|path| text(path)).collect();
        let options = ["-std=gnu99", "-g", "-pthread", "-shared", "-fPIC", "-o", text(library)];
        // The compiler takes the last source after these; libraries of the C library's older versions
        // come behind it.
        compile("cc", &first, &[&options[..], &files, &["-Wl,--no-as-needed", "-ldl", "-lrt"]].concat());
    })
}
