//! Helpers for tests that build modules by hand, and the tier that a test binary is for.
//!
//! `execution.rs` and others run in the interpreter; `execution_baseline.rs` is the same file again as a binary of another
//! name, which is how [`config`] knows the tier.
#![allow(dead_code, reason = "not every test file uses everything")]

use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder};
use upshift::bytecode::{FuncId, Module, SigId, ValueType, text};
use upshift::tiers::{Driver, Machinery};
use upshift::{Config, Engine, Grants, HostRegistry, Instance, Limits, Tier, TierConfig};

/// The configuration of an engine for the tier of this test binary.
pub fn config() -> Config {
    let mut config = Config::default();
    config.tier = if baseline() { Tier::Baseline } else { Tier::Interpreter };
    config
}

/// Whether this test binary is for the baseline tier.
pub fn baseline() -> bool {
    env!("CARGO_CRATE_NAME").ends_with("_baseline")
}

/// Gives an instance of the runtime's own the tiers of this test binary; before modules are loaded. What is returned has to
/// live as long.
pub fn install(instance: &mut upshift_runtime::instance::Instance) -> Option<Box<Driver>> {
    let mut config = TierConfig::default();
    config.baseline_heat = 1;
    config.eager = true;
    let machinery = std::sync::Arc::new(Machinery::new(config, &[]));
    baseline().then(|| Driver::install(machinery, config, instance))
}

/// The entry of runs for the tiers of this test binary.
pub fn run() -> upshift_runtime::context::Run {
    if baseline() { upshift::tiers::run } else { upshift_interpreter::run }
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
