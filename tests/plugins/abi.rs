//! Plugins built yesterday and tomorrow load, or are refused, as `plugin-api/ABI.md` says.

use crate::common::packages::{OtherApi, Package};
use crate::common::refusals::{bytes_of, file_of, folder, said, text, with_section};
use crate::common::{Delivered, all_items, host, isolated, next_batch, repository};
use cobuf_host::{ArraySpec, Batch, DType, Dictionary, Host, HostBuilder, Plugin, Source, StartError, Value};
use cobuf_plugin_api::manifest::API_VERSION;
use serde::Deserialize;
use std::fs;
use tempfile::TempDir;

// Where the fields of a manifest are; this layout is frozen.
const FORMAT: usize = 8;
const KIND: usize = 16;
const ABORTS: usize = 20;
const VERSION_OF_API: usize = 152;
const RUSTC: usize = 184;
/// Where an ELF file names its machine.
const ELF_MACHINE: usize = 18;

/// Works on each plugin-api since the first: what authors wrote yesterday.
const COMMANDER: &str = r#"
#![forbid(unsafe_code)]
use cobuf_plugin_api::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config { count: u64 }

#[derive(Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message { index: u64, asked: u64 }

pub struct Asked { config: Config, asked: u64 }

impl Commander for Asked {
    type Config = Config;
    type Message = Message;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        Ok(Self { config, asked: 0 })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
        self.asked += 1;
        let index = context.sequence();
        Ok((index < self.config.count).then_some(Message { index, asked: self.asked }))
    }
}

cobuf_plugin_api::export_commander!(Asked);
"#;

const PRODUCER: &str = r#"
#![forbid(unsafe_code)]
use cobuf_plugin_api::prelude::*;

#[derive(Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message { index: f32 }

pub struct Random;

impl Producer for Random {
    type Config = Dictionary;
    type Message = Message;

    fn schema(_config: &Dictionary) -> Result<Schema> {
        Ok(Schema::new([ArraySpec::new("x", DType::F32, [4])])?)
    }

    fn new(_config: Dictionary, _context: &WorkerContext) -> Result<Self> {
        Ok(Random)
    }

    fn produce(&mut self, message: Message, slot: &mut Slot<'_>, context: &mut ProduceContext<'_>) -> Result<()> {
        let mut x = slot.array::<f32, Ix1>("x")?;
        x.mapv_inplace(|_| message.index + context.rng().random::<f32>());
        Ok(())
    }
}

cobuf_plugin_api::export_producer!(Random);
"#;

/// The number of messages in a stream of these tests.
const COUNT: u64 = 8;

/// The plugin-api of yesterday, before commanders could be resumed.
const OLDER: OtherApi<'static> = OtherApi {
    name: "older",
    sources: "tests/fixtures/plugin-api-before-resume",
    version: "0.1.0",
    edits: &[],
};

/// The plugin-api of tomorrow: both kinds of plugins have an extension that today's host has never
/// heard of.
const NEWER: OtherApi<'static> = OtherApi {
    name: "newer",
    sources: "plugin-api",
    version: "0.1.99",
    edits: &[
        (
            "src/shims.rs",
            "(&raw const *lengths::<P>()).cast() } else { std::ptr::null() }\n}",
            "(&raw const *lengths::<P>()).cast() } else { warm_up(id) }\n}\n\n\
             struct WarmUp {\n    _call: extern \"C\" fn(u32) -> u32,\n}\n\n\
             fn warm_up(id: RStr<'_>) -> *const () {\n    \
             extern \"C\" fn call(rounds: u32) -> u32 {\n        rounds + 1\n    }\n    \
             const TABLE: &WarmUp = &WarmUp { _call: call };\n    \
             if id.as_str() == \"cobuf.warm-up/1\" { (&raw const *TABLE).cast() } else { std::ptr::null() }\n}",
        ),
        (
            "src/shims.rs",
            "(&raw const *resume::<C>()).cast() } else { std::ptr::null() }",
            "(&raw const *resume::<C>()).cast() } else { warm_up(id) }",
        ),
    ],
};

