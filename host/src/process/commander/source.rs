//! Where a commander's messages come from.

use cobuf_plugin_api::Report;

use crate::plugin::open::OpenCommander;
use crate::record::letter::Letter;

/// Where messages come from.
pub(super) enum Source<'a> {
    Plugin(OpenCommander),
    /// Given-up messages, in ascending order of their numbers.
    Letters(&'a [Letter]),
    /// A stream of so many messages, for tests.
    #[cfg(all(test, not(cobuf_loom)))]
    Counted(Counted),
}

impl Source<'_> {
    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Self::Plugin(commander) => commander.total,
            Self::Letters(letters) => Some(letters.last().map_or(0, |last| last.sequence + 1)),
            #[cfg(all(test, not(cobuf_loom)))]
            Self::Counted(_) => None,
        }
    }

    /// Passes the encoded message `sequence` to `take`, unless the stream is over.
    pub(super) fn next<T>(
        &mut self,
        sequence: u64,
        take: impl FnOnce(&[u8]) -> Result<T, Report>,
    ) -> Result<Option<T>, Report> {
        match self {
            Self::Plugin(commander) => commander.next(sequence)?.map(|message| take(&message)),
            Self::Letters(letters) => {
                let letter = letters.iter().find(|letter| letter.sequence == sequence);
                letter.map(|letter| take(&letter.encoded))
            }
            #[cfg(all(test, not(cobuf_loom)))]
            Self::Counted(counted) => counted.next(sequence).map(|message| take(&message)),
        }
        .transpose()
    }

    /// Advances from the message `from`, which would be next, to the message `to`.
    pub(super) fn skip(&mut self, from: u64, to: u64) -> Result<(), Report> {
        match self {
            Self::Plugin(commander) => commander.skip(from, to),
            Self::Letters(_) => Ok(()),
            #[cfg(all(test, not(cobuf_loom)))]
            Self::Counted(counted) => {
                counted.skip(from, to);
                Ok(())
            }
        }
    }

    pub(super) fn close(self) -> Result<(), Report> {
        match self {
            Self::Plugin(commander) => commander.close(),
            Self::Letters(_) => Ok(()),
            #[cfg(all(test, not(cobuf_loom)))]
            Self::Counted(_) => Ok(()),
        }
    }
}

/// A stream of `total` messages, each with its number.
#[cfg(all(test, not(cobuf_loom)))]
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) total: u64,
    /// How many messages it was asked for.
    pub(super) made: u64,
    /// The number that it would give next.
    pub(super) at: u64,
    /// It has said that there are no more.
    pub(super) ended: bool,
}

#[cfg(all(test, not(cobuf_loom)))]
impl Counted {
    fn next(&mut self, sequence: u64) -> Option<Vec<u8>> {
        assert_eq!((self.at, self.ended), (sequence, false), "asked out of turn");
        self.at += 1;
        self.made += 1;
        self.ended = sequence >= self.total;
        let message = cobuf_plugin_api::Dictionary::new().with("index", sequence);
        (!self.ended).then(|| cobuf_plugin_api::codec::encode("a message", &message).unwrap())
    }

    /// In O(1), as the models do.
    fn skip(&mut self, from: u64, to: u64) {
        assert_eq!(self.at, from);
        self.at = to;
    }
}
