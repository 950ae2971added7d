//! A generated Mochi program and two random schedules, by the numbers that the input begins with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_fuzz::campaign::{Kind, Subject, Verdict, check};

fuzz_target!(|input: [u64; 3]| {
    let [program, schedules @ ..] = input;
    let subject = Subject::new(Kind::Mochi, program);
    match check(&subject.ready(), schedules.into_iter(), |_| {}) {
        Verdict::Differ(d) => panic!("program {program}: {d:#?}\n{}", subject.text()),
        Verdict::Invalid(error) => panic!("program {program}: {error}"),
        _ => {}
    }
});
