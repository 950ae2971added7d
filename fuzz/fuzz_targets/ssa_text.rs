//! Any text as a function in SSA form: the parser refuses it, or printing what it read gives a text that says the same, and the verifier
//! has an opinion and does not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_optimizer::{text, verify};

fuzz_target!(|input: &str| {
    let Ok(function) = text::parse(input) else { return };
    let printed = text::print(&function);
    let again = text::parse(&printed).expect("what was printed is read");
    assert_eq!(printed, text::print(&again));
    let _ = verify::verify(&function);
});
