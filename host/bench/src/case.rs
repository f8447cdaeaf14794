//! The definition of a case.

use anyhow::Result;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

use crate::plugins::Plugins;

/// Something that is measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The names of the plugins that it needs.
    pub(crate) plugins: &'static [&'static str],
    pub(crate) measure: fn(&Plan, &Plugins) -> Result<Vec<Figure>>,
}

/// The plugins of the cases that fill arrays.
pub(crate) const FILLING: &[&str] = &["fill-producer", "list-commander"];

/// The ratio that counts as flat; the rest is the noise of a shared machine.
pub(crate) const FLAT: Bound = Bound::AtMost(1.25);
