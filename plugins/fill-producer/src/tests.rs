use std::{env, fs, process, thread, time};

use cobuf_plugin_api::half::{bf16, f16};
use cobuf_plugin_api::testing::{ProducerHarness, TestBatch};
use cobuf_plugin_api::{Element, ReportKind, Value, ndarray};

use super::*;

fn config(arrays: &[ArraySpec]) -> Config {
    Config {
        arrays: arrays.to_vec(),
        shapes: BTreeMap::new(),
        sleep_seconds: Seconds::default(),
        burn_seconds: Seconds::default(),
        slow_worker: None,
        slow_seconds: Seconds::default(),
        fail_new: None,
        panic_new: None,
    }
}

/// A producer with an array of each element type, called by its name.
fn of_every_type() -> ProducerHarness<FillProducer> {
    let array = |dtype: &DType| ArraySpec::new(dtype.name(), *dtype, [2, 3]);
    ProducerHarness::open(&config(&DType::ALL.iter().map(array).collect::<Vec<_>>())).unwrap()
}

fn of_one_type(dtype: DType) -> ProducerHarness<FillProducer> {
    ProducerHarness::open(&config(&[ArraySpec::new("x", dtype, [2, 3])])).unwrap()
}

fn message(field: &str, value: impl Into<Value>) -> Dictionary {
    Dictionary::new().with(field, value)
}

/// The element that a value becomes, or the error.
fn element<T: Element>(value: impl Into<Value>) -> Result<T, String> {
    let batch =
        of_one_type(T::DTYPE).produce(0, &message("value", value)).map_err(|report| report.to_string())?;
    let elements = batch.array::<T, Ix2>("x").unwrap();
    assert!(elements.iter().all(|element| *element == elements[[0, 0]]), "{elements:?}");
    Ok(elements[[0, 0]])
}

fn elements<T: Element>(batch: &TestBatch) -> Vec<T> {
    batch.array::<T, IxDyn>(T::DTYPE.name()).unwrap().into_iter().collect()
}

#[test]
fn every_array_is_filled_with_the_index() {
    let mut producer = of_every_type();
    for index in [0u8, 1] {
        let batch = producer.produce(0, &message("index", u32::from(index))).unwrap();
        assert_eq!(elements::<bool>(&batch), [index == 1; 6]);
        assert_eq!(elements::<u64>(&batch), [u64::from(index); 6]);
        assert_eq!(elements::<i8>(&batch), [index as i8; 6]);
        assert_eq!(elements::<f16>(&batch), [f16::from(index); 6]);
        assert_eq!(elements::<f64>(&batch), [f64::from(index); 6]);
    }
    let both = message("index", 1).with("value", 0);
    assert_eq!(elements::<u8>(&producer.produce(0, &both).unwrap()), [0; 6]);
}

#[test]
fn integers_stay_exact() {
    assert_eq!(element::<u64>(u64::MAX), Ok(u64::MAX));
    assert_eq!(element::<i64>(i64::MIN), Ok(i64::MIN));
    assert_eq!(element::<i64>((1i64 << 53) + 1), Ok((1 << 53) + 1));
    assert_eq!(element::<i16>(-300.0), Ok(-300));
}

#[test]
fn value_that_does_not_fit_is_refused_by_name() {
    assert_eq!(
        element::<u8>(256).unwrap_err(),
        "the value 256 does not fit array \"x\", whose dtype u8 holds the integers from 0 to 255; \
         take such a value or another dtype"
    );
    assert!(
        element::<i32>(0.5)
            .unwrap_err()
            .starts_with("the value 0.5 does not fit array \"x\", whose dtype i32")
    );
    assert!(element::<bool>(2).unwrap_err().contains("dtype bool holds 0 and 1"));
    assert!(element::<u64>(-1).is_err());
    assert!(element::<u64>(2f64.powi(64)).is_err());
    assert!(element::<i64>(i64::MAX as u64 + 1).is_err());
    assert!(element::<i64>(f64::NAN).is_err());
    assert!(
        element::<u8>("7")
            .unwrap_err()
            .starts_with("the message's value is String(\"7\"), expected a number")
    );
}

