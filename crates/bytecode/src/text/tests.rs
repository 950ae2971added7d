use super::{parse, print};
use crate::testing::{Random, garbage, valid};

#[track_caller]
fn survives(seed: u64, module: &crate::Module) {
    let text = print(module);
    match parse(&text) {
        Ok(back) => assert!(back == *module, "seed {seed}: changed\n{text}\n{}", print(&back)),
        Err(e) => panic!("seed {seed}: {e}\n{text}"),
    }
    let bytes = crate::binary::encode(module);
    assert!(crate::binary::decode(&bytes).as_ref() == Ok(module), "seed {seed}: the binary form changed");
}

#[test]
fn any_module_survives_both_forms() {
    for seed in 0..3000 {
        survives(seed, &garbage(seed));
    }
    for seed in 0..20 {
        survives(seed, &valid(seed));
    }
}

#[test]
fn broken_texts_give_errors_and_never_panic() {
    for seed in 0..3000 {
        let mut r = Random(seed);
        let mut text = print(&garbage(seed));
        for _ in 0..1 + r.below(3) {
            let chars: Vec<char> = text.chars().collect();
            let at = r.below(chars.len());
            let odd = ['"', '\\', '{', '}', '(', ')', '0', '9', 'c', 'w', '@', '.', '-', '\n', ' ', 'L', '?'];
            let length = r.below(4);
            let middle = r.pick(&odd);
            text = chars[..at]
                .iter()
                .copied()
                .chain([middle])
                .chain(chars[(at + length).min(chars.len())..].iter().copied())
                .collect();
        }
        if let Ok(module) = parse(&text) {
            survives(seed, &module);
        }
    }
}

#[test]
fn errors_name_their_place() {
    let error =
        parse("module \"m\"\nsig0 = ()\nfn0 \"f\" sig0 {\n  code\n    int.add i0, f1, i2\n}\n").unwrap_err();
    assert_eq!(error.to_string(), "5:17: expected an int register (`i` with a slot), found `f1`");
    let error = parse("module \"m\" fn0").unwrap_err();
    assert_eq!(error.to_string(), "1:15: expected a string, found the end");
    let deep =
        format!("module \"m\" global0 \"g\": {}any{}", "list.cell(".repeat(100_000), ")".repeat(100_000));
    assert!(parse(&deep).unwrap_err().message.contains("too deep"));
}

#[test]
fn nan_constants_keep_their_bits() {
    let text = "module \"m\"\nsig0 = ()\n\nfn0 \"f\" sig0 {  ; ()\n  cell constants float 0x7ff8000000000001\n  code\n}\n";
    assert_eq!(print(&parse(text).unwrap()), text);
}

#[test]
fn dumps_show_source_lines() {
    let text = "module \"m\"\nsig0 = ()\nsource0 \"x.src\" lines (0, 6)\nfn0 \"f\" sig0 {\n code\n nop @0:0..5 nop @0:6..9 return.void }";
    let module = parse(text).unwrap();
    let dump = super::dump(&module, |_| Some("first\nsecond\n"));
    assert!(dump.contains("  ; \"x.src\":1: first\n    nop"), "{dump}");
    assert!(dump.contains("  ; \"x.src\":2: second\n    nop"), "{dump}");
    assert_eq!(parse(&dump), Ok(module));
}
