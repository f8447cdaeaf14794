//! Plugins and loaders in Python: the core of the package's own tests, which `.ci/python` runs all.

use std::io::Write;
use std::process::Command;

use crate::harness::repository;

/// The exit code if there is no Python, or if its packages cannot be had.
const LEFT_OUT: i32 = 77;

#[test]
fn loaders_and_producers_in_python_pass_their_tests() {
    let run = Command::new(repository().join("tests/python/run"))
        .args(["tests/python/test_loader.py", "tests/python/test_producers.py"])
        // For that one cargo compiles the host again, as these plugins alone want it.
        .args(["-k", "not compiled_plugins"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(LEFT_OUT) {
        // Past the test's own output, which nobody sees if it passes.
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    }
    assert!(run.status.success(), "{said}");
}
