//! The memory that belongs to one process alone.

use std::fs;

use anyhow::{Context, Result};

/// The bytes that no other process has. Shared mappings are left out: nobody else may have touched their pages yet.
///
/// # Errors
/// If the process is gone.
pub(crate) fn private_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps");
    Ok(private(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?))
}

fn private(smaps: &str) -> u64 {
    let (mut kilobytes, mut is_shared) = (0, false);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Private_Clean:" | "Private_Dirty:"), Some(count)) if !is_shared => {
                kilobytes += count.parse::<u64>().unwrap_or_default();
            }
            // A mapping's first line: its addresses and what may be done there.
            (Some(addresses), Some(mode)) if !addresses.ends_with(':') => is_shared = mode.ends_with('s'),
            _ => {}
        }
    }
    kilobytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_pages_of_shared_mappings_do_not_count() {
        let smaps = "7f00-7f90 rw-s 00000000 00:01 2 /dev/shm/x (deleted)\nRss: 4096 kB\nPrivate_Dirty: 512 kB\n\
                     7fa0-7fb0 rw-p 00000000 00:00 0\nRss: 12 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty: 8 kB\nVmFlags: rd\n";
        assert_eq!(private(smaps), 12 * 1024);
        assert!(private_bytes(std::process::id()).unwrap() > 0);
    }
}
