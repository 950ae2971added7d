//! Any text goes through the front end as far as it gets: diagnostics, or a module that the verifier takes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // A refusal is as good as a module; a panic of the front end is not.
    if let Err(error) = upshift_fuzz::run::compile(text)
        && error.starts_with("panic")
    {
        // Panics are kept and not printed, so a find says itself what it is.
        eprintln!("{error}");
        std::process::abort();
    }
});
