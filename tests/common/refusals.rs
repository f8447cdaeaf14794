//! Errors of refused starts, and the sentences they must say.

use std::error::Error;
use std::fs;
use std::path::Path;

use cobuf_host::{HostBuilder, Plugin, PluginError, PluginKind, Report, StartError};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};

use super::{arrays_config, filling, host, index, list, plugin, small};

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
    let builder = builder.producer(producer).producer_config(arrays_config(&small()));
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

/// Asserts that an error, with its causes, says all of this, and that it reads as one sentence
/// among others: no capital, no stop at its end, nothing twice.
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

/// A host that would start.
pub(crate) fn good() -> HostBuilder {
    filling([index(0)], &small()).workers(1)
}

/// What the plugin of this kind said of its configuration, or of itself, when it was set up.
#[track_caller]
pub(crate) fn setup_error(builder: HostBuilder, kind: PluginKind, name: &str) -> Report {
    let error = start_error(builder);
    assert_says(&error, &[&format!("the {kind} {name} cannot be set up: ")]);
    match error {
        StartError::Plugin(PluginError::Setup { kind: failed, plugin, source }) => {
            assert_eq!((failed, plugin.as_str()), (kind, name));
            source
        }
        other => panic!("expected the plugin's own error, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in: {text}");
    }
}
