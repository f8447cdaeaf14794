//! A guide for authors of plugins, from `cobuf new` to a tuned producer.
//!
//! | Page | Content |
//! | --- | --- |
//! | [`first_steps`] | from nothing to a producer that runs, is tested and reloads itself |
//! | [`configuration`] | the settings of a plugin, and how wrong ones are refused |
//! | [`schema`] | arrays, how to fill them, shorter batches |
//! | [`commander`] | messages, their order, resumed runs |
//! | [`randomness`] | the same bytes from the same seed |
//! | [`errors`] | errors, panics, crashes and hangs, and how a run continues after each |
//! | [`metadata_and_logs`] | further values of a batch, and records along the way |
//! | [`testing`] | tests of a plugin and of a pipeline |
//! | [`debugging`] | gdb, perf and valgrind on a worker |
//! | [`sharing_data`] | tables and models that all workers share |
//! | [`threads_and_c_libraries`] | threads of your own, libraries that are not thread-safe, linking, C and C++ |
//! | [`releasing`] | compatibility, search path, replacing a plugin under a run |
//! | [`tuning`] | which part limits a run, and a checklist |
//!
//! The tests of this crate compile and run the Rust programs on these pages. The pages are also
//! files in `guide/`.

/// The pages as modules: rustdoc shows them, and the doctests run their programs.
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
