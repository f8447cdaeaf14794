//! What a case is.

use anyhow::Result;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

use crate::plugins::Plugins;

/// A thing that is measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The plugins that it needs, by their names.
    pub(crate) plugins: &'static [&'static str],
    pub(crate) measure: fn(&Plan, &Plugins) -> Result<Vec<Figure>>,
}

/// The plugins of the cases that fill arrays.
pub(crate) const FILLING: &[&str] = &["fill-producer", "list-commander"];

/// What counts as flat: the noise of a shared machine.
pub(crate) const FLAT: Bound = Bound::AtMost(1.25);
