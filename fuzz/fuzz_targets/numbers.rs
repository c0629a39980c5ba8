#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| veilsum_fuzz::numbers(data));
