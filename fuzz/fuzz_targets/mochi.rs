//! A generated Mochi program and two random schedules, by the numbers that the input begins with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upshift_fuzz::campaign::{Kind, Subject, Verdict, check};

fuzz_target!(|bytes: &[u8]| {
    // What is missing is zero: the driver begins with short inputs.
    let number = |at: usize| bytes.iter().skip(8 * at).take(8).rev().fold(0, |n, &b| n << 8 | u64::from(b));
    let (program, schedules) = (number(0), [number(1), number(2)]);
    let subject = Subject::new(Kind::Mochi, program);
    let find = match check(&subject.ready(), schedules.into_iter(), |_| {}) {
        Verdict::Differ(d) => format!("{d:#?}\n{}", subject.text()),
        Verdict::Invalid(error) => error,
        Verdict::Agree(..) | Verdict::Skipped => return,
    };
    // Panics are kept and not printed, so a find says itself what it is.
    eprintln!("program {program}: {find}");
    std::process::abort();
});
