//! A guide for users of the host, from a pipeline file to a tuned application.
//!
//! | Page | Questions that it answers |
//! | --- | --- |
//! | [`pipeline_files`] | Which keys does a pipeline file have, with which types, defaults and ranges? |
//! | [`faults_and_policies`] | What happens on an error, a panic, a crash, a missed deadline? |
//! | [`checkpoints`] | How does a run go on after its application died? |
//! | [`swapping`] | How is a plugin replaced under a running job? |
//! | [`embedding`] | How does an application use the host, step by step? |
//! | [`command`] | Which verbs, exit codes and reports does `cobuf` have? |
//! | [`tuning`] | How many workers and slots, and what limits a run? |
//! | [`submitting`] | How does an application say itself what is produced? |
//! | [`ranks`] | How do many processes and machines share one stream, under SLURM, Open MPI, torchrun, Kubernetes, Ray? |
//! | [`traces`] | What did each part of a run do when, and how does one recognise what is slow? |
//! | [`sandbox`] | What can a decoder reach that was taken over by its input? |
//! | [`metrics`] | How does a run come into Prometheus and Grafana, and when is there an alert? |
//!
//! The guide for authors of plugins is `cobuf_plugin_api::guide`. The Rust programs on these pages
//! are compiled with the tests of this crate. The pages are files in `guide/`, too.

/// The pages as modules: rustdoc shows them, and compiles their programs.
macro_rules! pages {
    ($($page:ident $file:literal)*) => {
        $(
            #[doc = include_str!(concat!("../guide/", $file))]
            pub mod $page {}
        )*
    };
}

pages! {
    pipeline_files "01-pipeline-files.md"
    faults_and_policies "02-faults-and-policies.md"
    checkpoints "03-checkpoints.md"
    swapping "04-swapping.md"
    embedding "05-embedding.md"
    command "06-command.md"
    tuning "07-tuning.md"
    submitting "08-submitting.md"
    ranks "09-ranks.md"
    traces "10-traces.md"
    metrics "11-metrics.md"
    sandbox "12-sandbox.md"
}

#[cfg(all(test, feature = "pipeline", feature = "metrics", feature = "sandbox", not(cobuf_loom)))]
mod tests {
    use std::fs;

    use crate::Pipeline;

    const PAGE: &str = include_str!("../guide/01-pipeline-files.md");

    /// The page's whole pipeline file.
    fn example() -> &'static str {
        let (_, rest) = PAGE.split_once("```toml\n").unwrap();
        rest.split_once("```").unwrap().0
    }

    fn read(text: &str) -> Result<Pipeline, crate::PipelineError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Pipeline::read(file.path())
    }

    #[test]
    fn example_of_the_guide_is_read() {
        let _ = read(example()).unwrap().builder().unwrap();
    }

    /// Asserts that a page explains each key of a table, of which there are at least so many.
    fn explains(page: &str, table: &str, least: usize) {
        let wrong = example().replace(&format!("[{table}]"), &format!("[{table}]\nno_such_key = 1"));
        let error = read(&wrong).unwrap_err();
        let reason = std::error::Error::source(&error).unwrap().to_string();
        let (_, expected) = reason.split_once("expected one of").unwrap();
        let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() >= least, "{reason}");
        for key in keys {
            assert!(page.contains(&format!("`{key}`")), "the guide does not explain {key}");
        }
    }

    #[test]
    fn every_key_of_a_run_is_in_the_guide() {
        explains(PAGE, "run", 20);
    }

    #[test]
    fn every_key_of_a_sandbox_is_in_the_guide() {
        explains(include_str!("../guide/12-sandbox.md"), "sandbox", 8);
    }
}
