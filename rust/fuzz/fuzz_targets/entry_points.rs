//! Any bytes: errors are fine, panics are not.
#![no_main]

#[path = "../../ndsc-core/tests/fuzz/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::call(bytes));
