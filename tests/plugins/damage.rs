//! Damaged plugins end the process that loads them, never the host.

use crate::common::refusals::{bytes_of, file_of, folder};
use crate::common::{arrays_config, host, isolated, list, plugin, small};
use cobuf_host::{PluginError, StartError};
use std::time::Duration;

/// The bytes of a plugin that works.
fn good() -> Vec<u8> {
    bytes_of(&plugin("fill-producer"))
}

/// How long a damaged plugin may hang: a whole one that takes longer, on a slow machine, changes
/// nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What only the loader can see ends the process that loads, never the host.
#[test]
fn damaged_plugin_never_ends_the_host() {
    let _leaks = isolated!();
    let (folder, whole) = (folder(), good());
    let program_headers = 64..64 + 56 * 6;
    let mut loaded = 0;
    for at in (0..64).chain(program_headers.step_by(4)) {
        let mut bytes = whole.clone();
        bytes[at] = !bytes[at];
        let damaged = file_of(&folder, "damaged.so", &bytes);
        if damaged.manifest().is_err() {
            continue;
        }
        loaded += 1;
        let builder = host().commander(plugin("list-commander")).commander_config(list([]));
        let builder = builder.producer(damaged).producer_config(arrays_config(&small())).workers(1);
        match builder.start_timeout(PATIENCE).start() {
            Ok(_) => {}
            Err(StartError::Plugin(PluginError::Load { .. } | PluginError::Died { .. })) => {}
            // Its thread-local memory is too small, so it overwrites other memory of its process.
            Err(StartError::Process { .. }) => {}
            // A lock in memory that the loader should have zeroed.
            Err(StartError::Timeout { .. }) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(loaded > 10, "{loaded}");
}
