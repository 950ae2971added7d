//! What the compilers cost, phase by phase, and functions put into a tier by hand: for `benches/micro`, which has to know both.
//! Nothing of the engine uses it.
//!
//! Compiling for a measurement places and runs nothing. Forcing takes the driver's own ways, past its policy, so what runs then is
//! what would run.

use std::collections::HashSet;
use std::time::Duration;

use upshift_baseline::{Input, Scratch};
use upshift_bytecode::{Op, Word};
use upshift_optimizer::build::{Options, Start, build};
use upshift_optimizer::flow::words;
use upshift_optimizer::ir::Function;
use upshift_optimizer::lower::{Compiler, Effort};
use upshift_optimizer::passes;
use upshift_runtime::linked::{FunctionMeta, LinkedModule};

use super::events::Cause;
use super::{Driver, World, optimized};
use crate::{Instance, Module};

/// What compiling functions with the baseline compiler took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline {
    /// Instructions of bytecode.
    pub instructions: u64,
    /// Bytes of machine code.
    pub bytes: u64,
    /// The time.
    pub time: Duration,
}

/// Which time it is, counted from any moment: wall time, or processor time of the thread.
pub type Clock = fn() -> Duration;

/// Compiles all functions of a module with the baseline compiler.
pub fn baseline(module: &Module, clock: Clock) -> Baseline {
    let module = module.linked();
    let mut scratch = Scratch::default();
    let mut cost = Baseline::default();
    for meta in guests(module) {
        let code = &module.code[meta.start as usize..];
        let started = clock();
        let machine = upshift_baseline::compile(
            Input { meta, code, facts: &**module, map: false, pin: true },
            &mut scratch,
        );
        cost.time += clock() - started;
        if let Ok(machine) = machine {
            cost.instructions += u64::from(machine.instructions);
            cost.bytes += machine.text.len() as u64;
            scratch.recycle(machine);
        }
    }
    cost
}

/// What compiling functions with the optimizer took.
#[derive(Clone, Debug, Default)]
pub struct Optimizer {
    /// Instructions of bytecode, with those of functions that were inlined.
    pub instructions: u64,
    /// Instructions of SSA as it was built.
    pub built: u64,
    /// Instructions of SSA after the passes.
    pub lowered: u64,
    /// Instructions of Cranelift's form.
    pub clif: u64,
    /// Bytes of machine code.
    pub bytes: u64,
    /// Functions that are not compiled, since they are too large.
    pub refused: u64,
    /// From bytecode to SSA.
    pub build: Duration,
    /// The passes together.
    pub passes: Duration,
    /// The passes one by one, in the order in which each first ran.
    pub each: Vec<(&'static str, Duration)>,
    /// From SSA to Cranelift's form.
    pub lower: Duration,
    /// Cranelift, and what is done to its code.
    pub cranelift: Duration,
}

impl Optimizer {
    /// All of it.
    pub fn time(&self) -> Duration {
        self.build + self.passes + self.lower + self.cranelift
    }
}

/// The optimizer, with the memory that it keeps between compilations.
#[allow(missing_debug_implementations, reason = "Cranelift's contexts have none")]
pub struct Session(Compiler);

impl Session {
    /// `None` where the machine is unknown to the code generator.
    pub fn new() -> Option<Session> {
        Compiler::new(Effort::Full).map(Session)
    }

