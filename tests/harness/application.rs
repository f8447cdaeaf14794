//! A test's second process: an application with another environment, or one that is killed.
//!
//! The test starts itself once more and tells the new process what to play. It asks
//! [`application`] first, which answers `None` in the test itself.

use std::env;
use std::process::{Command, Output, Stdio};

/// In the application's process, what it was told.
const APPLICATION: &str = "COBUF_TEST_APPLICATION";

/// What this process was told to play; `None` in the test itself.
pub(crate) fn application() -> Option<String> {
    env::var(APPLICATION).ok()
}

/// The test of this name, once more, as an application.
pub(crate) fn start_as_application(test: &str, told: &str) -> Command {
    let mut application = Command::new(env::current_exe().expect("a test has an executable"));
    application.args(["--exact", "--nocapture", test]).env(APPLICATION, told).stdin(Stdio::null());
    application
}

/// Runs the test of this name as an application, to its end.
pub(crate) fn run_as_application(test: &str, told: &str, environment: &[(&str, &str)]) -> Output {
    let mut application = start_as_application(test, told);
    application.envs(environment.iter().copied()).output().expect("the executable can be run again")
}
