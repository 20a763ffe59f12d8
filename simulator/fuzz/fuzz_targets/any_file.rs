//! No file makes the simulator panic: the property of `simulator/tests/it/any_file.rs`, with texts that a fuzzer
//! finds because they reach something new.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd simulator/fuzz
//! mkdir -p corpus/any_file && cp ../scenarios/*.toml corpus/any_file
//! cargo +nightly fuzz run any_file -- -max_total_time=600 -max_len=4096 -timeout=20
//! ```
#![no_main]

#[path = "../../tests/it/any_file/reading.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|text: &str| reading::read(text));
