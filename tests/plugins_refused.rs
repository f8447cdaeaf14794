//! Which files are refused as plugins, with which sentence; and which are not.

mod common;
#[path = "common/refusals.rs"]
mod refusals;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cobuf_host::ndarray::Ix2;
use cobuf_host::{Dictionary, Plugin, PluginError, PluginKind, StartError};
use common::{
    Gate, Leaks, all_items, arrays_config, host, index, list, next_batch, plugin, repository, small,
};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};
use refusals::{
    OtherApi, Package, application, assert_says, bytes_of, file_of, folder, refusal_of, run_as_application,
    said, start_error, text,
};

// Where the fields of a manifest are; this layout is frozen.
const FORMAT: usize = 8;
const KIND: usize = 16;
const CPU_FEATURES: usize = 344;

/// The bytes of a plugin that works.
fn good() -> Vec<u8> {
    bytes_of(&plugin("fill-producer"))
}

/// Where a section is in the file.
fn section(bytes: &[u8], name: &str) -> std::ops::Range<usize> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).unwrap();
    let (offset, size) = file.section_by_name(name).unwrap().file_range().unwrap();
    offset as usize..(offset + size) as usize
}

/// A copy of the plugin with other bytes at this place of its manifest.
fn with_manifest(at: usize, replacement: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    let start = section(&bytes, ".cobuf.manifest").start + at;
    bytes[start..start + replacement.len()].copy_from_slice(replacement);
    bytes
}

