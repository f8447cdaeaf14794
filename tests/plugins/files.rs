//! Files that are refused as plugins, and files that are replaced or stripped.

use crate::common::refusals::{assert_says, bytes_of, file_of, folder, refusal_of, start_error, text};
use crate::common::{
    Gate, all_items, arrays_config, host, index, isolated, list, next_batch, plugin, repository, small,
};
use cobuf_host::{Plugin, PluginError, StartError};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The bytes of a plugin that works.
fn good() -> Vec<u8> {
    bytes_of(&plugin("fill-producer"))
}

/// The reason why the file is not even a library for this machine.
#[track_caller]
fn assert_no_library(plugin: Plugin, reason: &str) {
    let refused = refusal_of(plugin.clone());
    assert!(matches!(&refused, PluginError::Elf { path, .. } if path == plugin.path()), "{refused:?}");
    assert_says(&refused, &[&format!("the plugin {} cannot be used: ", text(plugin.path())), reason]);
}

#[test]
fn missing_plugin_is_named() {
    let _leaks = isolated!();
    let folder = folder();
    let path = folder.path().join("libnowhere.so");
    let refused = refusal_of(Plugin::at(&path));
    assert!(matches!(&refused, PluginError::Read { path: named, .. } if *named == path), "{refused:?}");
    assert_says(
        &refused,
        &[text(&path), "give the path of a .so file, or of a cargo package's folder", "No such file"],
    );

    // As a commander, and without a host.
    let refused = start_error(host().commander(Plugin::file(&path)).producer(plugin("fill-producer")));
    assert!(matches!(refused, StartError::Plugin(PluginError::Read { .. })), "{refused:?}");
    assert!(matches!(Plugin::file(&path).manifest(), Err(PluginError::Read { .. })));

    // A folder that was said to be a file.
    let refused = refusal_of(Plugin::file(folder.path()));
    assert_says(&refused, &["cannot read the plugin", text(folder.path()), "Is a directory"]);
}

#[test]
fn endless_file_is_refused() {
    let _leaks = isolated!();
    let folder = folder();
    let pipe = folder.path().join("pipe.so");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe, PathBuf::from("/dev/zero")] {
        let refused = refusal_of(Plugin::file(&path));
        assert!(matches!(refused, PluginError::Read { .. }), "{refused:?}");
        assert_says(&refused, &["cannot read the plugin", text(&path), "it is not a regular file"]);
    }
}

#[test]
fn file_that_is_no_library_is_told_apart() {
    let _leaks = isolated!();
    let folder = folder();
    assert_no_library(file_of(&folder, "empty.so", b""), "it is empty; build or copy it again");
    let text = file_of(&folder, "text.so", b"INPUT ( libplugin.so.1 )\n");
    assert_no_library(text, "it is not an ELF file, expected a shared library (.so)");
    let source = Plugin::file(repository().join("plugins/fill-producer/src/lib.rs"));
    assert_no_library(source, "it is not an ELF file, expected a shared library (.so)");
}

#[test]
fn executable_is_told_apart_from_a_library() {
    let _leaks = isolated!();
    let folder = folder();
    let executable = fs::read("/proc/self/exe").unwrap();
    assert_no_library(
        file_of(&folder, "test", &executable),
        "it is an executable or an object file, not a shared library; build it with crate-type",
    );
    // An executable of the old kind, which is not position-independent.
    let mut fixed = good();
    fixed[16..18].copy_from_slice(&2u16.to_le_bytes());
    assert_no_library(
        file_of(&folder, "fixed", &fixed),
        "it is an executable or an object file, not a shared library",
    );
}

#[test]
fn library_that_is_no_plugin_is_told_apart() {
    let _leaks = isolated!();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().last());
    let libc = paths.into_iter().find(|path| path.contains("/libc.so") || path.contains("/libc-")).unwrap();
    assert_no_library(
        Plugin::file(libc),
        "it is a shared library but no cobuf plugin; \
         end its crate with cobuf_plugin_api::export_producer! or export_commander!",
    );
}

