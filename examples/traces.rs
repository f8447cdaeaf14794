//! Five runs that are slow, each for another reason, and their traces. The pictures in the host
//! guide's page on traces are drawn from them, by `host/guide/pictures/draw.py`.
//!
//! `cargo run --release --example traces -- FOLDER`

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use cobuf_host::{Dictionary, Host, HostBuilder, Plugin, Value};

const BATCHES: u64 = 60;
/// What a part takes for a batch if it is fast, and if it is slow; in seconds.
const FAST: f64 = 0.004;
const SLOW: f64 = 0.02;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("name a folder for the traces: cargo run --example traces -- FOLDER")?;
    let trace = |name: &str| folder.join(name).with_extension("json");
    let even = |seconds: f64| (0..BATCHES).map(move |_| message(seconds));
    run(run_of(even(SLOW), 0.0).trace(trace("producers")), FAST)?;
    run(run_of(even(FAST), 0.0).trace(trace("consumer")), SLOW)?;
    run(run_of(even(FAST), SLOW).trace(trace("commander")), FAST)?;
    let straggler = (0..BATCHES).map(|number| message(if number == 20 { 10.0 * SLOW } else { FAST }));
    run(run_of(straggler, 0.0).trace(trace("straggler")), FAST)?;
    let dying = (0..BATCHES).map(|number| match number {
        18 | 24 => message(SLOW).with("abort", true).with("on_attempt", 1),
        30 => message(SLOW).with("abort", true),
        _ => message(2.0 * FAST),
    });
    run(run_of(dying, 0.0).max_attempts(2).trace(trace("deaths")), FAST)
}

/// A message whose batch takes so long.
fn message(seconds: f64) -> Dictionary {
    Dictionary::new().with("index", 1).with("sleep_seconds", seconds)
}

/// A run of these messages, each of which takes the commander so long.
fn run_of(messages: impl Iterator<Item = Dictionary>, commander_seconds: f64) -> HostBuilder {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let messages: Vec<Value> = messages.map(Value::from).collect();
    let array = Dictionary::new().with("name", "x").with("dtype", "u8").with("shape", vec![Value::from(16)]);
    Host::builder()
        .commander(Plugin::package(plugins.join("list-commander")))
        .commander_config(
            Dictionary::new().with("messages", messages).with("sleep_seconds", commander_seconds),
        )
        .producer(Plugin::package(plugins.join("fill-producer")))
        .producer_config(Dictionary::new().with("arrays", vec![Value::from(array)]))
        .workers(3)
        .slots(8)
}

/// Takes all batches, and needs so long for each.
fn run(builder: HostBuilder, seconds: f64) -> anyhow::Result<()> {
    let host = builder.start()?;
    for batch in host.batches() {
        match batch {
            Ok(_batch) => sleep(Duration::from_secs_f64(seconds)),
            Err(error) => println!("{error}"),
        }
    }
    host.stop();
    let trace = host.written_trace().context("a trace was asked for")??;
    println!("{} batches, limited by {}", trace.batches, host.statistics().limited_by());
    Ok(())
}
