//! The settings that say which plugins run, and how they are configured.

use serde::Serialize;

use super::{Commander, HostBuilder, encode};
use crate::plugin::Plugin;

/// # Plugins
impl HostBuilder {
    /// The commander, which says what to produce: one message for each batch. A plugin, or the
    /// application itself.
    ///
    /// Required: [`start`](Self::start) fails with
    /// [`StartError::NoPlugin`](crate::StartError::NoPlugin) without it. A package is built by
    /// `start`. If it is the application, the settings for a commander's plugin have no effect: its
    /// configuration, its deadline and what happens if it fails.
    ///
    /// ```
    /// # use cobuf_host::{Commander, Host, Plugin};
    /// let plugin = Host::builder().commander(Plugin::package("plugins/index-commander"));
    /// let application = Host::builder().commander(Commander::Application);
    /// ```
    pub fn commander(mut self, commander: impl Into<Commander>) -> Self {
        (self.commander.plugin, self.application) = match commander.into() {
            Commander::Plugin(plugin) => (Some(plugin), false),
            Commander::Application => (None, true),
        };
        self
    }

    /// The commander's configuration: a `serde` struct or map, or a [`Dictionary`](crate::Dictionary).
    ///
    /// Default: an empty dictionary. `start` fails with
    /// [`StartError::Config`](crate::StartError::Config) if the value is not a dictionary, and with
    /// [`StartError::Plugin`](crate::StartError::Plugin) if the plugin refuses it.
    ///
    /// ```
    /// # use cobuf_host::{Dictionary, Host};
    /// let builder = Host::builder().commander_config(Dictionary::new().with("length", 1797));
    /// ```
    pub fn commander_config(mut self, config: impl Serialize) -> Self {
        self.commander.config = encode(&config);
        self
    }

    /// The producer plugin, which fills the arrays of each batch in the worker processes.
    ///
    /// Required, as [`commander`](Self::commander).
    ///
    /// ```
    /// # use cobuf_host::{Host, Plugin};
    /// let builder = Host::builder().producer(Plugin::file("target/release/libmy_decoder.so"));
    /// ```
    pub fn producer(mut self, plugin: Plugin) -> Self {
        self.producer.plugin = Some(plugin);
        self
    }

    /// The producer's configuration. Default and errors as for
    /// [`commander_config`](Self::commander_config).
    ///
    /// ```
    /// # use cobuf_host::Host;
    /// #[derive(serde::Serialize)]
    /// struct Config {
    ///     batch_size: usize,
    /// }
    /// let builder = Host::builder().producer_config(Config { batch_size: 32 });
    /// ```
    pub fn producer_config(mut self, config: impl Serialize) -> Self {
        self.producer.config = encode(&config);
        self
    }
}
