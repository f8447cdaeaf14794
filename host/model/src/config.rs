//! A run's parameters, and the properties that must hold in it.

/// A promise of the shipped protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// Only a slot's holder touches the slot and changes its word.
    Exclusive,
    /// The supervisor takes nothing from a living process.
    OnlyFromTheDead,
    /// No message is taken twice.
    Once,
    /// In order, messages are taken in their order.
    InOrder,
    /// A worker reads the message that was commanded, and a consumer the array that belongs to it.
    Whole,
    /// An error is in a batch's place exactly if its message had as many deaths as are allowed.
    ErrorInItsPlace,
    /// No queued message is older than the one that workers expect.
    Oldest,
    /// In a swap, batches before the cut are of the old edition, and all others of the new.
    Edition,
    /// The consumer sees the end after it has taken all messages.
    Complete,
    /// If no process can go on, the stream was consumed, all slots are free, and a relieved crew
    /// has exited; also if a possible swap does not come.
    NotStuck,
    /// From each state the stream can still be consumed, without further deaths.
    CanFinish,
}

/// A run's parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) slots: usize,
    pub(crate) workers: usize,
    /// The workers of the second crew, which relieves the first at any time; 0 if there is no swap.
    pub(crate) newcomers: usize,
    pub(crate) messages: u8,
    pub(crate) crashes: u8,
    /// A message is given up after this many deaths. With [`u8::MAX`] none is, and deaths are not
    /// counted.
    pub(crate) max_attempts: u8,
    pub(crate) deterministic: bool,
    /// Whether the commander's plugin says that there is no next message. If not, the number is
    /// known before.
    pub(crate) plugin_ends: bool,
    /// The largest backlog at which a sleeping commander is woken.
    pub(crate) low: u8,
    /// Whether `wake_everyone` is one step.
    pub(crate) rouses_at_once: bool,
}
