//! Real work: photographs to crops, beside the same producer with nothing around it.

use std::time::Duration;

use anyhow::{Context, Result};
use cobuf_host::conformance::Examination;
use cobuf_host::{Dictionary, Host, Value};

use crate::case::Case;
use crate::consumer::Consumer;
use crate::pictures::Pictures;
use crate::plugins::Plugins;
use cobuf::measure::cores;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "images",
    title: "a folder of JPEG files of 500 x 375, decoded and cropped to (64, 224, 224, 3); a worker a core",
    plugins: &["image-producer", "image-commander"],
    measure,
};

const BATCH_SIZE: usize = 64;
/// Two batches.
const FILES: usize = 2 * BATCH_SIZE;
const SIDE: usize = 224;
/// Fewer than the default, so that each slot is soon written to once: a process is slow the first
/// time.
const SLOTS_A_WORKER: usize = 2;

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let pictures = Pictures::make(FILES)?;
    let [host, plain] = plan.samples([true, false], |hosted, window| {
        let rate =
            if hosted { by_host(plugins, &pictures, window)? } else { by_loop(plugins, &pictures, window)? };
        Ok(rate * BATCH_SIZE as f64)
    })?;
    let figure = Figure::new("decoded and cropped", "images/s", host)
        .beside("the producer in a plain loop on each core", plain);
    Ok(vec![figure.ratio_should_be(Bound::AtLeast(0.97))])
}

fn producer_config() -> Dictionary {
    Dictionary::new().with("batch_size", BATCH_SIZE).with("height", SIDE).with("width", SIDE)
}

/// Batches a second.
fn by_host(plugins: &Plugins, pictures: &Pictures, window: Duration) -> Result<f64> {
    let folder = pictures.folder().to_str().context("the temporary folder's name is not valid UTF-8")?;
    let config =
        Dictionary::new().with("folder", folder).with("batch_size", BATCH_SIZE).with("shuffle", false);
    let builder = Host::builder()
        .commander(plugins.get("image-commander"))
        .commander_config(config)
        .producer(plugins.get("image-producer"))
        .producer_config(producer_config())
        .workers(cores())
        .slots(SLOTS_A_WORKER * cores());
    Ok(Consumer::warm(builder)?.take_for(window, cores(), |_| ())?.batches_a_second())
}

fn by_loop(plugins: &Plugins, pictures: &Pictures, window: Duration) -> Result<f64> {
    let messages = pictures.paths().chunks(BATCH_SIZE).map(|paths| {
        let labels: Vec<Value> = paths.iter().map(|_| 0.into()).collect();
        let paths: Vec<Value> = paths.iter().map(|path| path.as_str().into()).collect();
        Dictionary::new().with("paths", paths).with("labels", labels)
    });
    let examination =
        Examination::of(plugins.get("image-producer")).config(producer_config()).messages(messages);
    Ok(examination.plain_loop(cores(), window)?)
}
