//! Helpers for tests that build modules by hand.

use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder};
use upshift::bytecode::{FuncId, Module, SigId, ValueType, text};
use upshift::{Config, Engine, Grants, HostRegistry, Instance, Limits};

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
    let mut config = Config::default();
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
#[allow(dead_code, reason = "not every test file uses it")]
pub fn instance(module: &Module, stress: bool) -> Instance {
    instance_with(module, HostRegistry::default(), Limits::default(), stress)
}
