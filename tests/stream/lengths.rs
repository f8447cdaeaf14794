//! Arrays with lengths of each batch's own: what was written is what is read, by its real shape.

use crate::common::{
    COBUF, Delivered, Leaks, all_items, array, batch_error, filling, host, index, isolated, list, next_batch,
    next_item, outline, plugin,
};
use cobuf_host::conformance::{Examination, Outcome};
use cobuf_host::ndarray::{Array, ArrayD, Ix1, Ix2, Ix3, IxDyn};
use cobuf_host::{Batch, Dictionary, HostBuilder, Value};
use cobuf_plugin_api::rand::RngExt as _;
use cobuf_plugin_api::{generator, message_seed};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;

/// Each case starts two hosts.
const CASES: u32 = 16;

/// An array of the fill-producer whose lengths along these axes are each batch's own.
fn at_most(name: &str, dtype: &str, shape: &[usize], axes: &[usize]) -> Dictionary {
    let axes: Vec<Value> = axes.iter().map(|&axis| axis.into()).collect();
    array(name, dtype, shape).with("at_most", axes)
}

/// A message in which these arrays have these shapes.
fn shaped(message: Dictionary, shapes: &[(&str, &[usize])]) -> Dictionary {
    let list = |shape: &[usize]| shape.iter().map(|&n| Value::from(n)).collect::<Vec<_>>();
    let shapes = shapes.iter().fold(Dictionary::new(), |all, &(name, shape)| all.with(name, list(shape)));
    message.with("shapes", shapes)
}

/// An axis: the most, and whether it is each batch's own.
type Axis = (usize, bool);

/// Arrays of u64, and the lengths of each message as places in what is possible.
#[derive(Debug, Clone)]
struct Case {
    arrays: Vec<Vec<Axis>>,
    messages: Vec<Vec<Vec<Index>>>,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let arrays = vec(vec((1..=6_usize, any::<bool>()), 0..=4), 1..=4);
    let messages = vec(vec(vec(any::<Index>(), 4), 4), 1..10);
    (arrays, messages, any::<u64>()).prop_map(|(arrays, messages, seed)| Case { arrays, messages, seed })
}

impl Case {
    /// The shapes that a message's batch has.
    fn shapes(&self, message: u64) -> Vec<Vec<usize>> {
        let axes = |(axes, places): (&Vec<Axis>, &Vec<Index>)| {
            let length =
                |(&(most, own), place): (&Axis, &Index)| if own { place.index(most + 1) } else { most };
            axes.iter().zip(places).map(length).collect()
        };
        self.arrays.iter().zip(&self.messages[message as usize]).map(axes).collect()
    }

    fn host(&self) -> HostBuilder {
        let names: Vec<String> = (0..self.arrays.len()).map(|number| format!("a{number}")).collect();
        let arrays = self.arrays.iter().zip(&names).map(|(axes, name)| {
            let most: Vec<usize> = axes.iter().map(|(most, _)| *most).collect();
            let own: Vec<usize> = (0..axes.len()).filter(|&axis| axes[axis].1).collect();
            at_most(name, "u64", &most, &own)
        });
        let messages = (0..self.messages.len() as u64).map(|message| {
            let shapes = self.shapes(message);
            let named: Vec<_> =
                names.iter().map(String::as_str).zip(shapes.iter().map(Vec::as_slice)).collect();
            shaped(Dictionary::new().with("random", true), &named)
        });
        filling(messages, &arrays.collect::<Vec<_>>()).seed(self.seed)
    }

    /// Compares each batch with the numbers that its message's generator gives; gives the digest.
    fn run(&self, workers: usize, ordered: bool) -> Delivered {
        let host = self.host().workers(workers).slots(workers + 2).ordered(ordered).start().unwrap();
        let mut delivered = Delivered::default();
        for batch in all_items(&host.batches()).map(Result::unwrap) {
            let mut rng = generator(message_seed(self.seed, batch.sequence()));
            for (number, shape) in self.shapes(batch.sequence()).into_iter().enumerate() {
                let elements = shape.iter().product();
                let numbers: Vec<u64> = (0..elements).map(|_| rng.random()).collect();
                let expected = ArrayD::from_shape_vec(IxDyn(&shape), numbers).unwrap();
                assert_eq!(batch.array_at::<u64, IxDyn>(number).unwrap(), expected);
                assert_eq!(batch.shape_at(number).unwrap(), shape);
                assert_eq!(batch.bytes_at(number).unwrap().1.len(), elements * size_of::<u64>());
            }
            delivered.add(&batch);
        }
        assert_eq!(delivered.sequences.len(), self.messages.len());
        delivered
    }
}

