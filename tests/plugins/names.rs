//! Plugins by name: which one is found on `COBUF_PLUGIN_PATH`, and how `cobuf list` describes all
//! of them.

use crate::common::refusals::{bytes_of, folder, text, with_section};
use crate::common::{cobuf, isolated, plugin, refused, repository, succeed};
use cobuf_host::{Plugin, find_plugins};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where a manifest has the version of the plugin-api; this layout is frozen.
const API_VERSION: usize = 152;

fn with_path(plugin_path: &str) -> Command {
    let mut command = cobuf();
    command.env("COBUF_PLUGIN_PATH", plugin_path);
    command
}

/// Puts a file with these bytes into a folder.
fn put(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The plugin's bytes, as if it had been built with another plugin-api.
fn with_api_version(bytes: &[u8], version: &str) -> Vec<u8> {
    with_section(bytes, ".cobuf.manifest", |manifest| {
        manifest[API_VERSION..][..version.len()].copy_from_slice(version.as_bytes());
    })
}

fn list(arguments: &[&Path]) -> Vec<Value> {
    let said = succeed(with_path("").arg("list").arg("--json").args(arguments));
    serde_json::from_str(&said).expect("JSON")
}

#[test]
fn plain_words_are_names_and_others_are_paths() {
    assert_eq!(Plugin::at("fill-producer"), Plugin::named("fill-producer"));
    assert_eq!(Plugin::at("./fill-producer"), Plugin::file("./fill-producer"));
    assert_eq!(Plugin::at("fill-producer.so"), Plugin::file("fill-producer.so"));
    for no_word in ["..", ".", "/", "", "a/b", "fill-producer/"] {
        assert!(!matches!(Plugin::at(no_word), Plugin::Named(_)), "{no_word}");
    }
    // What is there is meant, not a name.
    let plugins = repository().join("plugins");
    let package = Plugin::package(plugins.join("fill-producer"));
    assert_eq!(Plugin::relative_to(&plugins, "fill-producer"), package);
    assert_eq!(Plugin::relative_to(repository(), "fill-producer"), Plugin::named("fill-producer"));
    let file = folder();
    put(&file, "plugin", b"");
    assert_eq!(Plugin::relative_to(file.path(), "plugin"), Plugin::file(file.path().join("plugin")));
}

#[test]
fn pipeline_runs_with_plugins_by_name() {
    let _leaks = isolated!();
    let (first, second, pipeline) = (folder(), folder(), folder());
    // One under the name that cargo gives it, the other not.
    put(&first, "libfill_producer.so", &bytes_of(&plugin("fill-producer")));
    put(&second, "anything.so", &bytes_of(&plugin("index-commander")));
    let file = "[commander]\nplugin = \"index-commander\"\nconfig = { length = 6, batch_size = 2, epochs = 1 }\n\
                [producer]\nplugin = \"fill-producer\"\n\
                config = { arrays = [{ name = \"x\", dtype = \"f32\", shape = [2] }] }\n";
    put(&pipeline, "pipeline.toml", file.as_bytes());
    // Folders that are not there are passed over; one that is relative starts in the folder in which the command
    // is run.
    let plugin_path = format!("/nowhere:{}:.", text(first.path()));
    let said = succeed(
        with_path(&plugin_path)
            .current_dir(second.path())
            .arg("run")
            .arg(pipeline.path().join("pipeline.toml"))
            .args(["--json"]),
    );
    let report: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(report["batches"], 3);
}

#[test]
fn first_folder_wins() {
    let _leaks = isolated!();
    let (first, second) = (folder(), folder());
    let good = bytes_of(&plugin("index-commander"));
    put(&second, "libindex_commander.so", &good);
    let plugin_path = format!("{}:{}", text(first.path()), text(second.path()));
    let shown = succeed(with_path(&plugin_path).args(["inspect", "index-commander"]));
    assert!(shown.starts_with("commander index-commander 0.1.0\n"), "{shown}");
    // Even one that does not load, under another file's name.
    let other = put(&first, "zzz.so", &with_api_version(&good, "0.9.0"));
    let said = refused(with_path(&plugin_path).args(["inspect", "index-commander"]));
    assert!(said.starts_with(&format!("error: the plugin {} was built with", text(&other))), "{said}");
    // In the same folder, the one that is called as cargo calls it.
    put(&first, "libindex_commander.so", &good);
    succeed(with_path(&plugin_path).args(["inspect", "index-commander"]));
}

#[test]
fn unknown_name_is_answered_with_the_known_ones() {
    let _leaks = isolated!();
    let how = "the path of a .so file, or of a cargo package's folder";
    let said = refused(with_path("").args(["inspect", "fill-prodcer"]));
    assert_eq!(
        said,
        format!(
            "error: no plugin is called \"fill-prodcer\": COBUF_PLUGIN_PATH is not set; \
             set it to the folders with your plugins, or give {how}\n"
        )
    );
    let (empty, plugins) = (folder(), folder());
    let (empty_name, plugins_name) = (text(empty.path()), text(plugins.path()));
    let said = refused(with_path(empty_name).args(["inspect", "fill-prodcer"]));
    let expected =
        format!("looked in {empty_name} (COBUF_PLUGIN_PATH), where there are no plugins; build them");
    assert!(said.contains(&expected), "{said}");
    for name in ["index-commander", "fill-producer"] {
        put(&plugins, &format!("{name}.so"), &bytes_of(&plugin(name)));
    }
    let said = refused(with_path(&format!("{empty_name}:{plugins_name}")).args(["inspect", "fill-prodcer"]));
    let expected = format!(
        "looked in {empty_name}, {plugins_name} (COBUF_PLUGIN_PATH), where there are fill-producer, index-commander; \
         give one of these, or {how}"
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn list_describes_each_file() {
    let _leaks = isolated!();
    let (first, second) = (folder(), folder());
    let good = bytes_of(&plugin("index-commander"));
    put(&first, "libindex_commander.so", &good);
    put(&first, "old.so", &with_api_version(&good, "0.0.1"));
    put(&second, "cut.so", &good[..good.len() - 100]);
    let other_kind = with_section(&good, ".cobuf.manifest", |manifest| manifest[16] = 77);
    put(&second, "libother_kind.so", &other_kind);
    // No plugins: other files, folders, other libraries.
    put(&first, "notes.txt", b"index-commander");
    put(&first, "text.so", b"INPUT ( libplugin.so.1 )\n");
    put(&first, "index-commander", &good);
    fs::create_dir(first.path().join("folder.so")).unwrap();

    let listed = list(&[first.path(), second.path()]);
    let of = |plugin: &Value| -> (String, bool, bool) {
        let file = Path::new(plugin["path"].as_str().unwrap()).file_name().unwrap();
        let flag = |name: &str| plugin[name].as_bool().unwrap();
        (file.to_str().unwrap().to_owned(), flag("loads"), flag("shadowed"))
    };
    let expected = [
        ("libindex_commander.so", true, false),
        ("old.so", false, true),
        ("libother_kind.so", false, false),
        ("cut.so", false, true),
    ];
    let expected = expected.map(|(file, loads, shadowed)| (file.to_owned(), loads, shadowed));
    assert_eq!(listed.iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["kind"], &listed[0]["version"], &listed[0]["refusal"]),
        (&"index-commander".into(), &"commander".into(), &"0.1.0".into(), &Value::Null)
    );
    assert_eq!(listed[1]["api_version"], "0.0.1");
    assert_eq!(listed[2]["name"], "other-kind");
    for (plugin, reason) in
        listed[1..].iter().zip(["was built with cobuf-plugin-api 0.0.1", "kind of plugin", "truncated"])
    {
        assert!(plugin["refusal"].as_str().unwrap().contains(reason), "{plugin}");
    }

    let table = succeed(with_path(text(first.path())).arg("list"));
    let lines: Vec<&str> = table.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[0]), ["NAME", "KIND", "VERSION", "PLUGIN-API", "LOADS", "PATH"]);
    assert_eq!(words(lines[1])[..5], ["index-commander", "commander", "0.1.0", "0.1.0", "yes"]);
    assert_eq!(words(lines[2])[..5], ["index-commander", "commander", "0.1.0", "0.0.1", "no"]);
    assert!(lines[3].starts_with("    the plugin ") && lines[3].contains("rebuild it"), "{table}");
    assert!(lines[4].starts_with("    shadowed: by its name, ") && lines.len() == 5, "{table}");
}

#[test]
fn list_reads_manifests_only() {
    let _leaks = isolated!();
    let folder = folder();
    let good = bytes_of(&plugin("index-commander"));
    put(&folder, "codeless.so", &with_section(&good, ".text", |code| code.fill(0)));
    let found = find_plugins(&[folder.path().to_owned()]).unwrap();
    assert!(matches!(&found[..], [found] if found.name == "index-commander" && found.refusal.is_none()));
}

#[test]
fn unreadable_folder_is_reported() {
    let _leaks = isolated!();
    let said = refused(with_path("").arg("list"));
    assert!(said.contains("there is nowhere to look for plugins: COBUF_PLUGIN_PATH is not set"), "{said}");
    let said = refused(with_path("").args(["list", "/nowhere"]));
    assert!(said.starts_with("error: cannot look for plugins in /nowhere: No such file"), "{said}");
    assert_eq!(succeed(with_path("/nowhere").arg("list")), "no plugins\n");
}
