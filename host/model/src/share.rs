//! The share word, as in `segment/shares.rs`: the messages that a crew may claim.

use bytemuck::NoUninit;

/// A value of the share word.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Share(u8);

impl Share {
    /// All messages are the first crew's.
    pub(crate) const FIRST_CREW: Self = Self(0);
    /// The cut is being made.
    pub(crate) const CLOSED: Self = Self(2);

    pub(crate) fn open_for_newcomers(first: u8) -> Self {
        Self(first << 2 | 1)
    }

    pub(crate) fn first(self) -> u8 {
        self.0 >> 2
    }

    pub(crate) fn is_open_for(self, crew: u8) -> bool {
        self.0 & 3 == crew
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether a crew may claim this message.
    pub(crate) fn allows(self, crew: u8, message: u8) -> bool {
        match self {
            Self::CLOSED => false,
            _ if self.is_open_for(crew) => message >= self.first(),
            _ => message < self.first(),
        }
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::CLOSED => write!(f, "closed"),
            share => write!(f, "from {} on crew {}", share.first(), share.0 & 1),
        }
    }
}
