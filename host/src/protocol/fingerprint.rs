//! An array's content as a few numbers, by which batches of two processes are compared: a digest of
//! each of its blocks.
//!
//! In an array of up to [`BLOCKS`] elements, each element is a block, so that a difference is known
//! by its element.

use cobuf_plugin_api::lengths::Extent;
use cobuf_plugin_api::{ArraySpec, Schema, Shape};
use xxhash_rust::xxh3::xxh3_64;

use super::examination::Filled;

/// The most blocks of an array. With the most arrays, they take a third of an event.
const BLOCKS: usize = 128;

/// The digests of an array's blocks; `bytes` are those that the batch uses.
pub(crate) fn blocks(array: &ArraySpec, bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(block_elements(array) * array.dtype().size()).map(xxh3_64).collect()
}

/// The digest of bytes that are compared as a whole.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Computed from the whole array, so that shorter batches have the same blocks.
fn block_elements(array: &ArraySpec) -> usize {
    array.elements().div_ceil(BLOCKS)
}

/// Describes the first difference between the arrays of two batches of one message; `None` if they
/// are equal.
pub(crate) fn difference(schema: &Schema, expected: &Filled, found: &Filled) -> Option<String> {
    if expected.rows != found.rows {
        let rows = |filled: &Filled| filled.rows.map_or("all".to_owned(), |rows| rows.to_string());
        return Some(format!("it has {} rows, before it had {}", rows(found), rows(expected)));
    }
    for (number, array) in schema.arrays().iter().enumerate() {
        let shape = |filled: &Filled| shape_in(schema, number, filled);
        if shape(expected) != shape(found) {
            let (name, found, before) = (array.name(), shape(found), shape(expected));
            return Some(format!(
                "array {name:?} has shape {}, before it had {}",
                Shape(&found),
                Shape(&before)
            ));
        }
        let (before, after) = (&expected.blocks[number], &found.blocks[number]);
        let Some(block) = before.iter().zip(after).position(|(before, after)| before != after) else {
            continue;
        };
        let (first, length) = (block * block_elements(array), block_elements(array));
        let exact = found.first_difference.filter(|&(array, _)| array == number);
        let place = match exact {
            Some((_, element)) => format!("at element {element}"),
            None if length == 1 => format!("at element {first}"),
            None => format!("in elements {first} to {}", (first + length).min(array.elements()) - 1),
        };
        return Some(format!("array {:?} differs first {place}", array.name()));
    }
    None
}

/// The number of bytes that a batch uses of its arrays.
pub(crate) fn bytes(schema: &Schema, filled: &Filled) -> usize {
    let of = |(number, array): (usize, &ArraySpec)| {
        shape_in(schema, number, filled).iter().product::<usize>() * array.dtype().size()
    };
    schema.arrays().iter().enumerate().map(of).sum()
}

fn shape_in(schema: &Schema, array: usize, filled: &Filled) -> Vec<usize> {
    let lengths = filled.lengths.get(schema.lengths_of(array)).unwrap_or_default();
    schema.arrays()[array].shape_in(Extent { rows: filled.rows, lengths }).collect()
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use cobuf_plugin_api::DType;

    fn filled(schema: &Schema, contents: &[&[u8]]) -> Filled {
        let blocks =
            schema.arrays().iter().zip(contents).map(|(array, bytes)| blocks(array, bytes)).collect();
        let (lengths, overruns) = (schema.most_lengths().collect(), Vec::new());
        Filled { rows: schema.rows(), lengths, metadata: 0, blocks, first_difference: None, overruns }
    }

    #[test]
    fn the_first_difference_is_named() {
        let schema =
            Schema::new([ArraySpec::new("x", DType::U16, [4]), ArraySpec::new("y", DType::U8, [1024])])
                .unwrap();
        let (x, mut y) = ([0; 8], [0; 1024]);
        let before = filled(&schema, &[&x, &y]);
        assert_eq!(difference(&schema, &before, &before), None);
        y[1000] = 1;
        let told = |x: &[u8], y: &[u8]| difference(&schema, &before, &filled(&schema, &[x, y])).unwrap();
        assert_eq!(told(&x, &y), "array \"y\" differs first in elements 1000 to 1007");
        assert_eq!(told(&[0, 0, 0, 0, 0, 1, 0, 0], &y), "array \"x\" differs first at element 2");
        let mut shorter = filled(&schema, &[&x[..6], &y]);
        shorter.rows = Some(3);
        assert_eq!(difference(&schema, &before, &shorter).unwrap(), "it has 3 rows, before it had all");
    }

    #[test]
    fn another_length_is_named_before_the_content() {
        let schema = Schema::new([ArraySpec::new("boxes", DType::U8, [3, 2]).at_most([0])]).unwrap();
        let (before, mut after) = (filled(&schema, &[&[1; 6]]), filled(&schema, &[&[1; 4]]));
        after.lengths = vec![2];
        assert_eq!((bytes(&schema, &before), bytes(&schema, &after)), (6, 4));
        assert_eq!(
            difference(&schema, &before, &after).unwrap(),
            "array \"boxes\" has shape (2, 2), before it had (3, 2)"
        );
    }
}
