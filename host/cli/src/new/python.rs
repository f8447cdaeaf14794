//! New plugins in Python: a module for each kind, their tests, and a pipeline of the two.

use std::path::Path;

use crate::args::NewKind;

/// The files, each with its path in the new folder and its content.
pub(super) fn files(name: &str) -> Vec<(String, String)> {
    let fill = |template: &str| template.replace("{{name}}", name);
    let file = |path: &str, content: &str| (path.to_owned(), content.to_owned());
    vec![
        file("producer.py", include_str!("templates/python/producer.py")),
        file("commander.py", include_str!("templates/python/commander.py")),
        file("test_plugins.py", include_str!("templates/python/test_plugins.py")),
        file(&format!("{name}.toml"), &fill(include_str!("templates/python/pipeline.toml.in"))),
        file("README.md", &fill(include_str!("templates/python/README.md.in"))),
        file(".gitignore", include_str!("templates/python/gitignore")),
    ]
}

pub(super) fn next_steps(kind: NewKind, name: &str, folder: &Path) -> String {
    let (what, sources) = match kind {
        NewKind::Pipeline => ("the pipeline", "producer.py and commander.py are the plugins"),
        NewKind::Producer => ("the producer", "producer.py is the plugin, commander.py gives it messages"),
        NewKind::Commander => {
            ("the commander", "commander.py is the plugin, producer.py has work for its messages")
        }
    };
    let run = format!("cobuf run {name}.toml");
    let width = run.len();
    format!(
        "made {what} {name} in {folder}, in Python; next, in an environment with the packages cobuf and pytest:\n\n  \
         cd {folder}\n  \
         {test:width$}  # tests both plugins\n  \
         {run}  # runs them\n\n\
         {sources}; README.md says more",
        folder = folder.display(),
        test = "python -m pytest",
    )
}
