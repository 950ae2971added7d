use super::{is_subtype, verify};
use crate::module::*;
use crate::testing::{Random, garbage, mutate, valid};
use crate::types::*;
use crate::{Inst, Op, binary, text};

#[test]
fn generated_modules_pass() {
    for seed in 0..60 {
        let module = valid(seed);
        if let Err(e) = verify(&module) {
            panic!("seed {seed}: {e}\n{}", text::print(&module));
        }
    }
}

#[test]
fn generated_modules_use_nearly_every_op() {
    let mut unused: std::collections::HashSet<Op> = Op::ALL.iter().copied().collect();
    for seed in 0..300 {
        for function in valid(seed).functions {
            for (_, inst) in crate::inst::instructions(&function.code) {
                unused.remove(&inst.unwrap().op);
            }
        }
    }
    // C functions may do anything; no module contains the engine's own op.
    let left_out = |name: &str| name.starts_with("call.c.") || name == "tier_entry";
    let unused: Vec<&str> =
        unused.into_iter().map(|op| op.info().mnemonic).filter(|n| !left_out(n)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn garbage_and_mutants_never_panic() {
    for seed in 0..5000 {
        let _ = verify(&garbage(seed));
    }
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..20 {
        let module = valid(seed);
        let mut r = Random(seed);
        for _ in 0..200 {
            let mut mutant = module.clone();
            for _ in 0..1 + r.below(3) {
                mutate(&mut mutant, &mut r);
            }
            let counter = if verify(&mutant).is_ok() { &mut accepted } else { &mut refused };
            *counter += 1;
        }
    }
    assert!(refused > 100 && accepted > 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn broken_bytes_never_panic() {
    for seed in 0..2000 {
        let mut r = Random(seed);
        let mut bytes = binary::encode(&garbage(seed));
        for _ in 0..1 + r.below(4) {
            let at = r.below(bytes.len());
            bytes[at] = r.bits() as u8;
        }
        bytes.truncate(if r.one_in(4) { r.below(bytes.len()) } else { bytes.len() });
        if let Ok(module) = binary::decode(&bytes) {
            let _ = verify(&module);
        }
    }
}

#[test]
fn subtypes() {
    let mut m = Module::default();
    m.records.push(Record { name: "r".into(), tag: 0, fields: vec![] });
    m.unions.push(Union { name: "u".into(), variants: vec![RecordId(0)] });
    m.signatures.push(Signature::default());
    let string = m.types.cell(HeapType::String);
    let maybe = m.types.nullable(HeapType::String);
    let results = m.types.cell(HeapType::Results);
    let record = m.types.cell(HeapType::Record(RecordId(0)));
    let union = m.types.cell(HeapType::Union(UnionId(0)));
    let closure = m.types.cell(HeapType::Closure(SigId(0)));
    let function = m.types.cell(HeapType::Function);
    let strings = m.types.cell(HeapType::ListCell(string));
    let anys = m.types.cell(HeapType::ListCell(ANY));
    let below =
        [(string, maybe), (string, ANY), (maybe, ANY), (ANY, results), (record, union), (closure, function)];
    for (a, b) in below {
        assert!(is_subtype(&m, a, b) && !is_subtype(&m, b, a), "{a:?} {b:?}");
        assert!(is_subtype(&m, a, a) && is_subtype(&m, a, results));
    }
    for (a, b) in [(strings, anys), (anys, strings), (results, ANY), (string, record)] {
        assert!(!is_subtype(&m, a, b), "{a:?} {b:?}");
    }
}

/// A function of a million instructions in blocks, with registers that cross them.
#[test]
fn large_functions_take_linear_time() {
    let registers: i64 = 20_000;
    let mut f =
        Function { signature: SigId(0), raws: vec![Bank::Int; registers as usize], ..Function::default() };
    let mut push = |op, operands: [i64; 3]| {
        let [a, b, c] = operands;
        let (words, n) = Inst { op, operands: [a, b, c, 0, 0, 0] }.encode();
        f.code.extend(&words[..n]);
    };
    for r in 0..registers {
        push(Op::IntConst, [2 + r, r, 0]);
    }
    for i in 0..200_000 {
        let r = |k: i64| 2 + (i * 7 + k * 13) % registers;
        push(Op::IntEqImmBranch, [r(0), 5, 4]);
        push(Op::IntAdd, [r(1), r(2), r(3)]);
        push(Op::IntAdd, [r(4), r(5), r(6)]);
        push(Op::IntSub, [r(7), r(8), r(9)]);
        push(Op::Nop, [0; 3]);
    }
    push(Op::ReturnVoid, [0; 3]);
    let module = Module { signatures: vec![Signature::default()], functions: vec![f], ..Module::default() };
    let start = std::time::Instant::now();
    verify(&module).unwrap();
    println!("verified {} words in {:?}", module.functions[0].code.len(), start.elapsed());
}
