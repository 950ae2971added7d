//! The modules of `filetests/run`: text, with what running them gives in the comments at the top.
//!
//! ```text
//! ; run name(1, 2.5) = 7
//! ; trap name(0): division-by-zero
//! ```
//!
//! Each runs as it is and with a collection at every allocation, as machine code several times, since optimized code is made of
//! what was seen. Mutants of all of them run too: whatever the verifier accepts must neither crash nor hang, under small limits.

mod common;

use std::path::Path;

use upshift::bytecode::{
    Bank, CellConst, CellType, Immediate, Module, Op, SigId, TypeId, ValueType, text, verifier,
};
use upshift::tiers::Driver;
use upshift::{Grants, InterruptHandle, Ret, Tier, TrapCode};
use upshift_runtime::host::HostFunction;
use upshift_runtime::instance::{Instance, InstanceConfig};
use upshift_runtime::linked::{self, Tables};
use upshift_runtime::value::Value;

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/run");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            (path.display().to_string(), std::fs::read_to_string(path).expect("a text"))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A host function of any type that answers with something of the wanted kind.
fn any_host() -> HostFunction {
    HostFunction::dynamic(|ctx, args| {
        for i in 0..args.len() {
            args.val(ctx, i)?;
        }
        Ok(match ctx.result_type() {
            None => Ret::Nothing,
            Some(ValueType::Int) => Ret::Int(3),
            Some(ValueType::Bool) => Ret::Bool(true),
            Some(ValueType::Float) => Ret::Float(2.5),
            Some(ValueType::Cell(_)) => Ret::Val(ctx.string("text of some length")?),
        })
    })
}

/// The tiers live as long as the instance.
type Ready = (Box<Instance>, Option<Box<Driver>>, u32, u32);

fn instance(module: &Module, stress: bool, small: bool) -> Ready {
    let tables = Tables::default();
    let host = any_host();
    let linked = linked::link(module, &tables, &|_| Some(host.clone())).expect("it links");
    let mut config = InstanceConfig::default();
    config.heap.stress = stress;
    config.heap.poison = true;
    if small {
        config.stack = 256 << 10;
        config.native_stack = 1 << 20;
        config.heap.limit = 16 << 20;
    }
    let run = common::run();
    let mut instance =
        Instance::new(&config, tables, Grants::none(), InterruptHandle::default(), run).expect("an instance");
    let tiers = common::install(&mut instance);
    instance.load(&linked).expect("it loads");
    (instance, tiers, linked.bases.functions, linked.guest_functions)
}

fn value(text: &str) -> Value {
    let text = text.trim();
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(i), _) => Value::small_int(i).expect("a small int"),
        (_, Ok(x)) => Value::float(x),
        _ => panic!("what is {text:?}?"),
    }
}

fn call(line: &str) -> (&str, Vec<Value>, &str) {
    let (name, rest) = line.split_once('(').expect("(");
    let (args, rest) = rest.split_once(')').expect(")");
    (name, args.split(',').filter(|a| !a.trim().is_empty()).map(value).collect(), rest)
}

#[test]
fn files_run_as_they_say() {
    let (mut checks, mut optimized, mut left) = (0, 0, Vec::new());
    let rounds = if common::native() { 10 } else { 1 };
    for (path, source) in files() {
        let module = text::parse(&source).unwrap_or_else(|e| panic!("{path}: {e}"));
        verifier::verify(&module).unwrap_or_else(|e| panic!("{path}: {e}"));
        for stress in [false, true] {
            let (mut instance, tiers, base, _) = instance(&module, stress, false);
            for line in (0..rounds).flat_map(|_| source.lines()) {
                let (line, traps) = match (line.strip_prefix("; run "), line.strip_prefix("; trap ")) {
                    (Some(line), _) => (line, false),
                    (_, Some(line)) => (line, true),
                    _ => continue,
                };
                let (name, args, rest) = call(line);
                let index = module.functions.iter().position(|f| f.name == name);
                let index = base + index.unwrap_or_else(|| panic!("{path}: no {name}")) as u32;
                let result = instance.call_function(index, None, &args);
                checks += 1;
                if traps {
                    let code = result.expect_err(line).code();
                    assert_eq!(
                        Some(code),
                        TrapCode::from_text(rest.trim_start_matches(':').trim()),
                        "{path}: {line}"
                    );
                } else {
                    let expected = value(rest.trim().trim_start_matches('='));
                    let result = result.unwrap_or_else(|e| panic!("{path}: {line}: {e}"));
                    assert!(result.identical(expected), "{path}: {line}: {result:?}");
                }
            }
            let counters = tiers.map(|driver| driver.counters()).unwrap_or_default();
            optimized += counters.optimized;
            if counters.deopts > 0 {
                left.push(path.rsplit('/').next().unwrap_or_default().to_owned());
            }
        }
    }
    assert!(checks > 20, "{checks}");
    // The tier that the binary is for ran.
    assert_eq!(optimized > 0, matches!(common::tier(), Tier::Optimized | Tier::Auto), "{optimized}");
    if common::tier() == Tier::Auto {
        for probe in ["number-policies.txt", "pairs.txt"] {
            assert!(left.iter().any(|file| file == probe), "no guard of {probe} left");
        }
    }
}

