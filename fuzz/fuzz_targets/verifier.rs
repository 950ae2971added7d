//! Any bytes as a module in binary form: decoder and verifier refuse it, or it is the same after it was written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_bytecode::{binary, verifier};

fuzz_target!(|bytes: &[u8]| {
    let Ok(module) = binary::decode(bytes) else { return };
    let verdict = verifier::verify(&module);
    let again = binary::decode(&binary::encode(&module)).expect("what was written is read");
    assert_eq!(verdict.is_ok(), verifier::verify(&again).is_ok());
});
