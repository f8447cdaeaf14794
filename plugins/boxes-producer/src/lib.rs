//! Draws pictures with boxes, and gives the boxes beside them: a model for arrays whose length
//! differs from batch to batch.
//!
//! ```text
//!   item 0: 2 boxes      image    (2, side, side)   rows, by `set_rows`
//!   item 1: 3 boxes      boxes    (5, 4)            a length of their own, by `set_shape`
//!                        picture  (5,)              0 0 1 1 1
//! ```
//!
//! # Configuration
//! See [`Config`].
//!
//! # Messages
//! `items`: a list of at most `batch_size` item numbers. Fewer items make a shorter batch. What a
//! picture shows depends on the message's generator only.
//!
//! # Arrays
//! | array | type | shape | values |
//! |---|---|---|---|
//! | `image` | u8 | (batch_size, side, side): item, row, column | 0 where no box is |
//! | `boxes` | f32 | (≤batch_size × most_boxes, 4) | left, top, right, bottom in pixels |
//! | `picture` | i64 | (≤batch_size × most_boxes,) | the row of `image` that the box belongs to |
#![forbid(unsafe_code)]

use cobuf_plugin_api::Rng;
use cobuf_plugin_api::ndarray::ArrayViewMut2;
use cobuf_plugin_api::prelude::*;

/// The `producer.config` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The most pictures in a batch, at least 1.
    batch_size: usize,
    /// The width and height of a picture in pixels, at least 1. Default: 64.
    #[serde(default = "side")]
    side: usize,
    /// The most boxes in a picture, at least 1. Default: 200.
    #[serde(default = "most_boxes")]
    most_boxes: usize,
}

fn side() -> usize {
    64
}

fn most_boxes() -> usize {
    200
}

/// The pictures of one batch.
#[derive(Debug, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// Their numbers, of which this model only needs how many there are.
    items: Vec<u64>,
}

/// The producer.
#[derive(Debug)]
pub struct BoxesProducer {
    config: Config,
}

/// Left, top, right, bottom.
type Corners = [usize; 4];

impl Producer for BoxesProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        let Config { batch_size, side, most_boxes } = *config;
        let most = batch_size.saturating_mul(most_boxes);
        Ok(Schema::new([
            ArraySpec::new("image", DType::U8, [batch_size, side, side]),
            ArraySpec::new("boxes", DType::F32, [most, 4]).at_most([0]),
            ArraySpec::new("picture", DType::I64, [most]).at_most([0]),
        ])?)
    }

    fn new(config: Config, _context: &WorkerContext) -> Result<Self> {
        Ok(Self { config })
    }

    fn produce(
        &mut self,
        message: Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        slot.set_rows(message.items.len())?;
        let mut images = slot.array::<u8, Ix3>("image")?;
        let mut boxes: Vec<(i64, Corners)> = Vec::new();
        for (picture, image) in (0..).zip(images.outer_iter_mut()) {
            let found = self.draw(image, context.rng());
            boxes.extend(found.into_iter().map(|corners| (picture, corners)));
        }
        // Only now it is known how many there are.
        slot.set_shape("boxes", [boxes.len(), 4])?;
        slot.set_shape("picture", [boxes.len()])?;
        let mut corners = slot.array::<f32, Ix2>("boxes")?;
        let mut pictures = slot.array::<i64, Ix1>("picture")?;
        for ((mut row, to), (picture, from)) in corners.outer_iter_mut().zip(&mut pictures).zip(&boxes) {
            row.iter_mut().zip(from).for_each(|(to, &from)| *to = from as f32);
            *to = *picture;
        }
        Ok(())
    }
}

impl BoxesProducer {
    /// Draws any number of boxes into an empty picture.
    fn draw(&self, mut image: ArrayViewMut2<'_, u8>, rng: &mut Rng) -> Vec<Corners> {
        image.fill(0);
        let count = rng.random_range(0..=self.config.most_boxes);
        (0..count).map(|_| self.draw_box(&mut image, rng)).collect()
    }

    fn draw_box(&self, image: &mut ArrayViewMut2<'_, u8>, rng: &mut Rng) -> Corners {
        let side = self.config.side;
        let [left, top] = [(); 2].map(|()| rng.random_range(0..side));
        let [right, bottom] = [left, top].map(|from| rng.random_range(from + 1..=side));
        let level = rng.random_range(1..=u8::MAX);
        for mut row in image.outer_iter_mut().skip(top).take(bottom - top) {
            row.iter_mut().skip(left).take(right - left).for_each(|pixel| *pixel = level);
        }
        [left, top, right, bottom]
    }
}

cobuf_plugin_api::export_producer!(BoxesProducer);

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::Value;
    use cobuf_plugin_api::testing::{ProducerHarness, TestBatch};

    fn produce(most_boxes: usize, sequence: u64, items: &[u64]) -> TestBatch {
        let config = Config { batch_size: 3, side: 16, most_boxes };
        let mut producer = ProducerHarness::<BoxesProducer>::open(&config).unwrap();
        let items: Vec<Value> = items.iter().map(|&item| item.into()).collect();
        producer.produce(sequence, &Dictionary::new().with("items", items)).unwrap()
    }

    #[test]
    fn batch_has_as_many_boxes_as_its_pictures() {
        let mut lengths = std::collections::BTreeSet::new();
        for sequence in 0..50 {
            let batch = produce(2, sequence, &[7, 8, 9]);
            let boxes = batch.array::<f32, Ix2>("boxes").unwrap();
            let pictures = batch.array::<i64, Ix1>("picture").unwrap();
            assert_eq!((boxes.ncols(), boxes.nrows()), (4, pictures.len()));
            assert!(pictures.iter().is_sorted() && pictures.iter().all(|picture| (0..3).contains(picture)));
            lengths.insert(boxes.nrows());
            let images = batch.array::<u8, Ix3>("image").unwrap();
            for (corners, &picture) in boxes.outer_iter().zip(&pictures) {
                let [left, top, right, bottom] = [0, 1, 2, 3].map(|side| corners[side] as usize);
                assert!(left < right && right <= 16 && top < bottom && bottom <= 16);
                assert_ne!(images[[picture as usize, top, left]], 0, "a box is not empty");
            }
        }
        assert_eq!(lengths, (0..=6).collect(), "every number of boxes occurs");
    }

    #[test]
    fn shorter_batch_has_fewer_pictures_and_their_boxes() {
        let batch = produce(200, 0, &[1]);
        assert_eq!(batch.array::<u8, Ix3>("image").unwrap().dim(), (1, 16, 16));
        assert!(batch.array::<i64, Ix1>("picture").unwrap().iter().all(|&picture| picture == 0));
        assert_eq!(produce(200, 0, &[]).array::<f32, Ix2>("boxes").unwrap().dim(), (0, 4));
    }

    #[test]
    fn schema_shows_the_most() {
        let config = Config { batch_size: 3, side: 16, most_boxes: 200 };
        assert_eq!(
            BoxesProducer::schema(&config).unwrap().to_string(),
            "image u8 (3, 16, 16), boxes f32 (≤600, 4), picture i64 (≤600,)"
        );
    }
}