/// Xorshift: the same mutants in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }
    fn pick<'a, T>(&mut self, items: &'a mut [T]) -> Option<&'a mut T> {
        let i = self.below(items.len());
        items.get_mut(i)
    }
}

fn mutate(m: &mut Module, r: &mut Random) {
    let types = m.types.len();
    let cell = |r: &mut Random| CellType { id: TypeId(r.below(types) as u32), nullable: r.below(2) == 0 };
    for _ in 0..1 + r.below(3) {
        let at = r.below(m.functions.len());
        let signatures = m.signatures.len();
        let Some(f) = m.functions.get_mut(at) else { return };
        match r.below(20) {
            0..=11 => {
                let unit = 16 * r.below(4);
                let choice = r.below(6);
                let (few, some, any, op) = (r.below(8), r.below(30), r.next() as u16, r.below(Op::ALL.len()));
                if let Some(word) = r.pick(&mut f.code) {
                    let old = (word.0 >> unit) as u16;
                    let new = match choice {
                        0 => few as u16,
                        1 => some as u16,
                        2 => any,
                        3 => old.wrapping_add(1),
                        4 => old.wrapping_sub(1),
                        _ => op as u16,
                    };
                    word.0 = word.0 & !(0xFFFF << unit) | u64::from(new) << unit;
                }
            }
            12 | 13 if !f.code.is_empty() => {
                let (a, b) = (r.below(f.code.len()), r.below(f.code.len()));
                f.code.swap(a, b);
            }
            14 => {
                let ty = cell(r);
                if let Some(c) = r.pick(&mut f.cells) {
                    *c = ty;
                }
            }
            15 => {
                let bank = if r.below(2) == 0 { Bank::Int } else { Bank::Float };
                if let Some(b) = r.pick(&mut f.raws) {
                    *b = bank;
                }
            }
            16 => f.window = r.below(10) as u32,
            17 => f.signature = SigId(r.below(signatures) as u32),
            18 => {
                let ty =
                    [ValueType::Int, ValueType::Float, ValueType::Bool, ValueType::Cell(cell(r))][r.below(4)];
                if let Some(p) = r.pick(&mut m.signatures).and_then(|s| s.params.last_mut()) {
                    *p = ty;
                }
            }
            _ => {
                let nil = CellConst::Immediate(Immediate::Nil);
                let constant =
                    [CellConst::Int(5), CellConst::Float(1.5), nil, CellConst::Immediate(Immediate::None)]
                        [r.below(4)];
                if let Some(c) = r.pick(&mut f.cell_constants) {
                    *c = constant;
                }
            }
        }
    }
}

#[test]
fn mutants_that_verify_run_safely() {
    let seeds: Vec<Module> =
        files().iter().map(|(_, source)| text::parse(source).expect("a module")).collect();
    let mut r = Random(0x9E37_79B9_7F4A_7C15);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut module = seeds[r.below(seeds.len())].clone();
        mutate(&mut module, &mut r);
        if verifier::verify(&module).is_err() {
            continue;
        }
        accepted += 1;
        let stress = r.below(4) == 0;
        let (mut instance, _tiers, base, count) = instance(&module, stress, true);
        for index in base..base + count {
            let Some(meta) = instance.function(index).filter(|m| !m.environment) else { continue };
            let args: Vec<Value> = meta
                .params
                .iter()
                .map(|p| match p.ty {
                    ValueType::Int => Value::small_int(r.below(12) as i64 - 2).expect("a small int"),
                    ValueType::Bool => Value::TRUE,
                    ValueType::Float => Value::float(1.5),
                    ValueType::Cell(_) if r.below(2) == 0 => Value::NIL,
                    ValueType::Cell(_) => Value::short_string(b"ab").expect("a short string"),
                })
                .collect();
            instance.set_fuel(Some(if stress { 300 } else { 3_000 }));
            // Any answer will do.
            let _ = instance.call_function(index, None, &args);
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}
