//! Which environment variables the processes of a run with a sandbox get: by a list, since a variable is
//! where passwords and keys of services are.

use std::env;
use std::ffi::OsString;

use super::settings::Sandbox;

/// What programs and their libraries read to know where and how they run.
const KEPT: &[&str] = &[
    "CONDA_PREFIX",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "PWD",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
];
/// How the names of others begin: of cobuf, the loader, locales, and libraries that start threads.
const KEPT_BEGINNINGS: &[&str] = &[
    "COBUF_",
    "CUDA_",
    "GOMP_",
    "KMP_",
    "LC_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "NUMEXPR_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "PYTHON",
    "RAYON_",
    "RUST_",
];

/// The variables of this process that the run's processes get.
pub(crate) fn variables(sandbox: &Sandbox) -> Vec<(OsString, OsString)> {
    let is_kept = |name: &OsString| {
        name.to_str().is_some_and(|name| {
            KEPT.contains(&name)
                || KEPT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
                || sandbox.env.iter().any(|given| given == name)
        })
    };
    env::vars_os().filter(|(name, _)| is_kept(name)).collect()
}
