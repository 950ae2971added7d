//! A generated Mochi program and two random schedules, by the numbers that the input begins with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_fuzz::campaign::{Kind, of_bytes};

fuzz_target!(|bytes: &[u8]| {
    if let Some(find) = of_bytes(Kind::Mochi, bytes) {
        eprintln!("{find}");
        std::process::abort();
    }
});
