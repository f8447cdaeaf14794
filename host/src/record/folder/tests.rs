//! Ranks that write, die and come back, in any order, without a process.

use super::layout::{encoded, fingerprint};
use super::*;
use crate::record::identity::Identity;
use crate::record::ledger::Ledger;
use crate::record::merge::MergeError;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;

fn plus(one: u64, other: u64) -> u64 {
    one + other
}

/// A rank of a job, as an application runs it. Its state is the sum of the numbers that it delivered.
struct Runner {
    file: RankFile,
    checkpoint: Checkpoint,
    sum: u64,
}

fn rank(rank: u32, of: u32) -> Rank {
    Rank::new(rank, of).unwrap()
}

fn identity(seed: u64) -> Identity {
    serde_json::from_value(serde_json::json!({
        "seed": seed,
        "commander": { "name": "c", "version": "1", "config": {} },
        "producer": { "name": "p", "version": "1", "config": {} },
    }))
    .unwrap()
}

fn fresh(seed: u64) -> Checkpoint {
    Checkpoint::new(identity(seed), Ledger::default(), None, Vec::new())
}

impl Runner {
    /// Begins, or goes on if there is something to go on from; has not written yet.
    fn start(folder: &CheckpointFolder, of_rank: Rank) -> Result<Self, FolderError> {
        let (checkpoint, file) = match folder.resume(of_rank, plus) {
            Err(FolderError::Empty { .. }) => {
                let seat = of_rank.seat().unwrap();
                (fresh(0).part_of(seat).unwrap(), folder.begin(of_rank)?)
            }
            resumed => resumed?,
        };
        let sum = checkpoint.application_state().unwrap().unwrap_or_default();
        Ok(Self { file, checkpoint, sum })
    }

    fn write(&mut self) -> Result<(), FolderError> {
        let checkpoint = self.checkpoint.clone().with_application_state(&self.sum)?;
        self.file.write(&checkpoint)
    }

    /// Delivers its next message, if there is one below `end`, and gives its number.
    fn deliver(&mut self, end: u64) -> Option<u64> {
        let next = self.checkpoint.first_missing();
        if next >= end {
            return None;
        }
        let part = self.checkpoint.part.as_mut().unwrap();
        let ordinal = part.done.next_missing(0);
        part.done.add(ordinal, ordinal + 1);
        self.sum += next;
        Some(next)
    }
}