#[test]
fn floats_are_rounded_to_the_nearest() {
    assert_eq!(element::<f32>(0.1), Ok(0.1f32));
    assert_eq!(element::<f32>((1u64 << 24) + 1), Ok((1u64 << 24) as f32));
    // Just above the middle of two neighbours: by less than an f32 can express.
    let above = |middle: f64| f64::from_bits(middle.to_bits() + 1);
    assert_eq!(element::<f16>(1.0 + 2f64.powi(-11)), Ok(f16::ONE));
    assert_eq!(element::<f16>(above(1.0 + 2f64.powi(-11))), Ok(f16::from_f32(1.0 + 2f32.powi(-10))));
    assert_eq!(element::<bf16>(above(1.0 + 2f64.powi(-8))), Ok(bf16::from_f32(1.0 + 2f32.powi(-7))));
    // So close above the middle that even an f64 cannot express it.
    let (power, middle) = (1i64 << 60, (1i64 << 60) + (1 << 52));
    assert_eq!(element::<bf16>(middle), Ok(bf16::from_f32(power as f32)));
    assert_eq!(element::<bf16>(middle + 1), Ok(bf16::from_f32((power + (1 << 53)) as f32)));
}

#[test]
fn overflow_to_infinity_is_refused() {
    assert_eq!(element::<f16>(65_519), Ok(f16::MAX));
    assert!(element::<f16>(65_520).unwrap_err().contains("f16 holds the numbers from -6.5504e4 to 6.5504e4"));
    assert!(element::<f32>(1e39).is_err());
    assert!(element::<bf16>(f64::MAX).is_err());
    assert_eq!(element::<f16>(f64::NEG_INFINITY), Ok(f16::NEG_INFINITY));
    assert_eq!(element::<f32>(f64::INFINITY), Ok(f32::INFINITY));
}

#[test]
fn random_elements_follow_from_seed_and_sequence() {
    let random = message("random", true);
    let batch = of_every_type().produce(5, &random).unwrap();
    let again = of_every_type().produce(5, &random).unwrap();
    let other = of_every_type().produce(6, &random).unwrap();
    assert_eq!(elements::<u64>(&again), elements::<u64>(&batch));
    assert_eq!(elements::<f64>(&again), elements::<f64>(&batch));
    assert_ne!(elements::<u64>(&other), elements::<u64>(&batch));
    let mut floats = elements::<f64>(&batch);
    floats.extend(elements::<f32>(&batch).into_iter().map(f64::from));
    floats.extend(elements::<f16>(&batch).into_iter().map(f64::from));
    floats.extend(elements::<bf16>(&batch).into_iter().map(f64::from));
    assert!(floats.iter().all(|float| (0.0..1.0).contains(float)), "{floats:?}");
    assert!(floats.iter().any(|float| *float > 0.5) && floats.iter().any(|float| *float < 0.5));
}

#[test]
fn rows_and_metadata_are_those_of_the_message() {
    let mut producer = of_one_type(DType::U8);
    let metadata = message("from", "test");
    let batch = producer.produce(0, &message("rows", 1).with("metadata", metadata.clone())).unwrap();
    assert_eq!(batch.array::<u8, Ix2>("x").unwrap().shape(), [1, 3]);
    assert_eq!(batch.metadata::<Dictionary>().unwrap(), metadata);
}

#[test]
fn misbehaviour_follows_the_message() {
    let mut producer = of_one_type(DType::U8);
    let mut report = |message: Dictionary| producer.produce(0, &message).unwrap_err();
    assert_eq!(report(message("error", "no pixels")).chain, ["asked to fail", "no pixels"]);
    let panic = report(message("panic", "ouch"));
    assert_eq!(panic.kind, ReportKind::Panic);
    assert!(panic.to_string().ends_with(": ouch"), "{panic}");
    assert!(report(message("wrong_dtype", true)).to_string().contains("has elements of type u8, not i8"));
    let shape = report(message("wrong_shape", true)).to_string();
    assert!(
        shape.starts_with("values of shape (3, 3) do not fit array \"x\", which has shape (2, 3)"),
        "{shape}"
    );
}

#[test]
fn array_without_axes_is_misused_too() {
    let mut producer =
        ProducerHarness::<FillProducer>::open(&config(&[ArraySpec::new("x", DType::Bool, [])])).unwrap();
    let report = producer.produce(0, &message("wrong_shape", true)).unwrap_err().to_string();
    assert!(
        report.starts_with("values of shape (2,) do not fit array \"x\", which has shape ()"),
        "{report}"
    );
}

