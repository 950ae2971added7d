//! Helpers for tests that build modules by hand, and the tier that a test binary is for.
//!
//! `execution.rs` and others run in the interpreter. The same files again, as binaries of another name, run in the other tiers;
//! the end of the binary's name says in which:
//!
//! * `_baseline`: machine code of the baseline compiler from the first call on.
//! * `_optimized`: optimized code from the first call on, before any feedback.
//! * `_deopt`: optimized code soon after the first turns and calls, which feedback came from, and guards that leave now and then
//!   although they hold.
#![allow(dead_code, reason = "not every test file uses everything")]

pub mod frames;

use upshift::bytecode::ValueType::Int;
use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{FuncId, Module, SigId, ValueType, WatchId, text};
use upshift::tiers::{Driver, Machinery};
use upshift::{Config, Engine, Grants, HostRegistry, Instance, Limits, Tier, TierConfig};

/// The tier of this test binary.
pub fn tier() -> Tier {
    let name = env!("CARGO_CRATE_NAME");
    match name.rsplit('_').next() {
        Some("baseline") => Tier::Baseline,
        Some("optimized") => Tier::Optimized,
        Some("deopt") => Tier::Auto,
        _ => Tier::Interpreter,
    }
}

/// The configuration of an engine for the tier of this test binary.
pub fn config() -> Config {
    let mut config = Config::default();
    config.tier = tier();
    config.tiers = tiers();
    config
}

/// Thresholds for the tier of this test binary. The optimizer is waited for, so that runs repeat.
fn tiers() -> TierConfig {
    let mut config = TierConfig::default();
    config.baseline_heat = 1;
    config.eager = true;
    config.sync = true;
    match tier() {
        Tier::Optimized => config.optimize_heat = 0,
        Tier::Auto => {
            config.optimize_heat = 3;
            config.sample = 1;
            config.deopt_stress = true;
        }
        _ => config.optimize_heat = u32::MAX,
    }
    config
}

/// Whether this test binary runs machine code.
pub fn native() -> bool {
    tier() != Tier::Interpreter
}

/// Gives an instance of the runtime's own the tiers of this test binary; before modules are loaded. What is returned has to
/// live as long.
pub fn install(instance: &mut upshift_runtime::instance::Instance) -> Option<Box<Driver>> {
    let machinery = std::sync::Arc::new(Machinery::new(tiers(), &[], None));
    native().then(|| Driver::install(machinery, tiers(), instance))
}

/// The entry of runs for the tiers of this test binary.
pub fn run() -> upshift_runtime::context::Run {
    if native() { upshift::tiers::run } else { upshift_interpreter::run }
}

/// Adds a function whose code `f` emits.
pub fn function(
    m: &mut ModuleBuilder,
    name: &str,
    params: &[ValueType],
    result: Option<ValueType>,
    f: impl FnOnce(&mut ModuleBuilder, &mut FunctionBuilder),
) -> FuncId {
    let signature = m.signature(params, result);
    function_of(m, name, signature, f)
}

/// As [`function`], with a signature.
pub fn function_of(
    m: &mut ModuleBuilder,
    name: &str,
    signature: SigId,
    f: impl FnOnce(&mut ModuleBuilder, &mut FunctionBuilder),
) -> FuncId {
    let id = m.declare(name, signature, None);
    let mut code = m.define(id);
    f(m, &mut code);
    code.finish(m);
    id
}

/// Emits a guarded `a + b`: inline as long as nobody redefined `plus`, else a call.
pub fn guarded_plus(f: &mut FunctionBuilder, watch: WatchId, plus: FuncId, dst: Reg, a: Reg, b: Reg) {
    let (slow, done) = (f.label(), f.label());
    f.watch_branch(watch, slow);
    f.int_add(dst, a, b);
    f.jump(done);
    f.bind(slow);
    f.int_move(Reg::window(0), a);
    f.int_move(Reg::window(1), b);
    f.call_int(dst, plus);
    f.bind(done);
}

/// An instance of the module, with these host functions, collecting at every allocation where `stress`.
pub fn instance_with(module: &Module, hosts: HostRegistry, limits: Limits, stress: bool) -> Instance {
    let mut config = config();
    config.hosts = hosts;
    config.gc_stress = stress;
    let engine = Engine::new(config);
    let loaded = match engine.load(module) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}\n{}", text::print(module)),
    };
    engine.instantiate(&loaded, Grants::none(), limits).expect("an instance")
}

/// An instance without host functions.
pub fn instance(module: &Module, stress: bool) -> Instance {
    instance_with(module, HostRegistry::default(), Limits::default(), stress)
}

/// A function of `n` that adds what another gives for each number of 0..n, in a loop.
pub fn sum(m: &mut ModuleBuilder, name: &str, of: FuncId) -> FuncId {
    function(m, name, &[Int], Some(Int), |_, f| {
        let (n, i, total, term) = (f.param(0), f.int(), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(total, 0);
        let top = f.label();
        f.begin_loop(top);
        f.int_move(Reg::window(0), i);
        f.call_int(term, of);
        f.int_add_checked(total, total, term);
        f.int_add_imm(i, i, 1);
        f.int_lt_loop(i, n, top);
        f.return_int(total);
    })
}

/// `double(x) = x + x`, and `sum(n)`, which adds the doubles of 0..n in a loop.
pub fn sums() -> Module {
    let mut m = ModuleBuilder::new("sums");
    let double = function(&mut m, "double", &[Int], Some(Int), |_, f| {
        let (x, r) = (f.param(0), f.int());
        f.int_add_checked(r, x, x);
        f.return_int(r);
    });
    sum(&mut m, "sum", double);
    m.finish()
}
