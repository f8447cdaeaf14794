//! The equipment of the works, made anew for each run and the same on every machine: times to sleep, photos, slides,
//! cobuf's plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cobuf_host::Plugin;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::photos;
use crate::slides;
use crate::work::Work;

/// The plugins that cobuf runs here, packages in `plugins/`; and those for pictures.
const PLUGINS: [&str; 2] = ["list-commander", "fill-producer"];
const PICTURE_PLUGINS: [&str; 2] = ["image-commander", "image-producer"];
/// `image-producer` with its feature `libjpeg-turbo`.
pub(crate) const TURBO_PRODUCER: &str = "image-producer with libjpeg-turbo";
const SEED: u64 = 0;
/// How many times a producer sleeps in a measurement of [`Work::Uneven`], and how long on average.
const SLEEPS: usize = 400;
const MEAN_SLEEP_SECONDS: f64 = 0.010;

/// The equipment of the measurements. Its files are removed with it.
pub(crate) struct Equipment {
    /// A JSON list of seconds.
    pub(crate) times: PathBuf,
    /// A folder with a folder of JPEG files, if there is work for them.
    pub(crate) photos: PathBuf,
    /// The mean size of these files, in bytes; 0 if there are none.
    pub(crate) photo_bytes: u64,
    /// A folder of TIFF files, if there is work for them.
    pub(crate) slides: PathBuf,
    /// The mean size of their tiles, in bytes; 0 if there are none.
    pub(crate) tile_bytes: u64,
    /// Built files by name.
    pub(crate) plugins: BTreeMap<String, PathBuf>,
    _folder: TempDir,
}

impl Equipment {
    /// Makes what these works need; builds the plugins as this program was built.
    ///
    /// # Errors
    /// Where a file cannot be written or a plugin cannot be built.
    pub(crate) fn make(works: &[Work]) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("cobuf-peers-").tempdir().context("cannot make a folder")?;
        let times = folder.path().join("times.json");
        let text = serde_json::to_string(&exponential_times(SLEEPS, MEAN_SLEEP_SECONDS))?;
        fs::write(&times, text).with_context(|| format!("cannot write {}", times.display()))?;
        let (photos, slides) = (folder.path().join("photos"), folder.path().join("slides"));
        let (mut photo_bytes, mut tile_bytes, mut names) = (0, 0, PLUGINS.to_vec());
        if works.contains(&Work::Images) {
            photo_bytes = photos::write(&photos).context("cannot write the photos")?;
            names.extend(PICTURE_PLUGINS);
        }
        if works.contains(&Work::Slides) {
            tile_bytes = slides::write(&slides).context("cannot write the slides")?;
        }
        let mut plugins: BTreeMap<_, _> =
            names.into_iter().map(|name| Ok((name.to_owned(), built(name)?))).collect::<Result<_>>()?;
        if works.contains(&Work::Images) && can_build_turbo() {
            plugins.insert(TURBO_PRODUCER.to_owned(), built_with_turbo()?);
        }
        Ok(Self { times, photos, photo_bytes, slides, tile_bytes, plugins, _folder: folder })
    }
}

/// The folder of a plugin's package.
fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins").join(name)
}

fn built(name: &str) -> Result<PathBuf> {
    let plugin = Plugin::package(package(name)).built()?;
    plugin.path().canonicalize().with_context(|| format!("the built plugin {name} is not there"))
}

/// Whether the programs are there that build libjpeg-turbo.
pub(crate) fn can_build_turbo() -> bool {
    let is_there = |program: &str, argument: &str| {
        let quiet = || Stdio::null();
        Command::new(program).arg(argument).stdout(quiet()).stderr(quiet()).status().is_ok()
    };
    is_there("cmake", "--version") && is_there("nasm", "-v")
}

/// Builds [`TURBO_PRODUCER`], beside the one without the feature. Returns its path.
fn built_with_turbo() -> Result<PathBuf> {
    let target = package("..").join("target/libjpeg-turbo");
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "--features", "libjpeg-turbo", "--manifest-path"])
        .arg(package("image-producer").join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("cannot start cargo")?;
    ensure!(built.success(), "image-producer cannot be built with libjpeg-turbo: cargo ended with {built}");
    let file = target.join("release/libimage_producer.so");
    file.canonicalize().with_context(|| format!("{} was not built", file.display()))
}

/// Times with an exponential distribution, in seconds.
fn exponential_times(count: usize, mean: f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    (0..count).map(|_| -mean * (1.0 - rng.random::<f64>()).ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_the_times_the_same_everywhere_and_of_their_mean() {
        let times = exponential_times(10_000, 0.01);
        assert_eq!(times, exponential_times(10_000, 0.01));
        let mean = times.iter().sum::<f64>() / 10_000.0;
        assert!((0.0097..0.0103).contains(&mean), "{mean}");
        assert!(times.iter().all(|time| *time >= 0.0));
    }
}
