//! The promise of the verifier, tried out: random modules are changed in small ways, and whatever the verifier accepts
//! runs with small limits, plainly or with a collection at every allocation. Nothing may panic, crash or hang, and every tier
//! comes to the same.
//!
//! The modules run in a child process, which names each before it runs it, so that the one that crashed is known.
//! `UPSHIFT_MUTANTS` sets how many modules are made, each with its mutants, and `UPSHIFT_SEED` the first seed.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use upshift::bytecode::testing::{Random, mutate, valid};
use upshift::bytecode::{HeapType, KeyPolicy, Module, OrderPolicy, RecordId, ValueType, verifier};
use upshift::{Grants, InterruptHandle, Ret};
use upshift_runtime::host::{HostFunction, Storage};
use upshift_runtime::instance::{Instance, InstanceConfig};
use upshift_runtime::linked::{self, Tables};
use upshift_runtime::value::Value;

/// How many modules a plain `cargo test` makes.
const MODULES: u64 = 30;

/// Mutants of each.
const MUTANTS: u64 = 60;

/// The longest that one mutant may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const CHILD: &str = "UPSHIFT_MUTANTS_CHILD";

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A host function of any type: it calls back what can be called, and answers with something new, or an argument.
fn any_host() -> HostFunction {
    HostFunction::dynamic(|ctx, args| {
        let mut roots = Vec::new();
        for i in 0..args.len() {
            let val = args.val(ctx, i)?;
            roots.push(ctx.root(val));
        }
        for &callee in &roots {
            let Some(arity) = ctx.get(callee).as_function().map(|f| f.arity()) else { continue };
            let given: Vec<_> = (0..arity).map(|k| roots[k % roots.len()]).collect();
            let answer = ctx.call(callee, &given)?;
            roots.push(answer);
            break;
        }
        let last = roots.last().copied();
        Ok(match ctx.result_type() {
            None => Ret::Nothing,
            Some(ValueType::Int) => Ret::Int(3),
            Some(ValueType::Bool) => Ret::Bool(true),
            Some(ValueType::Float) => Ret::Float(2.5),
            Some(ValueType::Cell(cell)) => Ret::Val(match ctx.heap_type(cell.id) {
                Some(HeapType::String) => ctx.string("text of some length")?,
                Some(HeapType::ListInt) => ctx.new_list_int([1, 2, 3])?,
                Some(HeapType::ListCell(_)) => ctx.new_list(Storage::Cell, 2)?,
                Some(HeapType::Map { key, order, .. }) => ctx.new_map(key, order)?,
                Some(HeapType::Any | HeapType::Results) => match roots.len() % 4 {
                    0 => ctx.new_map(KeyPolicy::Value, OrderPolicy::Insertion)?,
                    1 => {
                        let items: Vec<_> = roots.iter().map(|&r| ctx.get(r)).collect();
                        ctx.new_list_cells(items)?
                    }
                    2 => ctx.new_bytes(1, b"bytes")?,
                    _ => ctx.get(last.unwrap_or(roots[0])),
                },
                Some(HeapType::Record(_)) => {
                    let fields = [ctx.int(1)?, ctx.nil(), ctx.float(0.5), ctx.nil()];
                    ctx.new_record(RecordId(0), &fields)?
                }
                _ if cell.nullable => ctx.nil(),
                _ => last.map_or(ctx.nil(), |r| ctx.get(r)),
            }),
        })
    })
}

/// The test's name in this binary, which may have this file as a module.
fn name() -> String {
    let test = "mutants_that_verify_run_safely";
    module_path!().split_once("::").map_or(test.to_owned(), |(_, module)| format!("{module}::{test}"))
}

