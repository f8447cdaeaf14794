//! Any bytes anywhere in the segment: plays them with `cobuf_host`'s `fuzzing` module.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cobuf_host::fuzz_segment(bytes));
