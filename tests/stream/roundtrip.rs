//! Written content is read unchanged: random schemas, random messages, every byte.

use crate::common::{Leaks, all_items, array, filling, index, isolated};
use bytemuck::NoUninit;
use cobuf_host::half::{bf16, f16};
use cobuf_host::ndarray::IxDyn;
use cobuf_host::{ArraySpec, Batch, DType, Dictionary, Element, HostBuilder, Schema, Value};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// Each case starts two hosts.
const CASES: u32 = 24;

/// Calls a function that is generic over an element type with the one of a [`DType`].
macro_rules! with_element_type {
    ($dtype:expr, $function:ident($( $argument:expr ),*)) => {
        match $dtype {
            DType::Bool => $function::<bool>($( $argument ),*),
            DType::U8 => $function::<u8>($( $argument ),*),
            DType::U16 => $function::<u16>($( $argument ),*),
            DType::U32 => $function::<u32>($( $argument ),*),
            DType::U64 => $function::<u64>($( $argument ),*),
            DType::I8 => $function::<i8>($( $argument ),*),
            DType::I16 => $function::<i16>($( $argument ),*),
            DType::I32 => $function::<i32>($( $argument ),*),
            DType::I64 => $function::<i64>($( $argument ),*),
            DType::F16 => $function::<f16>($( $argument ),*),
            DType::Bf16 => $function::<bf16>($( $argument ),*),
            DType::F32 => $function::<f32>($( $argument ),*),
            DType::F64 => $function::<f64>($( $argument ),*),
        }
    };
}

/// A run, and what must come of it.
#[derive(Debug, Clone)]
struct Case {
    schema: Schema,
    messages: Vec<Message>,
    seed: u64,
    /// Of the first of the two runs; of the second one worker and one slot more.
    workers: usize,
    slots: usize,
}

#[derive(Debug, Clone)]
struct Message {
    /// The number that all elements get, 0 or 1; random ones if there is none.
    value: Option<u8>,
    rows: Option<prop::sample::Index>,
    metadata: Option<Dictionary>,
    /// What the producer does not know, and leaves alone.
    extra: Value,
}

impl Message {
    /// The rows that it asks for, if the schema has rows.
    fn rows(&self, schema: &Schema) -> Option<usize> {
        self.rows.zip(schema.rows()).map(|(rows, most)| rows.index(most + 1))
    }

    fn dictionary(&self, schema: &Schema) -> Dictionary {
        let mut message = Dictionary::new().with("extra", self.extra.clone());
        match self.value {
            Some(value) => message.insert("value", u32::from(value)),
            None => message.insert("random", true),
        };
        if let Some(rows) = self.rows(schema) {
            message.insert("rows", rows);
        }
        if let Some(metadata) = &self.metadata {
            message.insert("metadata", metadata.clone());
        }
        message
    }
}

fn schemas() -> impl Strategy<Value = Schema> {
    let arrays = btree_set("\\PC{1,8}", 1..=4).prop_flat_map(|names| {
        let shape = vec(1..=5_usize, 0..=4);
        let count = names.len();
        (Just(names), vec((prop::sample::select(DType::ALL), shape), count), prop::option::of(1..=5_usize))
    });
    arrays.prop_map(|(names, rest, rows)| {
        let array = |(name, (dtype, mut shape)): (String, (DType, Vec<usize>))| {
            // Where the arrays are to have rows, they have a first axis in common.
            if let Some(rows) = rows {
                shape.insert(0, rows);
            }
            ArraySpec::new(name, dtype, shape)
        };
        Schema::new(names.into_iter().zip(rest).map(array).collect::<Vec<_>>()).unwrap()
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..6).prop_map(Value::from), dictionaries(inner).prop_map(Value::from)]
    })
}