    /// Compiles the functions of a module that a name stands for, or all of them, as they are compiled before anything ran.
    ///
    /// # Errors
    /// What the code generator says.
    pub fn optimize(
        &mut self,
        module: &Module,
        name: Option<&str>,
        clock: Clock,
    ) -> Result<Optimizer, String> {
        let module = module.linked();
        let options = Options { unseen: false, ..Options::default() };
        let world = World::new(vec![module.clone()]);
        let mut cost = Optimizer::default();
        for meta in guests(module).filter(|m| name.is_none_or(|name| *m.name == *name)) {
            let started = clock();
            let built = build(&world, meta.index, Start::Function, options);
            cost.build += clock() - started;
            let Ok(mut func) = built else {
                cost.refused += 1;
                continue;
            };
            cost.instructions += with_inlined(module, meta, &func);
            cost.built += u64::from(optimized::count(&func));
            let mut last = clock();
            passes::optimize_with(&mut func, &mut |pass, _| {
                let now = clock();
                if let Some(pass) = passes::PASSES.iter().find(|p| p.name == pass) {
                    let time = now - last;
                    cost.passes += time;
                    match cost.each.iter_mut().find(|(name, _)| *name == pass.name) {
                        Some((_, sum)) => *sum += time,
                        None => cost.each.push((pass.name, time)),
                    }
                }
                last = now;
            });
            cost.lowered += u64::from(optimized::count(&func));
            let started = clock();
            drop(self.0.lower(&world, &func, meta.index, 0, false));
            let lower = clock() - started;
            let started = clock();
            let machine = self.0.compile(&world, &func, meta.index, 0, false, None)?;
            cost.lower += lower;
            cost.cranelift += (clock() - started).saturating_sub(lower);
            cost.clif += u64::from(machine.clif);
            cost.bytes += machine.text.len() as u64;
        }
        Ok(cost)
    }
}

/// The instructions of a function and of those that were built into it.
fn with_inlined(module: &LinkedModule, meta: &FunctionMeta, func: &Function) -> u64 {
    let own = instructions(module, meta);
    // Each call that was inlined has one state, which is the parent of all states of that callee.
    let callees: HashSet<_> =
        func.states.values().filter_map(|s| Some((s.parent.expand()?, s.function))).collect();
    let inlined = callees.iter().filter_map(|(_, function)| module.function(*function));
    own + inlined.map(|meta| instructions(module, meta)).sum::<u64>()
}

/// The instructions of all functions of a module.
pub fn count(module: &Module) -> u64 {
    guests(module.linked()).map(|meta| instructions(module.linked(), meta)).sum()
}

fn instructions(module: &LinkedModule, meta: &FunctionMeta) -> u64 {
    words(code(module, meta), 0, meta.len).count() as u64
}

fn code<'a>(module: &'a LinkedModule, meta: &FunctionMeta) -> &'a [Word] {
    &module.code[meta.start as usize..][..meta.len as usize]
}

fn guests(module: &LinkedModule) -> impl Iterator<Item = &FunctionMeta> {
    module.functions[..module.guest_functions as usize].iter()
}

/// What [`force`] makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Force {
    /// Baseline code of the function.
    Baseline,
    /// Optimized code of the function, and baseline code for what leaves it.
    Optimized,
    /// Optimized code of each of its loops alone; the function stays in the interpreter.
    Loops,
}

/// Compiles a function of an instance now. The engine's configuration has to be eager and synchronous, with thresholds that are never
/// reached, or the policy goes on from there. False where there is no such function, or no code came of it.
pub fn force(instance: &mut Instance, name: &str, what: Force) -> bool {
    let Some(index) = instance.find(name) else { return false };
    let Some((driver, inner)) = instance.driver() else { return false };
    driver.force(inner, index, what)
}

impl Driver {
    fn force(&mut self, instance: &mut upshift_runtime::instance::Instance, index: u32, what: Force) -> bool {
        let before = self.counters;
        match what {
            Force::Baseline | Force::Optimized => {
                self.consider(instance, index, Cause::Calls, None);
                if what == Force::Optimized {
                    self.ask(instance, index, Start::Function, Cause::Calls, None);
                    return self.counters.optimized > before.optimized;
                }
                self.code.get(index as usize).is_some_and(Option::is_some)
            }
            Force::Loops => {
                let machinery = self.machinery.clone();
                let Ok(memory) = machinery.memory() else { return false };
                self.mapped(instance, memory);
                let Some(module) = instance.module_of(index).cloned() else { return false };
                let Some(meta) = module.function(index) else { return false };
                let code = code(&module, meta);
                for header in
                    words(code, 0, meta.len).filter(|&w| code[w as usize].op() == Op::LoopHeader as u16)
                {
                    self.ask(instance, index, Start::Loop(header), Cause::Loop, None);
                }
                self.counters.optimized > before.optimized
            }
        }
    }
}
