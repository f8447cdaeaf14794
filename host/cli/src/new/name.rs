//! The names of new packages. They follow cargo's rules, so that the package can be built.

use anyhow::{Result, ensure};
use cobuf_host::PluginKind;

/// The most characters of a name, as on crates.io.
const MAX_CHARACTERS: usize = 64;

/// Rust's keywords in all editions, and names with another meaning in a build.
const TAKEN: &[&str] = &[
    "Self",
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "struct",
    "super",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "_",
    "alloc",
    "core",
    "proc_macro",
    "proc-macro",
    "std",
    "test",
    "cobuf-plugin-api",
    "cobuf_plugin_api",
];

/// Checks that a name has the form that any package's and folder's may have.
pub(super) fn check_form(name: &str) -> Result<()> {
    let mut characters = name.chars();
    let well_formed = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|other| other.is_ascii_alphanumeric() || matches!(other, '-' | '_'))
        && name.len() <= MAX_CHARACTERS;
    ensure!(
        well_formed,
        "{name:?} cannot be a package's name, expected a letter and then letters, digits, - or _, at most \
         {MAX_CHARACTERS} in all, without accents"
    );
    Ok(())
}

/// Checks that a package may have this name.
pub(super) fn check(name: &str) -> Result<()> {
    check_form(name)?;
    ensure!(
        !TAKEN.contains(&name),
        "{name:?} cannot be a package's name: Rust or cobuf have it for something else; expected another, such as \
         \"my-{name}\""
    );
    Ok(())
}

/// The name of a package beside or in `name`: `noise-commander` for `noise`, `noise-producer` or
/// `noise-pipeline`.
pub(super) fn of_member(name: &str, kind: PluginKind) -> String {
    let other = other(kind).to_string();
    let stem = [other.as_str(), "pipeline"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending)?.strip_suffix(['-', '_']))
        .unwrap_or(name);
    format!("{stem}-{kind}")
}

/// The other kind, which a pipeline needs as well.
pub(super) fn other(kind: PluginKind) -> PluginKind {
    match kind {
        PluginKind::Producer => PluginKind::Commander,
        PluginKind::Commander => PluginKind::Producer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_cannot_build_are_refused() {
        for name in ["noise", "digits-producer", "a1_b", "Noise", &"n".repeat(64)] {
            check(name).unwrap();
        }
        for name in ["", "1st", "-noise", "_", "noise!", "a/b", "..", "größe", "fn", "std", &"n".repeat(65)]
        {
            let said = check(name).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{name:?} cannot be a package's name")), "{said}");
            assert!(said.contains("expected "), "{said}");
        }
    }

    #[test]
    fn members_are_named_after_the_package() {
        assert_eq!(of_member("noise", PluginKind::Commander), "noise-commander");
        assert_eq!(of_member("noise-producer", PluginKind::Commander), "noise-commander");
        assert_eq!(of_member("draws_commander", PluginKind::Producer), "draws-producer");
        assert_eq!(of_member("noise-pipeline", PluginKind::Producer), "noise-producer");
        assert_eq!(of_member("producer", PluginKind::Commander), "producer-commander");
        assert_eq!(of_member("pipeline", PluginKind::Commander), "pipeline-commander");
    }
}
