//! Any text as a function in SSA form: the parser refuses it, or the verifier has an opinion and does not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_optimizer::{text, verify};

fuzz_target!(|input: &str| {
    if let Ok(function) = text::parse(input) {
        let _ = verify::verify(&function);
    }
});
