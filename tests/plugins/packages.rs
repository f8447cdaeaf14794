//! Packages as plugins: what cargo refuses, what is missing in them, and those of the
//! documentation.

use crate::common::packages::{Package, documented};
use crate::common::refusals::{assert_says, folder, refusal_of, text};
use crate::common::{all_items, application, host, isolated, run_as_application, test_name};
use cobuf_host::ndarray::Ix2;
use cobuf_host::{Dictionary, Plugin, PluginError};
use std::fs;

/// A package's folder with these files.
fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = folder();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// Cargo's reason why the package cannot be built.
fn build_failure(package: &tempfile::TempDir) -> String {
    match refusal_of(Plugin::package(package.path())) {
        PluginError::Build { folder, reason } => {
            assert_eq!(folder, package.path());
            reason
        }
        other => panic!("expected a failed build, got {other:?}"),
    }
}

#[test]
fn missing_cargo_is_reported_with_a_remedy() {
    let _leaks = isolated!();
    let manifest = format!("{PACKAGE}{CDYLIB}");
    let package = package(&[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    if let Some(package) = application() {
        println!("{}", Plugin::package(package).manifest().unwrap_err());
        return;
    }
    let told = run_as_application(&test_name!(), text(package.path()), &[("CARGO", "/nowhere/cargo")]);
    let said = String::from_utf8_lossy(&told.stdout);
    let reason =
        "cannot run cargo (No such file or directory (os error 2)); install Rust, or give a built .so file";
    assert!(said.contains(text(package.path())) && said.contains(reason), "{said}");
}

#[test]
fn folder_without_a_package_is_named() {
    let _leaks = isolated!();
    let folder = folder();
    for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
        let refused = refusal_of(Plugin::package(&path));
        assert!(matches!(&refused, PluginError::Build { folder, .. } if *folder == path), "{refused:?}");
        assert_says(
            &refused,
            &[
                "cannot build the plugin's package",
                text(&path),
                "no Cargo.toml",
                "give a package's folder, or a .so file",
            ],
        );
    }
}

const PACKAGE: &str =
    "[package]\nname = \"refused-package\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
const CDYLIB: &str = "[lib]\ncrate-type = [\"cdylib\"]\n";

#[test]
fn package_that_does_not_compile_shows_the_error_of_the_compiler() {
    let _leaks = isolated!();
    let manifest = format!("{PACKAGE}{CDYLIB}");
    let package =
        package(&[("Cargo.toml", &manifest), ("src/lib.rs", "pub fn seven() -> u32 { \"seven\" }\n")]);
    let reason = build_failure(&package);
    assert!(reason.starts_with("cargo build failed, exit status: 101:\n"), "{reason}");
    assert!(
        reason.contains("error[E0308]: mismatched types") && reason.contains("src/lib.rs:1:25"),
        "{reason}"
    );
    assert!(reason.lines().count() <= 40, "{reason}");
}

#[test]
fn manifest_refused_by_cargo_shows_its_error() {
    let _leaks = isolated!();
    let reason = build_failure(&package(&[("Cargo.toml", "[package\n"), ("src/lib.rs", "")]));
    assert!(reason.starts_with("cargo build failed, ") && reason.contains("/Cargo.toml:1:9"), "{reason}");
    let reason = build_failure(&package(&[("Cargo.toml", PACKAGE), ("src/main.rs", "fn main() {}")]));
    assert!(reason.contains("no library targets found in package `refused-package`"), "{reason}");
}

#[test]
fn package_without_a_cdylib_is_told_the_missing_line() {
    let _leaks = isolated!();
    let reason = build_failure(&package(&[("Cargo.toml", PACKAGE), ("src/lib.rs", "")]));
    assert_eq!(reason, "it has no cdylib; put `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml");
}

#[test]
fn package_without_the_export_macro_is_told_the_missing_line() {
    let _leaks = isolated!();
    let manifest = format!("{PACKAGE}{CDYLIB}").replace("refused-package", "unexported-package");
    let package = package(&[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    let refused = refusal_of(Plugin::package(package.path()));
    assert!(matches!(refused, PluginError::Elf { .. }), "{refused:?}");
    assert_says(
        &refused,
        &[
            "libunexported_package.so",
            "no cobuf plugin",
            "end its crate with cobuf_plugin_api::export_producer!",
        ],
    );
}

#[test]
fn documented_plugins_work_with_one_dependency_and_no_unsafe_code() {
    let _leaks = isolated!();
    let (commander, producer) = (documented("commander.rs"), documented("producer.rs"));
    assert!(producer.starts_with("#![forbid(unsafe_code)]"));
    let host = host()
        .commander(Package::new("documented-commander", &commander).build())
        .commander_config(Dictionary::new().with("count", 5))
        .producer(Package::new("documented-producer", &producer).build())
        .producer_config(Dictionary::new().with("batch_size", 4))
        .workers(2)
        .start()
        .unwrap();
    let filled: Vec<f32> = all_items(&host.batches())
        .map(|item| {
            let batch = item.unwrap();
            let x = batch.array::<f32, Ix2>("x").unwrap();
            assert_eq!(x.shape(), [4, 3]);
            assert!(x.iter().all(|element| *element == x[[0, 0]]));
            x[[0, 0]]
        })
        .collect();
    assert_eq!(filled, [0.0, 1.0, 2.0, 3.0, 4.0]);
}
