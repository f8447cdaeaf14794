//! Seeds: a batch's content may depend on the run's seed and the message's sequence number, and on
//! no other source of randomness.

use rand::SeedableRng;
pub use rand_chacha::ChaCha8Rng as Rng;

/// The seed of the message `sequence` (from 0) in a run with the seed `run_seed`.
///
/// It takes two rounds of SplitMix64's output function (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014, with the constants of Vigna's `splitmix64.c`), so
/// that neighbouring runs and neighbouring messages have unrelated seeds. The function is part of
/// the format: changing it changes every run's content.
pub const fn message_seed(run_seed: u64, sequence: u64) -> u64 {
    split_mix(split_mix(run_seed) ^ sequence)
}

const fn split_mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The generator of a seed: ChaCha with 8 rounds. Its values are the same on every machine and in
/// every version.
pub fn generator(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_never_change() {
        // The first output of splitmix64.c for the state 0 is 0xe220a8397b1dcdaf.
        assert_eq!(split_mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(message_seed(0, 0), split_mix(0xe220_a839_7b1d_cdaf));
        assert_ne!(message_seed(0, 1), message_seed(1, 0));
    }
}
