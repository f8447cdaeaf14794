//! `cobuf run` with jailed workers.

use std::fs;
use std::path::Path;

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::{cobuf, isolated, plugin, repository};
use serde_json::Value;

/// A run of pictures that lie in the folder `pictures` beside the pipeline file, with this table.
fn pictures(table: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    for class in fs::read_dir(repository().join("examples/images")).unwrap() {
        let class = class.unwrap().path();
        if class.is_dir() {
            copy(&class, &pictures.join(class.file_name().unwrap()));
        }
    }
    let text = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ folder = \"pictures\", epochs = 1, batch_size = 4 }}\n[producer]\nplugin = {:?}\n\
         config = {{ height = 32, width = 32, batch_size = 4 }}\n[run]\nworkers = 2\n{table}\n",
        plugin("image-commander").path(),
        plugin("image-producer").path(),
    );
    let file = folder.path().join("pipeline.toml");
    fs::write(&file, text).unwrap();
    // From elsewhere: paths are relative to the file.
    let output = output(cobuf().current_dir("/").arg("run").arg(&file).arg("--json"));
    let last = stdout(&output).lines().last().unwrap_or_else(|| panic!("{}", stderr(&output)));
    let mut report: Value = serde_json::from_str(last).unwrap();
    report["said"] = stderr(&output).into();
    report
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn jailed_workers_read_what_the_pipeline_lists() {
    let _leaks = isolated!();
    let free = pictures("");
    let jailed = pictures("[sandbox]\nread = [\"pictures\"]");
    assert_eq!(free["sandbox"], Value::Null);
    assert_eq!(jailed["sandbox"]["files"], "landlock");
    assert_eq!((&jailed["content_digest"], &jailed["errors"]), (&free["content_digest"], &0.into()));
    assert!(jailed["batches"].as_u64().unwrap() > 0);
    let blind = pictures("[sandbox]");
    assert_eq!((&blind["batches"], &blind["errors"]), (&0.into(), &jailed["batches"]));
    let said = blind["said"].as_str().unwrap();
    assert!(said.contains("pictures/") && said.contains("Permission denied"), "{said}");
    assert!(said.contains("the worker is in a sandbox: list what it needs in the sandbox's read"), "{said}");
}

#[test]
fn option_makes_a_jail_or_leaves_out_the_pipelines() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 4\nepochs = 1", "");
    let jailed = pipeline.report(&["--sandbox"]);
    assert_eq!(jailed["sandbox"]["system_calls"], "seccomp");
    assert_eq!(pipeline.report(&["--sandbox=best-effort"])["sandbox"], jailed["sandbox"]);
    let mut text = fs::read_to_string(pipeline.path()).unwrap();
    text.push_str("[sandbox]\nthreads = false\n");
    fs::write(pipeline.path(), text).unwrap();
    assert_eq!(pipeline.report(&[])["sandbox"], jailed["sandbox"]);
    assert_eq!(pipeline.report(&["--sandbox=off"])["sandbox"], Value::Null);
    let shown = pipeline.run(&["--sandbox"]);
    assert!(
        stderr(&shown).contains("\n  sandbox        files by Landlock, network by "),
        "{}",
        stderr(&shown)
    );
}

#[test]
fn wrong_sandboxes_are_refused() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 4\nepochs = 1", "");
    let refused = pipeline.run(&["--sandbox=stern"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("expected strict, best-effort or off"), "{}", stderr(&refused));
    let text = fs::read_to_string(pipeline.path()).unwrap();
    for (table, reason) in [
        ("reads = []", "unknown field `reads`"),
        ("read = [\"nowhere\"]", "nowhere for the sandbox's setting read: No such file or directory"),
        ("extra_syscalls = [\"opne\"]", "extra_syscalls has \"opne\", which is no system call"),
    ] {
        fs::write(pipeline.path(), format!("{text}[sandbox]\n{table}\n")).unwrap();
        let refused = pipeline.run(&[]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(reason), "{}", stderr(&refused));
    }
}
