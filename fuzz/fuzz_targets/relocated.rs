#![no_main]
#![allow(missing_docs, reason = "the library says what it proves")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::relocated(data));