#[test]
fn truncated_plugin_is_refused_at_every_length() {
    let _leaks = isolated!();
    let (folder, whole) = (folder(), good());
    let headers = 64 + 56 * 8;
    let lengths = [1, 3, 4, 15, 16, 17, 63, 64, 65, 100, headers, 1000, 4095, 4096];
    let shares = (1..16).map(|sixteenth| whole.len() * sixteenth / 16);
    for length in
        lengths.into_iter().chain(shares).chain([whole.len() - 65, whole.len() - 64, whole.len() - 1])
    {
        let cut = file_of(&folder, "cut.so", &whole[..length]);
        let refused = refusal_of(cut.clone());
        let PluginError::Elf { reason, .. } = &refused else { panic!("{length}: {refused:?}") };
        assert_says(&refused, &[text(cut.path()), "cannot be used"]);
        let expected = if length < 16 { "not an ELF file" } else { "truncated" };
        assert!(reason.contains(expected), "{length}: {reason}");
        let told = length < 64 || reason.contains("build or copy it again");
        assert!(told, "{length}: {reason}");
    }
    // The cuts are what is refused, not the folder, nor the name.
    file_of(&folder, "cut.so", &whole).manifest().unwrap();
}

#[test]
fn plugin_for_another_machine_is_told_apart() {
    let _leaks = isolated!();
    let folder = folder();
    let with = |at: usize, replacement: &[u8]| {
        let mut bytes = good();
        bytes[at..at + replacement.len()].copy_from_slice(replacement);
        file_of(&folder, "other.so", &bytes)
    };
    let other_machine: u16 = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    assert_no_library(
        with(18, &other_machine.to_le_bytes()),
        &format!("it was built for another machine (ELF machine {other_machine}, this is "),
    );
    assert_no_library(with(4, &[1]), "Elf32, expected a 64-bit ELF shared library (.so)");
    assert_no_library(with(5, &[2]), "it was built for a machine with another byte order");
}

#[test]
fn stripped_plugin_works() {
    let _leaks = isolated!();
    let folder = folder();
    let stripped = file_of(&folder, "stripped.so", &good());
    let status = Command::new("strip").arg(stripped.path()).status().expect("strip comes with the linker");
    assert!(status.success());
    assert!(bytes_of(&stripped).len() < good().len());
    assert_eq!(stripped.manifest().unwrap(), plugin("fill-producer").manifest().unwrap());
    let host = host()
        .commander(plugin("list-commander"))
        .commander_config(list([index(7)]))
        .producer(stripped)
        .producer_config(arrays_config(&small()))
        .workers(1)
        .start()
        .unwrap();
    assert_eq!(next_batch(&host.batches()).array::<u32, cobuf_host::ndarray::Ix1>("x").unwrap()[3], 7);
}

#[test]
fn running_host_keeps_its_code() {
    let _leaks = isolated!();
    let (folder, gate) = (folder(), Gate::new());
    let copies =
        ["fill-producer", "list-commander"].map(|name| file_of(&folder, name, &bytes_of(&plugin(name))));
    let [producer, commander] = &copies;
    let dies = index(1).with("until_file", gate.path()).with("exit", 7).with("on_attempt", 1);
    let host = host()
        .commander(commander.clone())
        .commander_config(list([index(0), dies, index(2)]))
        .producer(producer.clone())
        .producer_config(arrays_config(&small()))
        .workers(1)
        .start()
        .unwrap();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    // In place, as `cp` does, and then away.
    for copy in &copies {
        fs::write(copy.path(), "overwritten").unwrap();
    }
    fs::remove_file(commander.path()).unwrap();
    gate.open();
    let rest: Vec<(u64, u32)> = all_items(&batches)
        .map(|item| item.unwrap())
        .map(|batch| (batch.sequence(), batch.retries()))
        .collect();
    assert_eq!(rest, [(1, 1), (2, 0)]);
    assert_eq!(host.statistics().worker_restarts, 1);
    // A new host sees what is there now.
    assert_no_library(producer.clone(), "it is not an ELF file");
}
