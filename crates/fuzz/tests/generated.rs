//! Some generated Mochi programs under schedules of tiers, in every run of the tests; `cargo xtask fuzz` runs more.
//!
//! `UPSHIFT_FUZZ=7` runs the program with number 7 alone, `UPSHIFT_FUZZ=7..9000` those from 7 on; with `--nocapture` the numbers are
//! told before they run, which helps where the process dies.

#![cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]

use std::ops::Range;

use upshift_fuzz::campaign::{Kind, Subject, Verdict, check};
use upshift_fuzz::schedule;

/// How many programs a run of the tests tries.
const PROGRAMS: u64 = 200;
/// Schedules for each that optimize.
const SCHEDULES: u64 = 4;

fn numbers() -> (Range<u64>, bool) {
    let Ok(text) = std::env::var("UPSHIFT_FUZZ") else { return (0..PROGRAMS, false) };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let range = match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    };
    (range, true)
}

fn run(half: u64) {
    let (range, told) = numbers();
    let (mut programs, mut runs, mut fuel, mut failed) = (0, 0, 0, 0);
    for seed in range.filter(|seed| seed % 2 == half) {
        let subject = Subject::new(Kind::Mochi, seed);
        let verdict = check(&subject.ready(), schedule::of_program(seed, SCHEDULES), |schedule| {
            if told {
                println!("program {seed}, schedule {schedule}");
            }
        });
        match verdict {
            Verdict::Agree(units, count, end) => {
                programs += 1;
                runs += count;
                fuel += units;
                failed += u64::from(end != "no-error");
            }
            Verdict::Skipped => {}
            Verdict::Invalid(error) => panic!("program {seed} is refused: {error}\n{}", subject.text()),
            Verdict::Differ(d) => panic!(
                "program {seed}: `cargo xtask fuzz --mochi --seed {seed} --count 1 --schedules {SCHEDULES}` makes it smaller\n{}\n\
                 got {:#?}\nnot {:#?}\n{}",
                d.schedule,
                d.got,
                d.want,
                subject.text()
            ),
        }
    }
    println!("{programs} programs, {failed} of them end with an error, {runs} runs, {fuel} units of fuel");
    assert!(told || programs > PROGRAMS / 2 * 9 / 10, "{programs} programs");
    assert!(told || failed > 0 && failed < programs / 2, "{failed} programs end with an error");
}

#[test]
fn generated_programs_agree() {
    run(0);
}

#[test]
fn more_generated_programs_agree() {
    run(1);
}

#[test]
fn a_refused_module_is_a_find() {
    // All tiers refuse it alike, so no outcome differs.
    let text = "module \"m\"\nsig0 = ()\nfn0 \"p0\" sig0 {\n  code\n    jump 0\n}\n";
    let verdict = check(&upshift_fuzz::run::parse(text), std::iter::empty(), |_| {});
    assert!(matches!(&verdict, Verdict::Invalid(error) if error.starts_with("not loaded")), "{verdict:?}");
}
