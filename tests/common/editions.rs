//! Runs whose producer can be swapped: builds of `edition_producer.rs`, and what their batches must
//! be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cobuf_host::ndarray::Ix1;
use cobuf_host::{Batch, Commander, Dictionary, HostBuilder, Plugin};

use super::packages::Package;
use super::{Process, host, index, list, plugin};

const SOURCE: &str = include_str!("sources/edition_producer.rs");

/// A build of the producer that fills in this number.
pub(crate) fn edition(number: u64) -> Plugin {
    let (first, this) = ("const EDITION: u64 = 0;", format!("const EDITION: u64 = {number};"));
    assert!(SOURCE.contains(first));
    let (name, source) = (format!("edition-producer-{number}"), SOURCE.replacen(first, &this, 1));
    let plain = Package::new(&name, &source);
    // Small files are copied sooner; what the code does is the same.
    Package { rustc_arguments: &["-C", "strip=debuginfo"], ..plain }.build()
}

/// What is to go wrong in all editions but the first: a file that says so.
#[derive(Debug)]
pub(crate) struct Faults {
    folder: tempfile::TempDir,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self { folder: super::refusals::folder() }
    }

    pub(crate) fn set(&self, fault: &str) {
        fs::write(self.path(), fault).expect("the file can be written");
    }

    pub(crate) fn clear(&self) {
        fs::remove_file(self.path()).expect("there was a fault");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("fault")
    }

    fn config(&self) -> Dictionary {
        Dictionary::new().with("fault", super::refusals::text(&self.path()))
    }
}

/// How many messages there are, again and again.
pub(crate) const MESSAGES: u64 = 10;

/// An endless stream of the first edition.
pub(crate) fn endless(faults: &Faults) -> HostBuilder {
    given(faults, (0..MESSAGES).map(index), 0)
}

/// A stream of these messages, so many times (0: for ever), of the first edition.
pub(crate) fn given(
    faults: &Faults,
    messages: impl IntoIterator<Item = Dictionary>,
    repeat: u64,
) -> HostBuilder {
    let config = list(messages).with("repeat", repeat);
    of(plugin("list-commander"), faults).commander_config(config)
}

/// A run of the first edition with this commander.
pub(crate) fn of(commander: impl Into<Commander>, faults: &Faults) -> HostBuilder {
    let builder = host().commander(commander).producer(edition(0));
    builder.producer_config(faults.config()).workers(2).slots(8)
}

/// The numbers in a batch: of the code that filled it, of the message, and a random one.
pub(crate) fn numbers(batch: &Batch) -> [u64; 3] {
    let numbers = batch.array_at::<u64, Ix1>(0).expect("the producer has one array");
    [numbers[0], numbers[1], numbers[2]]
}

/// What came, by sequence number: the edition that the host tells, and the batch's numbers.
#[derive(Debug, Default)]
pub(crate) struct Collected(BTreeMap<u64, (u32, [u64; 3])>);

impl Collected {
    pub(crate) fn add(&mut self, batch: &Batch) {
        let before = self.0.insert(batch.sequence(), (batch.edition(), numbers(batch)));
        assert_eq!(before, None, "batch {} came twice", batch.sequence());
    }

    /// How many have come of this edition.
    pub(crate) fn of(&self, edition: u32) -> usize {
        self.0.values().filter(|(found, _)| *found == edition).count()
    }

    /// Asserts that nothing is missing but at most so many at the end, and that each edition's
    /// batches are those between its cuts, filled by the code that `code_of` names.
    pub(crate) fn assert_cut_at(&self, cuts: &[u64], missing: u64, code_of: impl Fn(u32) -> u64) {
        let (&last, count) = (self.0.keys().last().expect("something came"), self.0.len() as u64);
        assert!(last < count + missing, "{} of the first {last} are missing", last + 1 - count);
        assert!(cuts.is_sorted(), "{cuts:?}");
        for (&sequence, &(edition, [code, index, _])) in &self.0 {
            let expected = cuts.iter().filter(|&&first| first <= sequence).count() as u32;
            assert_eq!(edition, expected, "batch {sequence}, cuts {cuts:?}");
            assert_eq!((code, index), (code_of(edition), sequence % MESSAGES), "batch {sequence}");
        }
    }

    /// The random numbers by sequence number, which no swap may change.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&sequence, (_, [.., drawn]))| (sequence, *drawn))
    }
}

/// The resident memory, the open descriptors and the mappings of a process.
pub(crate) fn footprint(pid: u32) -> [usize; 3] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let kilobytes = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).expect("the process runs").count();
    [kilobytes, count("fd"), count("task")]
}

/// The plugins' copies in the folder of the run with this fork server; none if all workers are
/// just being started or ended.
pub(crate) fn copies(fork_server: u32) -> Vec<String> {
    let library = |worker: Process| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", worker.pid)).ok()?;
        let mut files = maps.lines().filter_map(|line| line.split_whitespace().last());
        files.find(|path| path.contains("/cobuf-run-")).map(PathBuf::from)
    };
    let library = Process::living_workers(fork_server).into_iter().find_map(library);
    let folder = library.as_deref().and_then(Path::parent).map(fs::read_dir);
    let entries = folder.into_iter().flat_map(|entries| entries.expect("the folder is there"));
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}