/// A plugin-api whose producers have axes that are at most n, and lost the extension for them.
const SHORTENED: OtherApi<'static> = OtherApi {
    name: "shortened",
    sources: "plugin-api",
    version: API_VERSION,
    edits: &[("src/abi.rs", "\"cobuf.producer.lengths/1\"", "\"cobuf.producer.lengths/0\"")],
};

/// A type at the boundary, changed without a new version.
const CHANGED: OtherApi<'static> = OtherApi {
    name: "changed",
    sources: "plugin-api",
    version: API_VERSION,
    edits: &[
        ("src/abi.rs", "    pub rows: usize,\n", "    pub rows: u32,\n"),
        ("src/shims.rs", "said.rows.unwrap_or(usize::MAX)", "said.rows.map_or(u32::MAX, |rows| rows as u32)"),
    ],
};

fn producer(name: &str, api: Option<OtherApi<'_>>) -> Plugin {
    Package { api, ..Package::new(name, PRODUCER) }.build()
}

/// A producer whose array has a length of each batch's own: the index, from 0 to 4.
fn of_any_length(name: &str, api: Option<OtherApi<'_>>) -> Plugin {
    let source = PRODUCER.replace("[4])", "[4]).at_most([0])");
    let shape = "        slot.set_shape(\"x\", [message.index as usize % 5])?;\n        let mut x";
    Package { api, ..Package::new(name, &source.replace("        let mut x", shape)) }.build()
}

fn commander(name: &str, api: Option<OtherApi<'_>>) -> Plugin {
    Package { api, ..Package::new(name, COMMANDER) }.build()
}

fn run(commander: Plugin, producer: Plugin) -> HostBuilder {
    let config = Dictionary::new().with("count", COUNT);
    host().commander(commander).commander_config(config).producer(producer).workers(1).slots(2)
}

fn delivered(builder: HostBuilder) -> Delivered {
    Delivered::of(&builder.start().expect("these plugins load").batches())
}

/// How often the commander was asked for a message up to this batch's.
fn asked(batch: &Batch) -> u64 {
    #[derive(Deserialize)]
    struct Message {
        asked: u64,
    }
    batch.message::<Message>().expect("a message of this test's commander").asked
}

/// How often the first message after a checkpoint at message 3 was asked for.
fn asked_after_resume(commander: &Plugin, producer: &Plugin) -> u64 {
    let checkpoint = {
        let host: Host = run(commander.clone(), producer.clone()).start().unwrap();
        let batches = host.batches();
        (0..3).for_each(|_| drop(next_batch(&batches)));
        host.checkpoint()
    };
    let host = run(commander.clone(), producer.clone()).source(Source::Resume(checkpoint)).start().unwrap();
    let items: Vec<Batch> = all_items(&host.batches()).take(1).map(Result::unwrap).collect();
    assert_eq!(items[0].sequence(), 3);
    asked(&items[0])
}

#[test]
fn plugins_of_yesterday_run_and_resume_without_the_extension() {
    let _leaks = isolated!();
    let today = (commander("abi-commander", None), producer("abi-producer", None));
    let older = (commander("abi-commander-older", Some(OLDER)), producer("abi-producer-older", Some(OLDER)));
    let expected = delivered(run(today.0.clone(), today.1));
    assert_eq!(expected.sequences.len() as u64, COUNT);
    assert_eq!(delivered(run(older.0.clone(), older.1.clone())), expected);
    // A commander of today says how it goes on; of yesterday's, the messages before the checkpoint
    // are asked for again.
    let skips =
        "    fn skip(&mut self, _: &mut CommanderContext, _: u64) -> Result<()> {\n        Ok(())\n    }\n";
    let source = COMMANDER.replacen("    fn new", &format!("{skips}\n    fn new"), 1);
    let skipping = Package::new("abi-commander-skipping", &source).build();
    assert_eq!(asked_after_resume(&skipping, &older.1), 1);
    assert_eq!(asked_after_resume(&older.0, &older.1), 4);
    assert_eq!(delivered(run(today.0, older.1)), expected);
}

