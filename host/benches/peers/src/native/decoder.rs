//! The ceiling of images: `image-producer` in a plain loop, by a process on each core.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cobuf_host::conformance::Examination;
use cobuf_host::{Dictionary, Value};

use super::{Native, cobuf, version};
use crate::equipment::can_build_turbo;
use crate::protocol::{Answer, Probe, Request, Variant};
use crate::work::{PHOTOS_A_BATCH, Work};

pub(super) const PEER: Native = Native { name: "plain loop", probe, measure };

const CONDITIONS: &str = "A ceiling. `image-producer` itself, called in a loop by a process on each core, into one buffer \
    that is used again. Nothing is handed over.";

fn probe() -> Probe {
    let works = || [(Work::Images, vec![String::new()])].into();
    let names = ["", cobuf::TURBO].into_iter().take(if can_build_turbo() { 2 } else { 1 });
    Probe {
        versions: version("cobuf-host"),
        conditions: CONDITIONS.to_owned(),
        variants: names.map(|name| Variant { name: name.to_owned(), works: works() }).collect(),
    }
}

fn measure(request: &Request) -> Result<Answer> {
    let examination = Examination::of(cobuf::plugin(request, cobuf::image_producer(request))?)
        .config(cobuf::image_producer_config())
        .messages(messages(&request.photos)?);
    let batches = examination.plain_loop(request.workers, Duration::from_secs_f64(request.seconds))?;
    Ok(Answer { value: batches * PHOTOS_A_BATCH as f64 })
}

/// The messages of all batches, as image-commander gives them.
fn messages(photos: &Path) -> Result<Vec<Dictionary>> {
    let mut paths = Vec::new();
    for class in photos.read_dir().context("cannot read the photos' folder")? {
        for photo in class?.path().read_dir()? {
            let path = photo?.path();
            paths.push(path.to_str().context("a photo's path is not UTF-8")?.to_owned());
        }
    }
    ensure!(!paths.is_empty(), "there are no photos in {}", photos.display());
    paths.sort();
    let message = |paths: &[String]| {
        let labels: Vec<Value> = paths.iter().map(|_| 0.into()).collect();
        let paths: Vec<Value> = paths.iter().map(|path| path.as_str().into()).collect();
        Dictionary::new().with("paths", paths).with("labels", labels)
    };
    Ok(paths.chunks(PHOTOS_A_BATCH).map(message).collect())
}
