//! The text form against texts that are nearly right: an answer, never a panic, and what is accepted survives a round trip.

use super::*;
use crate::eval::random::Random;
use crate::verify::verify;

/// The texts of the file tests, which have all syntax.
fn texts() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filetests/ssa");
    let paths = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == "ssa")).collect();
    paths.sort();
    paths.into_iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

fn check(text: &str) {
    if let Ok(func) = parse(text) {
        let printed = print(&func);
        let again = parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}\nfrom\n{text}"));
        assert_eq!(print(&again), printed, "from\n{text}");
        // It may say anything, but not panic.
        let _ = verify(&func);
    }
}

#[test]
fn changed_texts() {
    let texts = texts();
    let pieces: Vec<&str> = texts.iter().flat_map(|t| t.split_inclusive(' ')).collect();
    let mut random = Random(1);
    for _ in 0..20_000 {
        let text = &texts[random.below(texts.len())];
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=random.below(3) {
            let at = random.below(chars.len());
            match random.below(4) {
                0 => drop(chars.remove(at)),
                1 => {
                    chars[at] =
                        random.pick(&['v', '0', '9', '-', '#', '[', ')', ',', '\n', ' ', '"', 'é', '.'])
                }
                2 => {
                    let line: Vec<char> = random.pick(&pieces).chars().collect();
                    chars.splice(at..at, line);
                }
                _ => {
                    let end = (at + random.below(30)).min(chars.len());
                    let cut: Vec<char> = chars.drain(at..end).collect();
                    let to = random.below(chars.len().max(1));
                    chars.splice(to..to, cut);
                }
            }
        }
        check(&chars.into_iter().collect::<String>());
    }
}

#[test]
fn lines_in_another_place() {
    let texts = texts();
    let mut random = Random(2);
    for _ in 0..20_000 {
        let mut lines: Vec<&str> = texts[random.below(texts.len())].lines().collect();
        for _ in 0..=random.below(4) {
            let (from, to) = (random.below(lines.len()), random.below(lines.len()));
            match random.below(3) {
                0 => lines.swap(from, to),
                1 => lines.insert(to, lines[from]),
                _ if lines.len() > 1 => drop(lines.remove(from)),
                _ => {}
            }
        }
        check(&lines.join("\n"));
    }
}

#[test]
fn errors_name_the_line() {
    for (text, expected) in [
        ("", "line 0: no function"),
        ("function \"f\" {", "line 1: the function does not end"),
        ("function \"f\" {\n}\nx", "line 3: text behind the function"),
        ("function \"f\" {\nblock0:\nv1 = frob\n}", "line 3: there is no op `frob`"),
        ("function \"f\" {\nblock0:\nblock0:\n}", "line 3: block0 is defined twice"),
        ("function \"f\" {\nblock0:\nreturn v7\n}", "line 3: v7 is not defined"),
        ("function \"f\" {\nblock0:\nv0 = call\n}", "line 3: the type of v0 is not known"),
        ("function \"f\" {\nblock4294967295:\n}", "line 2: expected a state, a site or a block"),
        (
            "function \"f\" {\nblock0:\nv0 = iconst 99999999999999999999\n}",
            "line 3: 99999999999999999999 is no number of 64 bits",
        ),
        ("function \"f\\x\" {\n}", "line 1: unknown escape in a string"),
        (
            "function \"f\" {\nwatches [2, 2]\n}",
            "line 2: watches are named once, in the order of their numbers",
        ),
    ] {
        assert_eq!(parse(text).err().map(|e| e.to_string()).as_deref(), Some(expected));
    }
}

#[test]
fn bits_of_values() {
    for (ty, text) in [
        (Type::Int, "-5"),
        (Type::Float, "-0.0"),
        (Type::Float, "0x7ff0000000000000"),
        (Type::Float, "1e-7"),
        (Type::Cell, "nil"),
        (Type::Cell, "17"),
        (Type::Cell, "2.5"),
        (Type::Cell, "1e300"),
        (Type::Cell, "0x1000"),
        (Type::Ptr, "0x1000"),
    ] {
        assert_eq!(parse_bits(ty, text).map(|bits| print_bits(ty, bits)).as_deref(), Ok(text));
    }
    assert!(parse_bits(Type::Cell, "140737488355328").is_err(), "not inline");
    assert!(parse_bits(Type::Int, "1 2").is_err());
}
