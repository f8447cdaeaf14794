//! A guide for authors of plugins, from `cobuf new` to a tuned producer.
//!
//! | Page | What it answers |
//! | --- | --- |
//! | [`first_steps`] | How do I begin? |
//! | [`configuration`] | What can a user set, and what is refused? |
//! | [`schema`] | Which arrays, how are they filled, what of shorter batches? |
//! | [`commander`] | What are messages, who sends them, and what of resumed runs? |
//! | [`randomness`] | How does the same seed give the same bytes? |
//! | [`errors`] | What becomes of errors, panics, crashes, hangs? |
//! | [`metadata_and_logs`] | What else can be said of a batch, and along the way? |
//! | [`testing`] | How do I test a plugin, and a pipeline? |
//! | [`debugging`] | gdb, perf, valgrind: how do I look into a worker? |
//! | [`sharing_data`] | How do workers share tables and models? |
//! | [`threads_and_c_libraries`] | Threads of one's own; libraries that are not thread-safe; linking; C and C++ |
//! | [`releasing`] | What must match, where is it found, how is it replaced? |
//! | [`tuning`] | What holds a run up? And a checklist at the end. |
//!
//! The Rust programs on these pages are compiled and run with the tests of this crate. The pages are files in `guide/`, too.

/// The pages as modules: rustdoc shows them, and runs what is in them.
macro_rules! pages {
    ($($page:ident $file:literal)*) => {
        $(
            #[doc = include_str!(concat!("../guide/", $file))]
            pub mod $page {}
        )*
    };
}

pages! {
    first_steps "01-first-steps.md"
    configuration "02-configuration.md"
    schema "03-schema.md"
    commander "04-commander.md"
    randomness "05-randomness.md"
    errors "06-errors.md"
    metadata_and_logs "07-metadata-and-logs.md"
    testing "08-testing.md"
    debugging "09-debugging.md"
    sharing_data "10-sharing-data.md"
    threads_and_c_libraries "11-threads-and-c-libraries.md"
    releasing "12-releasing.md"
    tuning "13-tuning.md"
}