fn dictionaries(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Dictionary> {
    vec((any::<String>(), values), 0..6).prop_map(|entries| {
        entries.into_iter().fold(Dictionary::new(), |dictionary, (key, value)| dictionary.with(key, value))
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let rows = prop::option::of(any::<prop::sample::Index>());
    let metadata = prop::option::of(dictionaries(values()));
    (prop::option::of(0..=1_u8), rows, metadata, values())
        .prop_map(|(value, rows, metadata, extra)| Message { value, rows, metadata, extra })
}

fn cases() -> impl Strategy<Value = Case> {
    (schemas(), vec(messages(), 1..12), any::<u64>(), 1..=2_usize, 1..=4_usize)
        .prop_map(|(schema, messages, seed, workers, slots)| Case { schema, messages, seed, workers, slots })
}

impl Case {
    fn host(&self) -> HostBuilder {
        let arrays: Vec<_> = self.schema.arrays().iter().map(declare).collect();
        filling(self.messages.iter().map(|message| message.dictionary(&self.schema)), &arrays).seed(self.seed)
    }

    /// Runs it, and checks all that can be known beforehand; gives the bytes of each batch's
    /// arrays.
    fn run(&self, workers: usize, slots: usize, deterministic: bool) -> BTreeMap<u64, Vec<Vec<u8>>> {
        let host = self.host().workers(workers).slots(slots).ordered(deterministic).start().unwrap();
        assert_eq!(host.schema(), &self.schema);
        let mut read = BTreeMap::new();
        for batch in all_items(&host.batches()).map(Result::unwrap) {
            let message = &self.messages[batch.sequence() as usize];
            assert_eq!(batch.message::<Dictionary>().unwrap(), message.dictionary(&self.schema));
            assert_eq!(batch.metadata::<Dictionary>().unwrap(), message.metadata.clone().unwrap_or_default());
            let rows = message.rows(&self.schema);
            assert_eq!(batch.rows(), rows.or(self.schema.rows()));
            let arrays =
                (0..self.schema.arrays().len()).map(|index| check_array(&batch, index, rows, message.value));
            assert!(read.insert(batch.sequence(), arrays.collect()).is_none(), "a batch came twice");
        }
        assert!(read.keys().copied().eq(0..self.messages.len() as u64));
        read
    }
}

/// An array of a schema, as the fill-producer's configuration has it.
fn declare(spec: &ArraySpec) -> Dictionary {
    array(spec.name(), spec.dtype().name(), spec.shape())
}

/// Checks one array's shape, and its elements if they are known; gives its bytes.
fn check_array(batch: &Batch, index: usize, rows: Option<usize>, value: Option<u8>) -> Vec<u8> {
    let (spec, bytes) = batch.bytes_at(index).unwrap();
    let mut shape = spec.shape().to_vec();
    if let Some(rows) = rows {
        shape[0] = rows;
    }
    let elements = shape.iter().product::<usize>();
    assert_eq!(bytes.len(), elements * spec.dtype().size(), "{spec}");
    assert!(with_element_type!(spec.dtype(), view_is(batch, index, &shape, bytes)), "{spec}");
    if let Some(value) = value {
        assert_eq!(bytes, one_or_zero(spec.dtype(), value).repeat(elements), "{spec}");
    }
    bytes.to_vec()
}

/// Whether the typed view has this shape and these bytes.
fn view_is<T: Element>(batch: &Batch, index: usize, shape: &[usize], bytes: &[u8]) -> bool {
    let view = batch.array_at::<T, IxDyn>(index).unwrap();
    let seen: Vec<u8> = view.iter().flat_map(|element| bytemuck::bytes_of(element).to_vec()).collect();
    view.shape() == shape && seen == bytes
}

/// The bytes of the number 0 or 1.
fn one_or_zero(dtype: DType, value: u8) -> Vec<u8> {
    match dtype {
        DType::F16 => f16::from(value).to_ne_bytes().to_vec(),
        DType::Bf16 => bf16::from(value).to_ne_bytes().to_vec(),
        DType::F32 => f32::from(value).to_ne_bytes().to_vec(),
        DType::F64 => f64::from(value).to_ne_bytes().to_vec(),
        integer => u64::from(value).to_le_bytes()[..integer.size()].to_vec(),
    }
}

#[test]
fn written_content_is_read_unchanged() {
    let _leaks = isolated!();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let checked = TestRunner::new(config).run(&cases(), |case| {
        let _leaks = Leaks::watch();
        let one = case.run(case.workers, case.slots, true);
        let other = case.run(case.workers + 1, case.slots + 1, false);
        prop_assert_eq!(one, other);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Fills an array of five elements with each of the values, and reads them back; their bits are
/// compared.
fn fills_exactly<T: Element + Copy + NoUninit>(cases: &[(Value, T)]) {
    let messages = cases.iter().map(|(value, _)| Dictionary::new().with("value", value.clone()));
    let host = filling(messages, &[array("x", T::DTYPE.name(), &[5])]).workers(2).start().unwrap();
    for (item, (value, expected)) in all_items(&host.batches()).zip(cases) {
        let batch = item.unwrap();
        let read = batch.array_at::<T, IxDyn>(0).unwrap();
        let same = |element: &T| bytemuck::bytes_of(element) == bytemuck::bytes_of(expected);
        assert!(read.len() == 5 && read.iter().all(same), "{value:?} as {} is {read:?}", T::DTYPE);
    }
    assert_eq!(host.statistics().delivered, cases.len() as u64);
}

#[test]
fn value_is_exact_in_every_element_type() {
    let _leaks = isolated!();
    fills_exactly(&[(0.into(), false), (1.into(), true)]);
    macro_rules! extremes {
        ($( $integer:ty )*) => { $( {
            let middle = <$integer>::MAX / 3;
            fills_exactly(&[<$integer>::MIN, middle, <$integer>::MAX].map(|value| (integer(value.into()), value)));
        } )* };
    }
    extremes!(u8 u16 u32 u64 i8 i16 i32 i64);
    let (third, tiny) = (1.0 / 3.0, f64::MIN_POSITIVE / 8.0);
    fills_exactly(&[third, tiny, f64::MAX, -0.0, f64::INFINITY].map(|value| (Value::Float(value), value)));
    fills_exactly(&[(Value::Float(third), 1.0_f32 / 3.0), (Value::Float(f32::MIN.into()), f32::MIN)]);
    fills_exactly(&[(Value::Float(65504.0), f16::MAX), (Value::Float(third), f16::from_f64(third))]);
    fills_exactly(&[(index(3).get("index").unwrap().clone(), bf16::from_f32(3.0))]);
}

fn integer(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::from(value as u64), Value::from)
}

#[test]
fn array_of_another_form_is_refused() {
    let _leaks = isolated!();
    let host = filling([index(1)], &[array("x", "u16", &[2, 3])]).workers(1).start().unwrap();
    let batch = crate::common::next_batch(&host.batches());
    let refusal = |refused: Result<(), cobuf_host::ArrayError>| refused.unwrap_err().to_string();
    let no_name = refusal(batch.array::<u16, IxDyn>("y").map(drop));
    assert_eq!(no_name, "the batch has no array called \"y\"; it has: x");
    let no_place = refusal(batch.array_at::<u16, IxDyn>(1).map(drop));
    assert_eq!(no_place, "the batch has no array at position 1; it has: x");
    let dtype = refusal(batch.array::<i16, IxDyn>("x").map(drop));
    assert_eq!(dtype, "array \"x\" has elements of type u16, not i16: the schema declares x u16 (2, 3)");
    let dimensions = refusal(batch.array::<u16, cobuf_host::ndarray::Ix3>("x").map(drop));
    assert_eq!(dimensions, "array \"x\" has 2 dimensions, not 3: the schema declares x u16 (2, 3)");
}
