#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::web::check(data));