#[test]
fn plugins_of_tomorrow_run_without_their_unknown_extensions() {
    let _leaks = isolated!();
    let expected = delivered(run(commander("abi-commander", None), producer("abi-producer", None)));
    let newer = (commander("abi-commander-newer", Some(NEWER)), producer("abi-producer-newer", Some(NEWER)));
    assert_eq!(newer.1.manifest().unwrap().api_version, "0.1.99");
    assert_eq!(delivered(run(newer.0.clone(), newer.1.clone())), expected);
    assert_eq!(asked_after_resume(&newer.0, &newer.1), 4);
}

#[test]
fn producers_of_today_and_tomorrow_set_lengths_by_the_extension() {
    let _leaks = isolated!();
    for (name, api) in [("abi-lengths", None), ("abi-lengths-newer", Some(NEWER))] {
        let host = run(commander("abi-commander", None), of_any_length(name, api)).start().unwrap();
        for batch in all_items(&host.batches()).map(Result::unwrap) {
            assert_eq!(batch.shape_at(0).unwrap(), [batch.sequence() as usize % 5]);
        }
    }
}

/// A producer that reads its arrays as a schema is read, with its own plugin-api's reader.
fn reading(api: OtherApi<'_>) -> Plugin {
    let config = "#[derive(Deserialize, JsonSchema)]\n#[serde(crate = \"cobuf_plugin_api::serde\")]\n\
                  #[schemars(crate = \"cobuf_plugin_api::schemars\")]\n\
                  pub struct Config { arrays: Vec<ArraySpec> }\n\npub struct Random;";
    let source = PRODUCER
        .replace("pub struct Random;", config)
        .replace("type Config = Dictionary;", "type Config = Config;")
        .replace("schema(_config: &Dictionary)", "schema(config: &Config)")
        .replace(
            "Schema::new([ArraySpec::new(\"x\", DType::F32, [4])])",
            "Schema::new(config.arrays.clone())",
        )
        .replace("new(_config: Dictionary,", "new(_config: Config,");
    Package { api: Some(api), ..Package::new("abi-reading-older", &source) }.build()
}

#[test]
fn reader_of_before_takes_a_schema_without_such_axes_and_refuses_one_with_them() {
    let _leaks = isolated!();
    // As today's plugins encode it: the older reader stands for an older host.
    let config = |spec: ArraySpec| {
        let arrays = serde_json::to_value([spec]).unwrap();
        Dictionary::new()
            .with("arrays", serde_json::from_value::<Vec<Dictionary>>(arrays).map(values).unwrap())
    };
    let older = reading(OLDER);
    let start = |spec: ArraySpec| {
        run(commander("abi-commander", None), older.clone()).producer_config(config(spec)).start()
    };
    let spec = || ArraySpec::new("x", DType::F32, [4]);
    assert_eq!(next_batch(&start(spec()).unwrap().batches()).shape_at(0).unwrap(), [4]);
    let refused = start(spec().at_most([0])).map(drop).unwrap_err();
    assert!(said(&refused).contains("unknown field `at_most`"), "{}", said(&refused));
}

fn values(arrays: Vec<Dictionary>) -> Vec<Value> {
    arrays.into_iter().map(Value::from).collect()
}

