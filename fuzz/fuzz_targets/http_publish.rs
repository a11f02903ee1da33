//! See `outbox_relay::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outbox_relay::fuzzing::run("http_publish", data));