/// A rank of a generation: how much it delivers before it dies, whether it writes a part at all, and
/// how many of the last deliveries are in no part.
#[derive(Debug, Clone)]
struct Life {
    comes: bool,
    delivers: u64,
    unwritten: u64,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (prop::bool::weighted(0.8), 0u64..9, 0u64..3).prop_map(|(comes, delivers, unwritten)| Life {
        comes,
        delivers,
        unwritten,
    });
    prop::collection::vec(life, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each generation has other ranks; some die before their first part, or never come.
    #[test]
    fn whatever_dies_each_message_is_delivered_once(generations in prop::collection::vec(lives(), 1..6)) {
        let (end, place) = (60, tempfile::tempdir().unwrap());
        let folder = CheckpointFolder::new(place.path().join("ckpt"));
        let mut delivered = BTreeSet::new();
        for lives in generations {
            let of = lives.len() as u32;
            let mut runners: Vec<(Runner, Life)> = Vec::new();
            for (at, life) in lives.into_iter().enumerate().filter(|(_, life)| life.comes) {
                let mut runner = Runner::start(&folder, rank(at as u32, of)).unwrap();
                runner.write().unwrap();
                // Those before it have gone on meanwhile.
                for (runner, life) in &mut runners {
                    if life.delivers > 0 {
                        life.delivers -= 1;
                        let number = runner.deliver(end);
                        runner.write().unwrap();
                        number.into_iter().for_each(|number| assert!(delivered.insert(number), "{number} came twice"));
                    }
                }
                runners.push((runner, life));
            }
            for (mut runner, life) in runners {
                for _ in 0..life.delivers {
                    let number = runner.deliver(end);
                    number.into_iter().for_each(|number| assert!(delivered.insert(number), "{number} came twice"));
                }
                runner.write().unwrap();
                // These are delivered again.
                for _ in 0..life.unwritten {
 runner.deliver(end);
 }
            }
        }
        let (checkpoint, mut file) = match folder.resume(rank(0, 1), plus) {
            Err(FolderError::Empty { .. }) => (fresh(0).part_of(Seat::default()).unwrap(), folder.begin(rank(0, 1)).unwrap()),
            resumed => resumed.unwrap(),
        };
        let sum = checkpoint.application_state().unwrap().unwrap_or_default();
        let mut alone = Runner { file: { file.write(&checkpoint).unwrap(); file }, checkpoint, sum };
        while let Some(number) = alone.deliver(end) {
            assert!(delivered.insert(number), "{number} came twice");
        }
        alone.write().unwrap();
        prop_assert!(delivered.into_iter().eq(0..end));
        let merged = folder.merged(plus).unwrap();
        prop_assert_eq!(merged.first_missing(), end);
        prop_assert_eq!(merged.application_state::<u64>().unwrap(), Some((0..end).sum()));
    }
}

/// A folder in which these ranks of a job have each delivered one message.
fn job(of: u32) -> (tempfile::TempDir, CheckpointFolder) {
    let place = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::new(place.path());
    let mut runners: Vec<Runner> = (0..of).map(|at| Runner::start(&folder, rank(at, of)).unwrap()).collect();
    for _ in 0..2 {
        runners.iter_mut().for_each(|runner| runner.write().unwrap());
        runners.iter_mut().for_each(|runner| assert!(runner.deliver(100).is_some()));
    }
    (place, folder)
}

fn refusal<T>(result: Result<T, FolderError>) -> String {
    result.err().expect("it is refused").to_string()
}

#[test]
fn newer_generation_supersedes_the_older_one() {
    let (_place, folder) = job(4);
    let mut one = Runner::start(&folder, rank(1, 3)).unwrap();
    // Nothing is changed before it writes.
    assert_eq!(folder.parts().unwrap().len(), 4);
    one.write().unwrap();
    assert_eq!(folder.parts().unwrap().len(), 3);
    let names: BTreeSet<String> = folder.layout.names().unwrap().into_iter().collect();
    let expected = ["generation-2.json", "rank-1-of-3.json", "rank-1-of-3.lock"];
    assert!(names.iter().eq(expected), "{names:?}");
    assert_eq!(folder.merged(plus).unwrap().delivered(), 4);
    // Back to four: parts of generation 1 would have the same names.
    let mut again = Runner::start(&folder, rank(2, 4)).unwrap();
    again.write().unwrap();
    assert_eq!(folder.merged(plus).unwrap().delivered(), 4);
}

#[test]
fn stale_part_of_the_same_name_counts_as_absent() {
    let (_place, folder) = job(2);
    let path = folder.layout.part_path(Seat { rank: 1, of: 2 });
    let stale = fs::read(&path).unwrap();
    Runner::start(&folder, rank(0, 1)).unwrap().write().unwrap();
    Runner::start(&folder, rank(0, 2)).unwrap().write().unwrap();
    fs::write(&path, stale).unwrap();
    let parts = folder.parts().unwrap();
    assert_eq!(parts.iter().map(Checkpoint::delivered).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn one_rank_comes_back_to_its_own_part() {
    let (_place, folder) = job(3);
    let mut back = Runner::start(&folder, rank(1, 3)).unwrap();
    assert_eq!(back.checkpoint.first_missing(), 4);
    back.write().unwrap();
    assert_eq!(folder.merged(plus).unwrap().delivered(), 3);
}

#[test]
fn lost_and_damaged_files_are_refused_and_named() {
    let (_place, folder) = job(3);
    let path = folder.layout.part_path(Seat { rank: 2, of: 3 });
    let part = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for result in
        [folder.parts().err(), folder.resume(rank(0, 2), plus).err(), folder.resume(rank(2, 3), plus).err()]
    {
        let said = result.expect("it is refused").to_string();
        assert!(said.starts_with("the part of rank 2 of 3 is missing: "), "{said}");
        assert!(said.contains("rank-2-of-3.json was written before"), "{said}");
    }
    fs::write(&path, &part[..part.len() / 2]).unwrap();
    let said = refusal(folder.parts());
    assert!(said.contains("rank-2-of-3.json is damaged or half-written"), "{said}");
    fs::write(&path, &part).unwrap();
    let generation = folder.layout.generation_path(1);
    let begun = fs::read(&generation).unwrap();
    fs::remove_file(&generation).unwrap();
    assert!(refusal(folder.parts()).contains("has no checkpoint of ranks"));
    fs::write(&generation, begun).unwrap();
    folder.parts().unwrap();
}

#[test]
fn part_of_another_job_is_refused() {
    let (_place, folder) = job(2);
    let mut one = Runner::start(&folder, rank(0, 1)).unwrap();
    one.write().unwrap();
    drop(one);
    Runner::start(&folder, rank(0, 2)).unwrap().write().unwrap();
    // Generation 3 began after two deliveries; this one says that it began after none.
    let path = folder.layout.part_path(Seat { rank: 1, of: 2 });
    let foreign = RankPart {
        generation: 3,
        beginning: fingerprint(&fresh(0)),
        neighbour: false,
        part: Part::empty(Seat { rank: 1, of: 2 }),
    };
    fs::write(&path, encoded(&foreign)).unwrap();
    let said = refusal(folder.parts());
    assert!(said.contains("rank-1-of-2.json is the part of another job"), "{said}");
}

#[test]
fn ranks_with_other_settings_are_refused_at_their_first_part() {
    let (_place, folder) = job(1);
    let seat = Seat { rank: 1, of: 2 };
    let mut zero = Runner::start(&folder, rank(0, 2)).unwrap();
    zero.write().unwrap();
    let (checkpoint, mut file) = folder.resume(rank(1, 2), plus).unwrap();
    drop(checkpoint);
    file.joined = false;
    let said = refusal(file.write(&fresh(7).part_of(seat).unwrap()));
    assert!(said.starts_with("the ranks' settings differ: the seed is 7, it was 0 in "), "{said}");
    let said = refusal(file.write(&fresh(0).part_of(seat).unwrap()));
    assert!(said.starts_with("this rank goes on after 0 delivered messages, and "), "{said}");
}

#[test]
fn new_job_does_not_begin_over_a_checkpoint() {
    let (_place, folder) = job(2);
    for of_rank in [rank(0, 2), rank(0, 3)] {
        assert!(refusal(folder.begin(of_rank)).contains("has a checkpoint already; go on from it"));
    }
    let nothing = CheckpointFolder::new(folder.layout.path.join("nothing"));
    assert!(refusal(nothing.resume(rank(0, 2), plus)).contains("has no checkpoint of ranks"));
    assert!(!nothing.layout.path.exists());
}

#[test]
fn rank_of_an_older_generation_is_told() {
    let (_place, folder) = job(2);
    let mut old = Runner::start(&folder, rank(0, 2)).unwrap();
    Runner::start(&folder, rank(0, 1)).unwrap().write().unwrap();
    assert!(refusal(old.write()).starts_with("another job has gone on from "));
}

#[test]
fn parts_of_unequal_steps_are_refused() {
    let (_place, folder) = job(2);
    for (at, step) in [(0, 5), (1, 6)] {
        let mut runner = Runner::start(&folder, rank(at, 2)).unwrap();
        runner.checkpoint = runner.checkpoint.clone().with_step(step);
        runner.write().unwrap();
    }
    let expected = "rank 0 was saved at step 5 and rank 1 at step 6; give the parts of one step";
    assert_eq!(refusal(folder.merged(plus)), expected);
    assert_eq!(refusal(folder.resume(rank(1, 2), plus)), expected);
    assert!(matches!(folder.resume(rank(0, 3), plus), Err(FolderError::Merge(MergeError::Steps { .. }))));
}

#[test]
fn split_is_the_reverse_of_merge() {
    let place = tempfile::tempdir().unwrap();
    let whole = Checkpoint::new(identity(3), Ledger::from(vec![[0, 5], [7, 9]]), None, Vec::new());
    let whole = whole.with_application_state(&7).unwrap();
    for of in [1, 2, 5] {
        let folder = CheckpointFolder::new(place.path().join(of.to_string()));
        folder.split(&whole, of).unwrap();
        assert_eq!(folder.parts().unwrap(), whole.split(of).unwrap());
        assert_eq!(folder.merged(plus).unwrap(), whole);
        assert!(refusal(folder.split(&whole, of)).contains("has a checkpoint already"));
    }
    let part = &whole.split(2).unwrap()[1];
    assert_eq!(
        part.split(2).unwrap_err().to_string(),
        "this checkpoint is the part of rank 1 of 2, and a whole one was expected; merge the parts of all ranks into one"
    );
}
