//! Packages as plugins: what cargo refuses, what is missing in them, and those of the
//! documentation.

use crate::common::packages::{Package, documented};
use crate::common::refusals::{assert_says, folder, refusal_of, text};
use crate::common::{
    COBUF, Logs, all_items, application, host, isolated, refused, run_as_application, test_name,
};
use cobuf_host::ndarray::Ix2;
use cobuf_host::{Dictionary, Plugin, PluginError};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

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
    let lacking = [
        (folder.path().to_owned(), "it has no Cargo.toml"),
        (folder.path().join("nowhere"), "no such folder"),
    ];
    for (path, lack) in lacking {
        let refused = refusal_of(Plugin::package(&path));
        assert!(matches!(&refused, PluginError::Build { folder, .. } if *folder == path), "{refused:?}");
        assert_says(
            &refused,
            &[
                "cannot build the plugin's package",
                text(&path),
                lack,
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
fn errors_that_the_log_shows_are_not_repeated() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let manifest = format!("{PACKAGE}{CDYLIB}");
    let package =
        package(&[("Cargo.toml", &manifest), ("src/lib.rs", "pub fn seven() -> u32 { \"seven\" }\n")]);
    assert_eq!(build_failure(&package), "cargo build failed, exit status: 101; its errors are in the log");
    assert!(logs.contains("error[E0308]: mismatched types"));
}

/// Why a package that compiles, and exports no plugin, is refused: so it was built, and found.
const NO_PLUGIN: &str = "it is a shared library but no cobuf plugin";

#[test]
fn package_is_found_by_any_way_that_leads_to_it() {
    let _leaks = isolated!();
    let manifest = format!("{PACKAGE}{CDYLIB}").replace("refused-package", "linked-package");
    let package = package(&[("real/Cargo.toml", &manifest), ("real/src/lib.rs", "")]);
    let path = |name: &str| package.path().join(name);
    fs::create_dir(path("home")).unwrap();
    symlink("../real", path("home/link")).unwrap();
    symlink(package.path(), path("parent")).unwrap();
    symlink("real/src", path("elsewhere")).unwrap();
    let relative = pathdiff(&std::env::current_dir().unwrap(), &path("real"));
    let ways = ["home/link", "parent/real", "parent/home/link", "home/../real", "elsewhere/../../real"];
    for way in ways.map(path).into_iter().chain([relative]) {
        let refused = refusal_of(Plugin::package(&way));
        assert!(matches!(refused, PluginError::Elf { .. }), "{way:?}: {refused:?}");
        assert_says(&refused, &["liblinked_package.so", NO_PLUGIN]);
    }
}

#[test]
fn package_in_a_folder_that_is_not_utf_8_is_refused_by_the_reason() {
    let _leaks = isolated!();
    let manifest = format!("{PACKAGE}{CDYLIB}");
    let package = package(&[("real/Cargo.toml", &manifest), ("real/src/lib.rs", "")]);
    let odd = package.path().join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    symlink("real", &odd).unwrap();
    let refused = refusal_of(Plugin::package(&odd));
    assert_says(&refused, &["its path is not UTF-8, which cargo refuses; give a built .so file"]);
}

/// A relative path from one folder to another.
fn pathdiff(from: &Path, to: &Path) -> PathBuf {
    let up = from.canonicalize().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
    up.join(to.canonicalize().unwrap().strip_prefix("/").unwrap())
}

#[test]
fn member_of_a_workspace_may_be_a_link() {
    let _leaks = isolated!();
    let inherits = "[package]\nname = \"linked-member\"\nversion.workspace = true\nedition = \"2024\"\n";
    let member = format!("{inherits}{CDYLIB}");
    let package = package(&[
        (
            "space/Cargo.toml",
            "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\npackage.version = \"0.1.0\"\n",
        ),
        ("far/Cargo.toml", &member),
        ("far/src/lib.rs", ""),
    ]);
    symlink("../far", package.path().join("space/member")).unwrap();
    let refused = refusal_of(Plugin::package(package.path().join("space/member")));
    assert!(matches!(refused, PluginError::Elf { .. }), "{refused:?}");
    assert_says(&refused, &["liblinked_member.so", NO_PLUGIN]);
}

#[test]
fn package_is_built_though_the_application_ignores_the_end_of_its_children() {
    let _leaks = isolated!();
    let manifest = format!("{PACKAGE}{CDYLIB}").replace("refused-package", "ignored-package");
    let good = package(&[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    let bad = package(&[("Cargo.toml", &manifest), ("src/lib.rs", "fn seven() -> u32 { \"seven\" }\n")]);
    let inspect = |package: &tempfile::TempDir| {
        let script = "trap '' CHLD; exec \"$0\" inspect \"$1\"";
        let arguments = ["-c", script, COBUF, text(package.path())];
        refused(std::process::Command::new("bash").args(arguments))
    };
    assert!(inspect(&good).contains(NO_PLUGIN), "{}", inspect(&good));
    let said = inspect(&bad);
    assert!(said.contains("cargo build failed") && said.contains("mismatched types"), "{said}");
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
