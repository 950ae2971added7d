//! Any text as a function in SSA form: the parser refuses it, or printing what it read gives a text that says the same. The verifier
//! has an opinion and does not panic; what it takes, the passes take, and it does the same after them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_fuzz::ssa::{Checked, check};
use upshift_optimizer::text;

fuzz_target!(|input: &str| {
    let Ok(function) = text::parse(input) else { return };
    let printed = text::print(&function);
    let again = text::parse(&printed).expect("what was printed is read");
    assert_eq!(printed, text::print(&again));
    if let Checked::Differ(how) = check(&function, 0) {
        eprintln!("{how}");
        std::process::abort();
    }
});
