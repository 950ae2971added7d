//! Any text as a module in text form: the parser refuses it, or printing what it read gives a text that says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_bytecode::text;

fuzz_target!(|input: &str| {
    let Ok(module) = text::parse(input) else { return };
    let printed = text::print(&module);
    let again = text::parse(&printed).expect("what was printed is read");
    assert_eq!(printed, text::print(&again));
});