/// The plugin in the documentation of the trait `Producer` or `Commander`, as its reader would copy it.
fn documented(file: &str) -> String {
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

/// The reason why the file is not even a library for this machine.
#[track_caller]
fn assert_no_library(plugin: Plugin, reason: &str) {
    let refused = refusal_of(plugin.clone());
    assert!(matches!(&refused, PluginError::Elf { path, .. } if path == plugin.path()), "{refused:?}");
    assert_says(&refused, &[&format!("the plugin {} cannot be used: ", text(plugin.path())), reason]);
}

#[test]
fn is_a_missing_plugin_named() {
    let _leaks = Leaks::watch();
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
fn is_a_file_without_an_end_refused() {
    let _leaks = Leaks::watch();
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
fn is_a_missing_cargo_told_with_what_helps() {
    let _leaks = Leaks::watch();
    let manifest = format!("{PACKAGE}{CDYLIB}");
    let package = package(&[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    if let Some(package) = application() {
        println!("{}", Plugin::package(package).manifest().unwrap_err());
        return;
    }
    let told = run_as_application(
        "is_a_missing_cargo_told_with_what_helps",
        text(package.path()),
        &[("CARGO", "/nowhere/cargo")],
    );
    let said = String::from_utf8_lossy(&told.stdout);
    let reason =
        "cannot run cargo (No such file or directory (os error 2)); install Rust, or give a built .so file";
    assert!(said.contains(text(package.path())) && said.contains(reason), "{said}");
}

#[test]
fn is_a_folder_without_a_package_named() {
    let _leaks = Leaks::watch();
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
fn does_a_package_that_does_not_compile_show_the_compiler_s_error() {
    let _leaks = Leaks::watch();
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
fn does_a_manifest_that_cargo_refuses_show_cargo_s_error() {
    let _leaks = Leaks::watch();
    let reason = build_failure(&package(&[("Cargo.toml", "[package\n"), ("src/lib.rs", "")]));
    assert!(reason.starts_with("cargo build failed, ") && reason.contains("/Cargo.toml:1:9"), "{reason}");
    let reason = build_failure(&package(&[("Cargo.toml", PACKAGE), ("src/main.rs", "fn main() {}")]));
    assert!(reason.contains("no library targets found in package `refused-package`"), "{reason}");
}

#[test]
fn is_a_package_without_a_cdylib_told_what_to_add() {
    let _leaks = Leaks::watch();
    let reason = build_failure(&package(&[("Cargo.toml", PACKAGE), ("src/lib.rs", "")]));
    assert_eq!(reason, "it has no cdylib; put `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml");
}

#[test]
fn is_a_package_without_the_export_macro_told_what_to_add() {
    let _leaks = Leaks::watch();
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
fn is_a_file_that_is_no_library_told_apart() {
    let _leaks = Leaks::watch();
    let folder = folder();
    assert_no_library(file_of(&folder, "empty.so", b""), "it is empty; build or copy it again");
    let text = file_of(&folder, "text.so", b"INPUT ( libplugin.so.1 )\n");
    assert_no_library(text, "it is not an ELF file, expected a shared library (.so)");
    let source = Plugin::file(repository().join("plugins/fill-producer/src/lib.rs"));
    assert_no_library(source, "it is not an ELF file, expected a shared library (.so)");
}

#[test]
fn is_an_executable_told_apart_from_a_library() {
    let _leaks = Leaks::watch();
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
fn is_a_library_that_is_no_plugin_told_apart() {
    let _leaks = Leaks::watch();
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
fn is_a_truncated_plugin_refused_at_every_length() {
    let _leaks = Leaks::watch();
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
fn is_a_plugin_for_another_machine_told_apart() {
    let _leaks = Leaks::watch();
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

/// How long a damaged plugin may hang: a whole one that takes longer, on a slow machine, changes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What only the loader can see ends the process that loads, never the host.
#[test]
fn does_no_damage_bring_the_host_down() {
    let _leaks = Leaks::watch();
    let (folder, whole) = (folder(), good());
    let program_headers = 64..64 + 56 * 6;
    let mut loaded = 0;
    for at in (0..64).chain(program_headers.step_by(4)) {
        let mut bytes = whole.clone();
        bytes[at] = !bytes[at];
        let damaged = file_of(&folder, "damaged.so", &bytes);
        if damaged.manifest().is_err() {
            continue;
        }
        loaded += 1;
        let builder = host().commander(plugin("list-commander")).commander_config(list([]));
        let builder = builder.producer(damaged).producer_config(arrays_config(&small())).workers(1);
        match builder.start_timeout(PATIENCE).start() {
            Ok(_) => {}
            Err(StartError::Plugin(PluginError::Load { .. } | PluginError::Died { .. })) => {}
            // A lock in memory that the loader should have zeroed.
            Err(StartError::Timeout { .. }) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(loaded > 10, "{loaded}");
}

#[test]
fn is_a_plugin_of_the_other_kind_refused() {
    let _leaks = Leaks::watch();
    let (commander, producer) = (plugin("list-commander"), plugin("fill-producer"));
    let refused = refusal_of(commander.clone());
    let expected = |error: &PluginError, wanted, is| matches!(error, PluginError::Kind { expected, found, .. } if (*expected, *found) == (wanted, is));
    assert!(expected(&refused, PluginKind::Producer, PluginKind::Commander), "{refused:?}");
    let path = text(commander.path());
    assert_says(
        &refused,
        &[&format!("the plugin {path} is a commander, expected a producer; swap the two paths")],
    );

    let StartError::Plugin(refused) = start_error(host().commander(producer.clone()).producer(commander))
    else {
        panic!("the commander is refused as a plugin")
    };
    assert!(expected(&refused, PluginKind::Commander, PluginKind::Producer), "{refused:?}");
    let path = text(producer.path());
    assert_says(
        &refused,
        &[&format!("the plugin {path} is a producer, expected a commander; swap the two paths")],
    );
}

#[test]
fn is_a_manifest_that_this_host_cannot_read_refused() {
    let _leaks = Leaks::watch();
    let folder = folder();
    let refused_manifest = |bytes: Vec<u8>, reason: &str| {
        let plugin = file_of(&folder, "strange.so", &bytes);
        let refused = refusal_of(plugin.clone());
        assert!(matches!(refused, PluginError::Manifest { .. }), "{refused:?}");
        assert_says(
            &refused,
            &[
                text(plugin.path()),
                "is no plugin for this host",
                reason,
                "rebuild it with cobuf-plugin-api 0.1.0",
            ],
        );
    };
    refused_manifest(
        with_manifest(FORMAT, &2u32.to_le_bytes()),
        "its manifest has format 2, this host reads format 1",
    );
    refused_manifest(
        with_manifest(KIND, &7u32.to_le_bytes()),
        "its manifest names a kind of plugin that this host does not know (7)",
    );
    refused_manifest(with_manifest(0, b"\0\0\0\0"), "its section .cobuf.manifest is no manifest");
}

#[test]
fn is_a_plugin_of_another_plugin_api_refused() {
    let _leaks = Leaks::watch();
    let source = documented("producer.rs");
    let newer = Package {
        api: Some(OtherApi { sources: "plugin-api", version: "0.2.0", edits: &[] }),
        ..Package::new("newer-api-producer", &source)
    };
    let built = newer.build();
    let refused = refusal_of(built.clone());
    assert!(
        matches!(&refused, PluginError::ApiVersion { expected: "0.1.0", found, .. } if found == "0.2.0"),
        "{refused:?}"
    );
    assert_eq!(
        said(&refused),
        format!(
            "the plugin {} was built with cobuf-plugin-api 0.2.0, this host speaks 0.1.0; \
             rebuild it with cobuf-plugin-api 0.1.0",
            text(built.path())
        )
    );
}

/// Nothing in the manifest tells: what crosses the boundary has been changed without a new version.
#[test]
fn is_a_plugin_with_another_layout_of_the_boundary_explained_in_short() {
    let _leaks = Leaks::watch();
    let source = documented("producer.rs");
    let edits = [
        (
            "src/abi.rs",
            "    /// A pointer to the extension called `id`, or null.\n    #[sabi(last_prefix_field)]",
            "    /// Another field.\n    pub more: extern \"C\" fn(u32),\n    /// As before.\n    #[sabi(last_prefix_field)]",
        ),
        (
            "src/shims.rs",
            "        close: close::<ProducerInstance<P>>,\n",
            "        close: close::<ProducerInstance<P>>,\n        more,\n",
        ),
        (
            "src/shims.rs",
            "extern \"C\" fn producer_query(",
            "extern \"C\" fn more(_: u32) {}\n\nextern \"C\" fn producer_query(",
        ),
    ];
    let changed = Package {
        api: Some(OtherApi { sources: "plugin-api", version: "0.1.0", edits: &edits }),
        ..Package::new("other-layout-producer", &source)
    };
    let built = changed.build();
    let refused = refusal_of(built.clone());
    let PluginError::Load { path, reason } = &refused else { panic!("{refused:?}") };
    assert_eq!(path, built.path());
    assert_says(
        &refused,
        &[
            "plugin and host disagree on the layout of a type",
            "rebuild both with one toolchain and one version of cobuf-plugin-api",
            "unexpected field; expected field_name:query type:AFunctionPointer, found field_name:more",
        ],
    );
    assert!(reason.lines().count() == 1 && reason.len() < 1000, "{reason}");
    // All of what abi_stable says is in a file, which is the user's now.
    let report = PathBuf::from(reason.rsplit_once("all of it: ").unwrap().1.trim_end_matches(')'));
    assert!(fs::read_to_string(&report).unwrap().lines().count() > 20);
    fs::remove_file(report).unwrap();
}

#[test]
fn is_a_plugin_that_aborts_on_panic_refused() {
    let _leaks = Leaks::watch();
    let source = documented("producer.rs");
    let arguments = ["-C", "panic=abort"];
    let aborting = Package { rustc_arguments: &arguments, ..Package::new("aborting-producer", &source) };
    let built = aborting.build();
    let refused = refusal_of(built.clone());
    assert!(matches!(refused, PluginError::Aborts { .. }), "{refused:?}");
    assert_says(&refused, &[text(built.path()), "panic = \"abort\"", "rebuild it with panic = \"unwind\""]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn is_a_plugin_for_a_better_cpu_refused() {
    let _leaks = Leaks::watch();
    // No CPU has all of these: the first is AMD's, the last are Intel's.
    let known = [
        ("sse4a", std::arch::is_x86_feature_detected!("sse4a")),
        ("avx512fp16", std::arch::is_x86_feature_detected!("avx512fp16")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    let (missing, _) = known.into_iter().find(|(_, there)| !there).unwrap();
    let folder = folder();
    let features = format!("fxsr,sse,sse2,{missing}");
    let plugin = file_of(&folder, "better.so", &with_manifest(CPU_FEATURES, features.as_bytes()));
    let refused = refusal_of(plugin.clone());
    assert!(
        matches!(&refused, PluginError::CpuFeatures { missing: named, .. } if named == missing),
        "{refused:?}"
    );
    assert_says(
        &refused,
        &[
            text(plugin.path()),
            &format!("was built for a CPU with {missing}, which this machine does not have"),
            "rebuild it without target-cpu=native, or on this machine",
        ],
    );
    // It is the missing one that is refused, not the patched file.
    file_of(&folder, "plain.so", &with_manifest(CPU_FEATURES, b"fxsr,sse,sse2,unknown-feature"))
        .manifest()
        .unwrap();
}

#[test]
fn is_a_manifest_read_without_running_the_plugin() {
    let _leaks = Leaks::watch();
    let folder = folder();
    let mut bytes = good();
    let code = section(&bytes, ".text");
    let trap = if cfg!(target_arch = "x86_64") { 0xcc } else { 0 };
    bytes[code].fill(trap);
    let deadly = file_of(&folder, "deadly.so", &bytes);
    let manifest = deadly.manifest().unwrap();
    assert_eq!((manifest.name.as_str(), manifest.kind), ("fill-producer", PluginKind::Producer));
    assert_eq!((manifest.version.as_str(), manifest.api_version.as_str()), ("0.1.0", "0.1.0"));
    assert!(manifest.rustc.starts_with("rustc 1.") && manifest.target.contains("linux"), "{manifest:?}");

    // Its first instruction is deadly indeed: for a process of its own, not for this one.
    let refused = refusal_of(deadly);
    assert!(matches!(&refused, PluginError::Died { how, .. } if how.starts_with("signal ")), "{refused:?}");
    assert_says(&refused, &["the producer fill-producer ended its process while it was set up: signal "]);
}

#[test]
fn does_a_stripped_plugin_work_as_before() {
    let _leaks = Leaks::watch();
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
fn does_a_running_host_keep_the_code_that_it_started_with() {
    let _leaks = Leaks::watch();
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

#[test]
fn do_the_documented_plugins_work_with_one_dependency_and_no_unsafe_code() {
    let _leaks = Leaks::watch();
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
