//! Finds the Python interpreter for plugins that are Python code, as uv and ruff do: that of the
//! active environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable with the interpreter of the package whose script has started the
/// command.
const OF_PACKAGE: &str = "COBUF_PYTHON";
/// The places in an environment's folder.
const IN_ENVIRONMENT: &str = "bin/python";

/// An interpreter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    pub(super) path: PathBuf,
    /// Why it is this one, such as `VIRTUAL_ENV`.
    pub(super) because: String,
}

/// The interpreter that was given, or the first one of: the package's own, the active virtual or
/// conda environment, a `.venv` in this folder or a parent of it, the `PATH`. As an error, where was
/// looked.
pub(super) fn find(
    given: Option<&Path>,
    folder: &Path,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Interpreter, String> {
    if let Some(given) = given {
        return Ok(Interpreter { path: given.to_owned(), because: "it was given".to_owned() });
    }
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let environment = |name: &'static str| set(name).map(|folder| (name, folder.join(IN_ENVIRONMENT)));
    let own = folder.ancestors().map(|folder| folder.join(".venv")).find(|venv| venv.is_dir());
    let has_own = own.is_some();
    let own = own.map(|venv| (".venv", venv.join(IN_ENVIRONMENT)));
    let conda = environment("CONDA_PREFIX");
    // Conda's base environment is active in every shell, so a folder's own one comes before it.
    let is_base = set("CONDA_DEFAULT_ENV").is_some_and(|name| name == Path::new("base"));
    let last = if is_base { [own, conda] } else { [conda, own] };
    let environments: Vec<_> = [set(OF_PACKAGE).map(|path| (OF_PACKAGE, path)), environment("VIRTUAL_ENV")]
        .into_iter()
        .chain(last)
        .flatten()
        .collect();
    let path = set("PATH").unwrap_or_default();
    let on_path = ["python3", "python"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| ("PATH", folder.join(name))));
    if let Some((because, path)) =
        environments.iter().cloned().chain(on_path).find(|(_, path)| path.is_file())
    {
        return Ok(Interpreter { path, because: because.to_owned() });
    }
    let mut looked: Vec<String> = environments
        .iter()
        .map(|(because, path)| format!("{because}: there is no {}", path.display()))
        .collect();
    if !has_own {
        looked.push(format!("there is no .venv in {} or above", folder.display()));
    }
    looked.push("there is no python3 on the PATH".to_owned());
    Err(looked.join("; "))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use std::fs;

    /// Finds one in a folder with these files, with variables whose values begin with `/`: that is
    /// the folder.
    fn found(files: &[&str], from: &str, variables: &[(&str, &str)]) -> Result<(String, String), String> {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path.trim_start_matches('/'));
        for file in files {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "").unwrap();
        }
        let variable = |name: &str| {
            let (_, value) = variables.iter().find(|(other, _)| *other == name)?;
            Some(if value.starts_with('/') { at(value).into_os_string() } else { value.into() })
        };
        let root = folder.path().display().to_string();
        find(None, &at(from), variable)
            .map(|found| (found.path.display().to_string().replace(&root, ""), found.because))
            .map_err(|looked| looked.replace(&root, ""))
    }

    fn expected(path: &str, because: &str) -> Result<(String, String), String> {
        Ok((path.to_owned(), because.to_owned()))
    }

    #[test]
    fn active_environment_comes_before_a_folders_own_and_the_path() {
        let files = ["v/bin/python", "c/bin/python", "p/.venv/bin/python", "bin/python3", "own/python"];
        let find = |variables: &[(&str, &str)]| found(&files, "p/deep", variables);
        let (venv, path) = (("VIRTUAL_ENV", "/v"), ("PATH", "/nowhere:/bin"));
        let conda = ("CONDA_PREFIX", "/c");
        assert_eq!(
            find(&[venv, conda, ("COBUF_PYTHON", "/own/python")]),
            expected("/own/python", "COBUF_PYTHON")
        );
        assert_eq!(find(&[venv, conda, path]), expected("/v/bin/python", "VIRTUAL_ENV"));
        assert_eq!(find(&[conda, path]), expected("/c/bin/python", "CONDA_PREFIX"));
        assert_eq!(find(&[path]), expected("/p/.venv/bin/python", ".venv"));
        let base = ("CONDA_DEFAULT_ENV", "base");
        assert_eq!(find(&[conda, base]), expected("/p/.venv/bin/python", ".venv"));
        assert_eq!(found(&files, "q", &[conda, base]), expected("/c/bin/python", "CONDA_PREFIX"));
    }

    #[test]
    fn path_is_the_last_place() {
        let find = |files: &[&str]| found(files, "q", &[("VIRTUAL_ENV", ""), ("PATH", "/bin")]);
        assert_eq!(find(&["bin/python", "bin/python3"]), expected("/bin/python3", "PATH"));
        assert_eq!(find(&["bin/python"]), expected("/bin/python", "PATH"));
    }

    #[test]
    fn error_says_where_was_looked() {
        let variables = [("VIRTUAL_ENV", "/gone"), ("PATH", "/bin")];
        assert_eq!(
            found(&[], "q", &variables).unwrap_err(),
            "VIRTUAL_ENV: there is no /gone/bin/python; there is no .venv in /q or above; \
             there is no python3 on the PATH"
        );
    }

    #[test]
    fn given_interpreter_is_taken() {
        let found = find(Some(Path::new("/any/python")), Path::new("/"), |_| None).unwrap();
        assert_eq!(found.path, Path::new("/any/python"));
    }
}
