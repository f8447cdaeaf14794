//! Values of pipeline files that are more than one TOML type can say.

use serde::Deserialize;

use crate::host::builder::Workers;
#[cfg(feature = "metrics")]
use crate::metrics::{MetricsTarget, MetricsTargetError};
use crate::record::rank::Rank;
use crate::record::rank_error::RankError;

/// `auto` is looked up when the file is read.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RankText(pub(super) Rank);

impl TryFrom<String> for RankText {
    type Error = RankError;

    fn try_from(text: String) -> Result<Self, RankError> {
        text.parse().map(Self)
    }
}

#[cfg(feature = "metrics")]
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MetricsText(pub(super) MetricsTarget);

#[cfg(feature = "metrics")]
impl TryFrom<String> for MetricsText {
    type Error = MetricsTargetError;

    fn try_from(text: String) -> Result<Self, MetricsTargetError> {
        text.parse().map(Self)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) struct NumberOfWorkers(pub(super) Workers);

impl TryFrom<toml::Value> for NumberOfWorkers {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match &value {
            toml::Value::Integer(number) => usize::try_from(*number).ok().map(Workers::Fixed),
            toml::Value::String(text) if text == "auto" => Some(Workers::auto()),
            _ => None,
        }
        .map(Self)
        .ok_or_else(|| format!("{} is wrong, expected a number or \"auto\"", shown(&value)))
    }
}

/// A value as it stands in the file, if it is a simple one.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("{text:?}"),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(value) => value.to_string(),
        other => format!("a value of type {}", other.type_str()),
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartMethodName {
    ForkServer,
    Fork,
}
