//! Plugins whose manifest says that this host cannot run them.

use crate::common::packages::{OtherApi, Package, documented};
use crate::common::refusals::{assert_says, bytes_of, file_of, folder, refusal_of, said, start_error, text};
use crate::common::{host, isolated, plugin};
use cobuf_host::{PluginError, PluginKind, StartError};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};
use std::fs;
use std::path::PathBuf;

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

// Where the fields of a manifest are; this layout is frozen.
const FORMAT: usize = 8;
const KIND: usize = 16;
const API_VERSION: usize = 152;
const CPU_FEATURES: usize = 344;

/// A copy of the plugin with other bytes at this place of its manifest.
fn with_manifest(at: usize, replacement: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    let start = section(&bytes, ".cobuf.manifest").start + at;
    bytes[start..start + replacement.len()].copy_from_slice(replacement);
    bytes
}

#[test]
fn plugin_of_the_other_kind_is_refused() {
    let _leaks = isolated!();
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
fn unreadable_manifest_is_refused() {
    let _leaks = isolated!();
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
fn plugin_of_another_plugin_api_is_refused() {
    let _leaks = isolated!();
    let folder = folder();
    let built = file_of(&folder, "newer.so", &with_manifest(API_VERSION, b"0.2.0"));
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
fn other_layout_of_the_boundary_is_explained_in_short() {
    let _leaks = isolated!();
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
            "extern \"C\" fn producer_query<",
            "extern \"C\" fn more(_: u32) {}\n\nextern \"C\" fn producer_query<",
        ),
    ];
    let changed = Package {
        api: Some(OtherApi { name: "other-layout", sources: "plugin-api", version: "0.1.0", edits: &edits }),
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
fn plugin_that_aborts_on_panic_is_refused() {
    let _leaks = isolated!();
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
fn plugin_for_a_better_cpu_is_refused() {
    let _leaks = isolated!();
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
fn manifest_is_read_without_running_the_plugin() {
    let _leaks = isolated!();
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
