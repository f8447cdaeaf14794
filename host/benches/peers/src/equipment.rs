//! The equipment of the works, made anew for each run and the same on every machine: times to sleep, photos, slides,
//! cobuf's plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
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
        let plugins =
            names.into_iter().map(|name| Ok((name.to_owned(), built(name)?))).collect::<Result<_>>()?;
        Ok(Self { times, photos, photo_bytes, slides, tile_bytes, plugins, _folder: folder })
    }
}

fn built(name: &str) -> Result<PathBuf> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins");
    let plugin = Plugin::package(plugins.join(name)).built()?;
    plugin.path().canonicalize().with_context(|| format!("the built plugin {name} is not there"))
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
