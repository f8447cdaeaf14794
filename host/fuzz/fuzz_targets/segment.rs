//! Any bytes anywhere in the segment: see `cobuf_host`'s `fuzzing` module, which plays them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cobuf_host::fuzz_segment(bytes));
