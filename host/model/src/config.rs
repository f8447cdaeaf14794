//! A run's parameters, and what must hold in it.

/// What the shipped protocol promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// A slot is touched by its holder only, and only its holder changes its word.
    Exclusive,
    /// The supervisor takes nothing from a process that lives.
    OnlyFromTheDead,
    /// No message is taken twice.
    Once,
    /// In deterministic mode, messages are taken in order.
    InOrder,
    /// A worker reads the message that was commanded, a consumer the array that belongs to it.
    Whole,
    /// An error is in a batch's place exactly if as many workers died of its message as may.
    ErrorInItsPlace,
    /// No message is queued that is older than the one that workers expect.
    Oldest,
    /// Where the producer's code is swapped: a batch below the cut is of the old edition, every other of the new.
    Edition,
    /// The consumer sees the end after it has taken all messages.
    Complete,
    /// When nobody can do anything any more, the stream was consumed, all slots are free, and a crew that was relieved has
    /// ended; also where a swap that may come does not.
    NotStuck,
    /// Whatever happened: without further deaths, the stream can still be consumed.
    CanFinish,
}

/// A run's parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) slots: usize,
    pub(crate) workers: usize,
    /// The workers of the crew that relieves them, at any time; 0 where nothing is swapped.
    pub(crate) newcomers: usize,
    pub(crate) messages: u8,
    pub(crate) crashes: u8,
    /// After so many deaths a message is given up; with [`u8::MAX`] none is, and nobody counts.
    pub(crate) max_attempts: u8,
    pub(crate) deterministic: bool,
    /// Whether the commander's plugin says that there is no next message, instead of a limit that is known before.
    pub(crate) plugin_ends: bool,
    /// The backlog at which a sleeping commander is woken.
    pub(crate) low: u8,
    /// Whether `wake_everyone` is one step.
    pub(crate) rouses_at_once: bool,
}