#[test]
fn any_shapes_that_are_written_are_read() {
    let _leaks = isolated!();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let checked = TestRunner::new(config).run(&cases(), |case| {
        let _leaks = Leaks::watch();
        let one = case.run(1, true);
        prop_assert_eq!(one.sorted(), case.run(2, false).sorted());
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn digest_tells_shapes_of_the_same_bytes_apart() {
    let _leaks = isolated!();
    let arrays = [at_most("x", "u8", &[6, 6], &[0, 1]), at_most("y", "u8", &[6], &[0])];
    let digest = |x: &[usize], y: usize| {
        let message = shaped(index(7), &[("x", x), ("y", &[y])]);
        let host = filling([message], &arrays).workers(1).start().unwrap();
        Delivered::of(&host.batches()).digest.to_string()
    };
    // All of them have six bytes of the number 7, or none.
    let digests = [digest(&[2, 3], 0), digest(&[3, 2], 0), digest(&[1, 6], 0), digest(&[0, 6], 6)];
    let empty = [digest(&[0, 6], 0), digest(&[6, 0], 0), digest(&[0, 0], 0)];
    let all: std::collections::BTreeSet<&String> = digests.iter().chain(&empty).collect();
    assert_eq!(all.len(), 7, "{digests:?} {empty:?}");
    assert_eq!(digest(&[2, 3], 0), digests[0]);
}

#[test]
fn arrays_without_a_shape_in_the_message_are_as_long_as_they_may_be() {
    let _leaks = isolated!();
    let arrays = [at_most("x", "u8", &[3, 2], &[0]), array("y", "u8", &[4, 2])];
    let messages = [shaped(index(1), &[("x", &[0, 2])]), index(2).with("rows", 3)];
    let host = filling(messages, &arrays).workers(1).start().unwrap();
    assert_eq!(host.schema().to_string(), "x u8 (≤3, 2), y u8 (4, 2)");
    let batches = host.batches();
    let shapes = |batch: &Batch| [0, 1].map(|array| batch.shape_at(array).unwrap());
    let (first, second) = (next_batch(&batches), next_batch(&batches));
    assert_eq!((first.rows(), shapes(&first)), (Some(4), [vec![0, 2], vec![4, 2]]));
    // The rows are those of `y`; `x` has a length of its own.
    assert_eq!((second.rows(), shapes(&second)), (Some(3), [vec![3, 2], vec![3, 2]]));
    assert_eq!(second.array::<u8, Ix2>("x").unwrap(), Array::from_elem((3, 2), 2));
}

#[test]
fn wrong_shape_is_the_error_of_its_batch_and_names_axis_most_and_found() {
    let _leaks = isolated!();
    let arrays = [at_most("boxes", "f32", &[200, 4], &[0]), array("y", "u8", &[4])];
    let wrong: [(&str, &[usize], &str); 5] = [
        ("boxes", &[201, 4], "array \"boxes\" was given length 201 along axis 0, expected at most 200"),
        ("boxes", &[usize::MAX, 4], "length 18446744073709551615 (-1 if it is signed) along axis 0"),
        ("boxes", &[17, 5], "array \"boxes\" was given length 5 along axis 1, expected 4"),
        ("boxes", &[17], "array \"boxes\" was given shape (17,), expected 2 axes"),
        ("y", &[3], "array \"y\" was given length 3 along axis 0, expected 4"),
    ];
    for (name, shape, said) in wrong {
        let host = filling([index(0), shaped(index(1), &[(name, shape)]), index(2)], &arrays);
        let host = host.workers(1).start().unwrap();
        let batches = host.batches();
        next_batch(&batches);
        let error = batch_error(next_item(&batches));
        assert!(error.chain().join(": ").contains(said), "{:?}", error.chain());
        assert_eq!(outline(&batches), "2");
    }
}

#[test]
fn retried_message_has_the_same_shape() {
    let _leaks = isolated!();
    let arrays = [at_most("x", "u16", &[9], &[0])];
    let aborting = shaped(index(1).with("abort", true).with("on_attempt", 1), &[("x", &[4])]);
    let host = filling([shaped(index(0), &[("x", &[9])]), aborting], &arrays).workers(1).slots(1);
    let host = host.start().unwrap();
    let batches = host.batches();
    next_batch(&batches);
    let batch = next_batch(&batches);
    assert_eq!((batch.retries(), batch.shape_at(0).unwrap()), (1, vec![4]));
}

#[test]
fn stream_with_deaths_has_the_shapes_and_content_of_one_without() {
    let _leaks = isolated!();
    let arrays = [at_most("x", "u32", &[9, 3], &[0]), at_most("y", "u8", &[4, 7], &[1])];
    let run = |deaths: bool| {
        let messages = (0..40).map(|number: usize| {
            let message = Dictionary::new().with("random", true);
            let dies = deaths && number % 7 == 3;
            let message = if dies { message.with("abort", true).with("on_attempt", 1) } else { message };
            shaped(message, &[("x", &[number % 10, 3]), ("y", &[4, number % 8])])
        });
        let host = filling(messages, &arrays).workers(2).slots(3).seed(5).start().unwrap();
        let delivered = Delivered::of(&host.batches());
        assert_eq!(host.statistics().worker_restarts > 0, deaths);
        delivered
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn consumer_of_lengths_allocates_nothing_for_a_batch() {
    let _leaks = isolated!();
    let config = list([shaped(index(7), &[("x", &[3])])]).with("repeat", 0);
    let host = filling([], &[at_most("x", "u32", &[4], &[0])]).commander_config(config).workers(1).slots(8);
    let host = host.start().unwrap();
    let batches = host.batches();
    (0..1000).for_each(|_| drop(next_batch(&batches)));
    let allocated = allocation_counter::measure(|| {
        for _ in 0..1000 {
            assert_eq!(next_batch(&batches).array::<u32, Ix1>("x").unwrap().len(), 3);
        }
    });
    assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0));
}

/// A host of the boxes-producer.
fn boxes() -> HostBuilder {
    let items = Dictionary::new().with("length", 40).with("batch_size", 4).with("epochs", 2);
    let config = Dictionary::new().with("batch_size", 4).with("side", 32);
    let commander = host().commander(plugin("index-commander")).commander_config(items);
    commander.producer(plugin("boxes-producer")).producer_config(config)
}

/// A host of the tokens-producer.
fn tokens(texts: &[&str]) -> HostBuilder {
    let texts: Vec<Value> = texts.iter().map(|&text| text.into()).collect();
    let commander = host().commander(plugin("list-commander"));
    let commander = commander.commander_config(list([Dictionary::new().with("texts", texts)]));
    commander.producer(plugin("tokens-producer")).producer_config(Dictionary::new().with("batch_size", 4))
}

#[test]
fn model_of_boxes_gives_as_many_as_there_are() {
    let _leaks = isolated!();
    let expected = Delivered::of(&boxes().workers(1).start().unwrap().batches());
    assert_eq!(expected.sequences.len(), 20);
    assert_eq!(Delivered::of(&boxes().workers(2).start().unwrap().batches()), expected);
    let mut lengths = std::collections::BTreeSet::new();
    for batch in all_items(&boxes().start().unwrap().batches()).map(Result::unwrap) {
        let boxes = batch.array::<f32, Ix2>("boxes").unwrap();
        assert_eq!(batch.array::<i64, Ix1>("picture").unwrap().len(), boxes.nrows());
        assert_eq!(batch.array::<u8, Ix3>("image").unwrap().dim(), (4, 32, 32));
        lengths.insert(boxes.nrows());
    }
    assert!(lengths.len() > 10, "{lengths:?}");
}

#[test]
fn model_of_tokens_is_as_wide_as_the_longest_text() {
    let _leaks = isolated!();
    let host = tokens(&["abc", "x"]).start().unwrap();
    let batch = next_batch(&host.batches());
    assert_eq!(batch.array::<u16, Ix2>("tokens").unwrap(), ndarray_of([[98, 99, 100], [121, 0, 0]]));
    assert_eq!(batch.schema().to_string(), "tokens u16 (4, ≤512), length i64 (4,)");
}

fn ndarray_of(rows: [[u16; 3]; 2]) -> Array<u16, Ix2> {
    Array::from_shape_fn((2, 3), |(row, column)| rows[row][column])
}

#[test]
fn models_pass_the_examination() {
    let _leaks = isolated!();
    let examination = |name: &str| {
        let config = Dictionary::new().with("batch_size", 4);
        Examination::of(plugin(name)).fork_server(COBUF).soak(Duration::from_millis(20)).config(config)
    };
    let texts: Vec<Value> = vec!["a slot".into(), "".into(), "a batch is longer".into()];
    let items = |count: u64| Dictionary::new().with("items", (0..count).map(Value::from).collect::<Vec<_>>());
    for examination in [
        examination("tokens-producer").messages([Dictionary::new().with("texts", texts)]),
        examination("boxes-producer").messages([items(0), items(3), items(4)]),
    ] {
        let report = examination.run().expect("it can be examined");
        assert!(report.findings.iter().all(|finding| finding.outcome != Outcome::Failed), "{report:#?}");
    }
}
