use super::*;
use cobuf_plugin_api::Value;
use cobuf_plugin_api::ndarray::{Array1, Array3, Axis};
use cobuf_plugin_api::testing::{ProducerHarness, TestBatch};

fn config() -> Dictionary {
    Dictionary::new()
}

fn open(config: &Dictionary) -> ProducerHarness<DigitsProducer> {
    ProducerHarness::open(config).unwrap()
}

fn items(items: impl IntoIterator<Item = u64>) -> Dictionary {
    Dictionary::new().with("items", items.into_iter().map(Value::from).collect::<Vec<_>>())
}

fn image(batch: &TestBatch) -> Array3<f32> {
    batch.array("image").unwrap()
}

fn label(batch: &TestBatch) -> Array1<i64> {
    batch.array("label").unwrap()
}

/// The images and labels of the first items, as in the data set.
fn raw(split: &str, count: u64) -> (Array3<u8>, Array1<i64>) {
    let config = config().with("normalise", false).with("split", split).with("batch_size", count);
    let batch = open(&config).produce(0, &items(0..count)).unwrap();
    (batch.array("image").unwrap(), label(&batch))
}

#[test]
fn data_set_equals_that_of_scikit_learn() {
    let (image, label) = raw("all", 1797);
    // numpy.bincount(load_digits().target), and .images[0], .images.sum().
    let mut count = [0; 10];
    label.iter().for_each(|digit| count[*digit as usize] += 1);
    assert_eq!(count, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    assert_eq!(image.iter().map(|level| u64::from(*level)).sum::<u64>(), 561_718);
    assert_eq!(image.iter().max(), Some(&16));
    let top: Vec<u8> = image.iter().copied().take(16).collect();
    assert_eq!(top, [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]);
}

#[test]
fn splits_are_disjoint_and_complete() {
    let [(all, _), (train, _), (test, _)] = [raw("all", 1797), raw("train", 1438), raw("test", 359)];
    for (number, image) in all.outer_iter().enumerate() {
        let (fold, place) = (number / 5, number % 5);
        let found = if place == 4 {
            test.index_axis(Axis(0), fold)
        } else {
            train.index_axis(Axis(0), 4 * fold + place)
        };
        assert_eq!(found, image, "image {number}");
    }
}

#[test]
fn normalised_image_is_the_raw_one_in_sixteenths() {
    let batch = open(&config()).produce(0, &items(0..32)).unwrap();
    assert_eq!(image(&batch), raw("all", 32).0.mapv(|level| f32::from(level) / 16.0));
}

#[test]
fn fewer_items_make_a_shorter_batch() {
    let mut producer = open(&config());
    let batch = producer.produce(0, &items([1796, 0])).unwrap();
    assert_eq!(batch.rows(), Some(2));
    assert_eq!(image(&batch).shape(), [2, 8, 8]);
    assert_eq!(label(&batch).to_vec(), [8, 0]);
    assert_eq!(producer.produce(0, &items([])).unwrap().rows(), Some(0));
}

#[test]
fn augmentation_follows_from_seed_and_message() {
    let augment = Dictionary::new().with("shift", 2).with("noise", 0.1);
    let config = config().with("augment", augment);
    let message = items(0..32);
    let batch = image(&open(&config).produce(7, &message).unwrap());
    let mut other = open(&config);
    assert_ne!(image(&other.produce(6, &message).unwrap()), batch);
    assert_eq!(image(&other.produce(7, &message).unwrap()), batch);
    assert_ne!(image(&open(&config).with_seed(1).produce(7, &message).unwrap()), batch);
    assert!(batch.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
}

#[test]
fn noise_is_rounded_in_raw_images() {
    let config = config().with("normalise", false).with("augment", Dictionary::new().with("noise", 0.5));
    let batch = open(&config).produce(0, &items(0..32)).unwrap();
    let image: Array3<u8> = batch.array("image").unwrap();
    assert_ne!(image, raw("all", 32).0);
    assert_eq!(image.iter().max(), Some(&16));
}

#[test]
fn wrong_message_is_refused_by_name() {
    let mut producer = open(&config().with("batch_size", 2).with("split", "test"));
    let mut refusal = |message| producer.produce(0, &message).unwrap_err().to_string();
    assert_eq!(
        refusal(items([0, 1, 2])),
        "the message has 3 items, expected at most batch_size, 2; \
         give commander and producer the same batch_size"
    );
    assert_eq!(
        refusal(items([358, 359])),
        "there is no item 359 in split \"test\", which has items 0 to 358; give the commander length = 359"
    );
    assert!(refusal(items([u64::MAX])).contains("no item 18446744073709551615"));
}

#[test]
fn wrong_configuration_is_refused_by_name() {
    let refusal =
        |config: Dictionary| ProducerHarness::<DigitsProducer>::open(&config).unwrap_err().to_string();
    let augment = |field: &str, value: Value| config().with("augment", Dictionary::new().with(field, value));
    assert_eq!(refusal(config().with("batch_size", 0)), "batch_size is 0, expected at least 1");
    assert_eq!(refusal(augment("shift", 9.into())), "augment.shift is 9, expected 0 to 8 pixels");
    assert_eq!(
        refusal(augment("noise", f64::NAN.into())),
        "augment.noise is NaN, expected a standard deviation: a finite number from 0"
    );
    assert!(refusal(augment("noise", (-0.1).into())).starts_with("augment.noise is -0.1"));
    assert!(refusal(config().with("split", "valid")).contains("\"split\""));
}