/// One row of the document's table: what the plugin is, and what the host does.
fn documented_rows() -> Vec<(String, String)> {
    let document = fs::read_to_string(repository().join("plugin-api/ABI.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| row.trim_matches('|').split_once('|').expect("two columns"));
    cells.map(|(plugin, host)| (plugin.trim().to_owned(), host.trim().to_owned())).collect()
}

/// What a host does that is given this producer: `loads it`, or the refusal with its causes.
fn verdict(producer: Plugin) -> String {
    match run(commander("abi-commander", None), producer).start() {
        Ok(host) => {
            drop(next_batch(&host.batches()));
            "loads it".to_owned()
        }
        Err(StartError::Plugin(refused)) => said(&refused),
        Err(other) => panic!("expected a plugin's refusal, got {other:?}"),
    }
}

/// For each row of the document's table a plugin that is so, and what is `FOUND` in it.
fn cases(folder: &TempDir) -> Vec<(&'static str, Plugin, &'static str)> {
    let good = bytes_of(&producer("abi-producer", None));
    let edited = |name: &str, at: usize, bytes: &[u8]| {
        let edit = |manifest: &mut [u8]| manifest[at..][..bytes.len()].copy_from_slice(bytes);
        file_of(folder, name, &with_section(&good, ".cobuf.manifest", edit))
    };
    let unnamed = |names: &mut [u8]| {
        let start = names.windows(6).position(|window| window == b".cobuf").expect("the section's name");
        names[start] = b'_';
    };
    let mut other_machine = good.clone();
    other_machine[ELF_MACHINE] ^= 0xff;
    // The host refuses these before it loads any code, so the manifest alone makes the difference.
    let of_version = |version: &str| {
        let field = format!("{version}\0");
        edited(&format!("{version}.so"), VERSION_OF_API, field.as_bytes())
    };
    vec![
        ("is of an older version of the series", producer("abi-producer-older", Some(OLDER)), ""),
        ("is of a newer version of the series", producer("abi-producer-newer", Some(NEWER)), ""),
        ("has an extension that the host does not know", producer("abi-producer-newer", Some(NEWER)), ""),
        (
            "was built by another version of the compiler",
            edited("compiler.so", RUSTC, b"rustc 1.2.3 (0123456 2031-01-01)\0"),
            "",
        ),
        ("is of an older series", of_version("0.0.9"), "0.0.9"),
        ("is of a newer series", of_version("0.2.0"), "0.2.0"),
        ("is of another major version", of_version("1.0.0"), "1.0.0"),
        (
            "declares axes that are at most n, and lacks the extension for them",
            of_any_length("abi-producer-shortened", Some(SHORTENED)),
            "abi-producer-shortened",
        ),
        (
            "is of the series, but a type at the boundary was changed",
            producer("abi-producer-changed", Some(CHANGED)),
            "",
        ),
        ("has a manifest of a later format", edited("format.so", FORMAT, &[2]), "2"),
        ("has a manifest of a kind that the host does not know", edited("kind.so", KIND, &[7]), "7"),
        ("has no manifest", file_of(folder, "none.so", &with_section(&good, ".shstrtab", unnamed)), ""),
        ("aborts on a panic", edited("aborts.so", ABORTS, &[1]), ""),
        ("was built for another machine", file_of(folder, "machine.so", &other_machine), ""),
    ]
}

#[test]
fn verdict_on_each_kind_of_plugin_is_the_documented_one() {
    let _leaks = isolated!();
    let folder = folder();
    let documented = documented_rows();
    let cases = cases(&folder);
    let names = |rows: &[(String, String)]| rows.iter().map(|(plugin, _)| plugin.clone()).collect::<Vec<_>>();
    assert_eq!(names(&documented), cases.iter().map(|(plugin, ..)| *plugin).collect::<Vec<_>>());
    for ((row, words), (_, plugin, found)) in documented.iter().zip(cases) {
        let path = text(plugin.path()).to_owned();
        let said = verdict(plugin);
        let words = words.replace("HOST", API_VERSION).replace("FOUND", found).replace("PATH", &path);
        match words.strip_suffix('…') {
            Some(beginning) => assert!(said.starts_with(beginning.trim_end()), "{row}: {said}"),
            None => assert_eq!(said, words, "{row}"),
        }
        if let Some((_, report)) = said.split_once("all of it: ") {
            fs::remove_file(report.trim_end_matches(')')).unwrap();
        }
    }
}
