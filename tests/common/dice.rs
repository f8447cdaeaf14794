//! The random stream of tests: the same for the same seed, and the seed is printed.

/// A small generator. Tests rely on its spread only.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by this process's number, which is printed: so each run is another one.
    pub(crate) fn of_process() -> Self {
        Self::seeded(u64::from(std::process::id()))
    }

    /// With this seed, which is printed.
    pub(crate) fn seeded(seed: u64) -> Self {
        println!("seed {seed}");
        // Spread over all bits; a state of 0 would stay 0.
        Self((seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this.
    pub(crate) fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