/// Runs all functions of a module that has been verified, in the tiers of this binary or in the interpreter alone; says what
/// each came to and how much fuel it left.
fn run(module: &Module, stress: bool, seed: u64, tiers: bool) -> Vec<String> {
    let r = &mut Random(seed);
    let mut outcomes = Vec::new();
    let tables = Tables::default();
    let host = any_host();
    let linked = linked::link(module, &tables, &|_| Some(host.clone())).expect("what verifies links");
    let mut config = InstanceConfig::default();
    config.heap.stress = stress;
    config.heap.poison = true;
    config.heap.limit = 16 << 20;
    config.stack = 256 << 10;
    // Enough for all that the fuel allows: how deep host functions may call back depends on the tier, by the size of frames.
    config.native_stack = 64 << 20;
    let run = if tiers { common::run() } else { upshift_interpreter::run };
    let instance = Instance::new(&config, tables, Grants::none(), InterruptHandle::default(), run);
    let mut instance = instance.expect("an instance");
    let _tiers = if tiers { common::install(&mut instance) } else { None };
    instance.load(&linked).expect("it loads");
    for index in linked.bases.functions..linked.bases.functions + linked.guest_functions {
        let Some(meta) = instance.function(index).filter(|m| !m.environment) else { continue };
        let args: Vec<Value> = meta
            .params
            .iter()
            .map(|p| match p.ty {
                ValueType::Int => Value::small_int(r.below(12) as i64 - 2).expect("a small int"),
                ValueType::Bool => Value::TRUE,
                ValueType::Float => Value::float(1.5),
                ValueType::Cell(c) if instance.type_at(c.id) != Some(&HeapType::String) => Value::NIL,
                ValueType::Cell(_) => Value::short_string(b"ab").expect("a short string"),
            })
            .collect();
        instance.set_fuel(Some(if stress { 300 } else { 3_000 }));
        let result = instance.call_function(index, None, &args);
        let outcome = match result {
            Ok(value) if value.is_object() => format!("an object of kind {}", value.kind().text()),
            Ok(value) => format!("{:#x}", value.bits()),
            Err(trap) => {
                let frames =
                    trap.backtrace().map(|b| b.frames().map(|f| f.function.clone()).collect::<Vec<_>>());
                format!("{}: {} {frames:?}", trap.code().text(), trap.message())
            }
        };
        outcomes.push(format!("function {index}: {outcome}, {:?} left", instance.fuel()));
    }
    outcomes
}

/// The modules of one seed, each named on the standard output.
fn family(seed: u64) -> u64 {
    let module = valid(seed);
    let only = std::env::var("UPSHIFT_MUTANT").ok().and_then(|v| v.parse::<u64>().ok());
    let mut accepted = 0;
    for n in 0..MUTANTS {
        if only.is_some_and(|only| only != n) {
            continue;
        }
        let mut r = Random(seed << 16 | n);
        let mut mutant = module.clone();
        // The first two are as they were generated.
        let changes = if n < 2 { 0 } else { 1 + r.below(4) };
        for _ in 0..changes {
            mutate(&mut mutant, &mut r);
        }
        if verifier::verify(&mutant).is_err() {
            continue;
        }
        accepted += 1;
        let stress = n % 2 == 1;
        let _ = writeln!(
            std::io::stdout(),
            "mutant {n} of seed {seed}{}",
            if stress { ", stressed" } else { "" }
        );
        let seed = seed << 20 | n << 1 | 1;
        // Any outcome will do, but it is the same in all tiers.
        let outcomes = run(&mutant, stress, seed, true);
        if common::native() {
            let wanted = run(&mutant, stress, seed, false);
            for (found, wanted) in outcomes.iter().zip(&wanted) {
                assert_eq!(found, wanted, "mutant {n}");
            }
        }
    }
    accepted
}

#[test]
fn mutants_that_verify_run_safely() {
    let (count, first) = (number("UPSHIFT_MUTANTS", MODULES), number("UPSHIFT_SEED", 1));
    if std::env::var_os(CHILD).is_some() {
        let accepted: u64 = (first..first + count).map(family).sum();
        println!("accepted {accepted}");
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args([&*name(), "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process");
    let output = child.stdout.take().expect("piped");
    let (sender, lines) = channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let (mut last, mut accepted) = (String::new(), 0);
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("mutant") => last = line,
            Ok(line) => {
                accepted = line.strip_prefix("accepted ").map_or(accepted, |n| n.parse().unwrap_or(0))
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("{last} does not end");
            }
        }
    }
    let status = child.wait().expect("the child's end");
    let _ = reader.join();
    assert!(status.success(), "{last}: {status}");
    assert!(accepted > count * 4, "{accepted} mutants of {count} modules were accepted");
}
