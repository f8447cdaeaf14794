//! The split into training and test part: a fixed hash of a picture's path, so that no picture
//! depends on another.
//!
//! The path inside the folder, with `/` between its parts and in UTF-8, is hashed with 64-bit
//! FNV-1a. The upper and the lower half of the hash are XORed, as FNV's authors advise for fewer
//! bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). The picture is in the test part if these 32
//! bits, divided by 2^32, are below `test_fraction`. The hash is part of the format: a change moves
//! pictures from one part to the other.

use crate::config::{Part, Split};

impl Split {
    /// Whether the picture with this path inside the folder is in the part.
    pub(crate) fn has(&self, path: &str) -> bool {
        let is_test = place(path) < self.test_fraction;
        match self.part {
            Part::Train => !is_test,
            Part::Test => is_test,
            Part::All => true,
        }
    }
}

/// A number from 0 to below 1 that never changes for a path.
fn place(path: &str) -> f64 {
    let hash = fnv1a(path.as_bytes());
    let folded = (hash >> 32) as u32 ^ hash as u32;
    f64::from(folded) / 2f64.powi(32)
}

const fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let (mut hash, mut index) = (OFFSET_BASIS, 0);
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(PRIME);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_part(test_fraction: f64) -> Split {
        Split { part: Part::Test, test_fraction }
    }

    fn paths(pattern: impl Fn(u32) -> String) -> impl Iterator<Item = String> {
        (0..10_000).map(pattern)
    }

    #[test]
    fn hash_is_fnv_1a() {
        // Published test vectors of 64-bit FNV-1a.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn picture_never_changes_its_part() {
        let is_test = |path| test_part(0.2).has(path);
        let found: Vec<bool> =
            ["circle/00.jpg", "circle/01.png", "square/03.png", "triangle/08.jpg"].map(is_test).into();
        assert_eq!(found, [false, false, false, true]);
    }

    #[test]
    fn fraction_is_met_for_similar_names() {
        for fraction in [0.05, 0.2, 0.5] {
            for test_paths in [
                paths(|n| format!("a/{n}.png")).filter(|path| test_part(fraction).has(path)).count(),
                paths(|n| format!("daisy/img_{n:08}.jpeg"))
                    .filter(|path| test_part(fraction).has(path))
                    .count(),
                paths(|n| format!("n{n:05}/x.jpg")).filter(|path| test_part(fraction).has(path)).count(),
            ] {
                let found = test_paths as f64 / 10_000.0;
                assert!((found - fraction).abs() < 0.02, "{found} of the pictures, expected {fraction}");
            }
        }
    }

    #[test]
    fn parts_are_disjoint_and_complete() {
        for test_fraction in [0.0, 0.3, 1.0] {
            let train = Split { part: Part::Train, test_fraction };
            assert!(
                paths(|n| format!("a/{n}.png"))
                    .all(|path| train.has(&path) != test_part(test_fraction).has(&path))
            );
        }
        assert!(paths(|n| n.to_string()).all(|path| !test_part(0.0).has(&path) && test_part(1.0).has(&path)));
    }

    #[test]
    fn larger_fraction_only_adds_to_the_test_part() {
        assert!(
            paths(|n| n.to_string()).all(|path| !test_part(0.2).has(&path) || test_part(0.25).has(&path))
        );
    }
}