#[test]
fn misbehaviour_ends_at_the_given_attempt() {
    let failing =
        |on_attempt| Message { error: Some("no pixels".to_owned()), on_attempt, ..Message::default() };
    assert!(misbehave::misbehave(&failing(Some(2)), 1).is_err());
    assert!(misbehave::misbehave(&failing(Some(2)), 2).is_ok());
    assert!(misbehave::misbehave(&failing(None), 9).is_err());
}

#[test]
fn leaked_memory_is_resident() {
    // Resident pages: the second field, after size (proc_pid_statm(5)).
    let resident = || {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let leaking = Message { leak_bytes: Some(64 << 20), ..Message::default() };
    misbehave::misbehave(&leaking, 0).unwrap();
    // Other tests of this process take far less at the same time.
    assert!(resident() > before + (48 << 20), "{before} {}", resident());
}

#[test]
fn given_number_of_files_is_opened() {
    let opening = |number| Message { open_files: Some(number), ..Message::default() };
    assert!(misbehave::misbehave(&opening(3), 0).is_ok());
    // More files than may be open at once: `tests/faults/limits.rs`, because other tests of this process
    // would suffer from it.
}

#[test]
fn message_overrides_the_configured_wait() {
    let arrays = [ArraySpec::new("x", DType::U8, [1])];
    let hour = Seconds::try_from(3600.0).unwrap();
    let slow = Config { sleep_seconds: hour, burn_seconds: hour, ..config(&arrays) };
    let mut producer = ProducerHarness::<FillProducer>::open(&slow).unwrap();
    let start = time::Instant::now();
    producer.produce(0, &message("sleep_seconds", 0.02).with("burn_seconds", 0.03)).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!((0.05..1000.0).contains(&seconds), "{seconds}");
    let negative = producer.produce(0, &message("sleep_seconds", -1)).unwrap_err().to_string();
    assert!(negative.contains("\"sleep_seconds\": -1 is wrong, expected a number of seconds"), "{negative}");
}

#[test]
fn batch_waits_for_a_file() {
    let gate = env::temp_dir().join(format!("fill-producer-{}", process::id()));
    let open_gate = {
        let gate = gate.clone();
        thread::spawn(move || {
            thread::sleep(time::Duration::from_millis(30));
            fs::write(gate, "").unwrap();
        })
    };
    let start = time::Instant::now();
    let waited = of_one_type(DType::U8).produce(0, &message("until_file", gate.to_str().unwrap()));
    open_gate.join().unwrap();
    fs::remove_file(gate).unwrap();
    waited.unwrap();
    assert!(start.elapsed().as_secs_f64() >= 0.03);
}

#[test]
fn constructor_fails_as_configured() {
    let open = |config: Config| ProducerHarness::<FillProducer>::open(&config).unwrap_err();
    let text = || Some("no licence".to_owned());
    let arrays = [ArraySpec::new("x", DType::U8, [1])];
    let failed = open(Config { fail_new: text(), ..config(&arrays) });
    assert_eq!(failed.chain, ["asked to fail", "no licence"]);
    assert_eq!(open(Config { panic_new: text(), ..config(&arrays) }).kind, ReportKind::Panic);
}

#[test]
fn array_has_the_shape_of_the_message() {
    let arrays = [
        ArraySpec::new("x", DType::U8, [4, 3]).at_most([0]),
        ArraySpec::new("y", DType::U8, [2, 5]).at_most([1]),
    ];
    let mut producer = ProducerHarness::<FillProducer>::open(&config(&arrays)).unwrap();
    let shapes = |shape: &[usize]| {
        Dictionary::new().with("x", shape.iter().copied().map(Value::from).collect::<Vec<_>>())
    };
    let batch = producer.produce(0, &message("index", 7).with("shapes", shapes(&[0, 3]))).unwrap();
    assert_eq!(batch.array::<u8, Ix2>("x").unwrap().dim(), (0, 3));
    assert_eq!(batch.array::<u8, Ix2>("y").unwrap(), ndarray::Array2::from_elem((2, 5), 7));
    let error = producer.produce(1, &message("index", 7).with("shapes", shapes(&[5, 3]))).unwrap_err();
    assert!(error.to_string().contains("length 5 along axis 0, expected at most 4"), "{error}");
}
