//! Every op compiles, and the list says which way each goes: `ops.txt` has a line for each. `BLESS=1` rewrites it.

use std::collections::BTreeMap;
use std::path::Path;

use upshift_baseline::{Input, Scratch, Way, compile};
use upshift_bytecode::testing::valid;
use upshift_bytecode::{Op, ValueType, verifier};
use upshift_runtime::host::{HostFunction, Ret};
use upshift_runtime::linked::{self, Tables};

/// A host function of any type; it never runs.
fn host() -> HostFunction {
    HostFunction::dynamic(|ctx, _| {
        Ok(match ctx.result_type() {
            Some(ValueType::Cell(_)) => Ret::Val(ctx.nil()),
            _ => Ret::Nothing,
        })
    })
}

#[test]
fn every_op_compiles_one_way_or_another() {
    let mut ways: BTreeMap<&str, Vec<Way>> = BTreeMap::new();
    let mut scratch = Scratch::default();
    for seed in 0..400 {
        let module = valid(seed);
        verifier::verify(&module).expect("generated modules are valid");
        let host = host();
        let module = linked::link(&module, &Tables::default(), &|_| Some(host.clone())).expect("it links");
        for meta in &module.functions[..module.guest_functions as usize] {
            for pin in [true, false] {
                let code = &module.code[meta.start as usize..];
                let input = Input { meta, code, facts: &*module, map: true, pin };
                let machine = compile(input, &mut scratch)
                    .unwrap_or_else(|_| panic!("seed {seed}: {} was refused", meta.name));
                for &(op, way) in &machine.ways {
                    ways.entry(op.info().mnemonic).or_default().push(way);
                }
                scratch.recycle(machine);
            }
        }
    }
    let mut text = String::new();
    for &op in Op::ALL {
        let name = op.info().mnemonic;
        // No module contains the engine's own op; C functions may do anything, so no generated module calls any.
        if op == Op::TierEntry || name.starts_with("call.c.") {
            continue;
        }
        let mut all = ways.remove(name).unwrap_or_else(|| panic!("{name} does not occur"));
        all.sort_unstable();
        all.dedup();
        let all: Vec<String> = all.into_iter().map(Way::text).collect();
        text.push_str(&format!("{name}: {}\n", all.join(" | ")));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ops.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).expect("it can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let different = expected.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(expected == text, "ops.txt is not what the compiler does: {different:?}; run with BLESS=1");
}
