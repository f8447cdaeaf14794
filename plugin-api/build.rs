//! Passes the compiler's version, the target and the CPU features to the crate, which writes them
//! into the manifest.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(&rustc).arg("--version").output().unwrap_or_else(|error| {
        panic!("cannot run {} --version: {error}", rustc.display());
    });
    println!("cargo::rustc-env=COBUF_RUSTC={}", String::from_utf8_lossy(&version.stdout).trim());
    for (name, variable) in [("COBUF_TARGET", "TARGET"), ("COBUF_CPU_FEATURES", "CARGO_CFG_TARGET_FEATURE")] {
        println!("cargo::rustc-env={name}={}", env::var(variable).unwrap_or_default());
    }
}
