//! Names of functions and lines, from a file's symbols and debug info.

use std::borrow::Cow;
use std::path::Path;

use addr2line::{Loader, Location, demangle_auto};

/// A file with code.
pub(super) struct Module {
    file_name: String,
    loader: Option<Loader>,
}

impl Module {
    pub(super) fn open(path: &Path) -> Self {
        let file_name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        // `[vdso]` and `(deleted)` are not files, and a relative name must not match a file by
        // chance.
        let loader = (path.is_absolute() && path.is_file()).then(|| Loader::new(path).ok()).flatten();
        Self { file_name, loader }
    }

    /// Adds one line for each function at an address: inlined functions first, then the function
    /// that contains them.
    pub(super) fn name(&self, address: u64, lookup: u64, lines: &mut Vec<String>) {
        let before = lines.len();
        if let Some(loader) = &self.loader {
            self.name_by(loader, lookup, lines);
        }
        if lines.len() == before {
            lines.push(format!("{}+{address:#x}", self.file_name));
        }
    }

    fn name_by(&self, loader: &Loader, lookup: u64, lines: &mut Vec<String>) {
        let symbol = loader.find_symbol(lookup).map(|symbol| demangle_auto(Cow::from(symbol), None));
        let mut found = Vec::new();
        if let Ok(mut frames) = loader.find_frames(lookup) {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.as_ref().and_then(|function| function.demangle().ok());
                found.push((name.map(Cow::into_owned), frame.location.and_then(place)));
            }
        }
        if found.is_empty() {
            found.push((None, None));
        }
        let last = found.len() - 1;
        for (index, (name, place)) in found.into_iter().enumerate() {
            let symbol = symbol.as_deref().filter(|_| index == last);
            let Some(name) = fuller(name, symbol) else { continue };
            lines.push(match place {
                Some(place) => format!("{name} at {place}"),
                None => format!("{name} in {}", self.file_name),
            });
        }
    }
}

/// The symbol's name if debug info has none, or only its last part, as line tables do.
fn fuller(name: Option<String>, symbol: Option<&str>) -> Option<String> {
    let Some(name) = name else { return symbol.map(str::to_owned) };
    let last_part = name.split('<').next().unwrap_or_default();
    match symbol {
        Some(symbol) if !last_part.contains("::") && symbol.contains(last_part) => Some(symbol.to_owned()),
        _ => Some(name),
    }
}

fn place(location: Location<'_>) -> Option<String> {
    let file = without_compiler_hash(location.file?);
    Some(location.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")))
}

/// Removes the start of `/rustc/59807616…/library/std/src/rt.rs`: it names no folder on any disk.
fn without_compiler_hash(file: &str) -> &str {
    let rest = file.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/'));
    rest.map_or(file, |(_hash, path)| path)
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_hash_is_removed_from_a_path() {
        assert_eq!(without_compiler_hash("/rustc/0123abcd/library/std/src/rt.rs"), "library/std/src/rt.rs");
        assert_eq!(without_compiler_hash("/home/x/src/lib.rs"), "/home/x/src/lib.rs");
    }
}
