#![no_main]

#[path = "../promises.rs"]
#[allow(dead_code, reason = "one file holds the promises of all targets")]
mod promises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| promises::destination(bytes));
