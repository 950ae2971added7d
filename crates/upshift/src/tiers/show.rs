//! Code for looking at: what functions become before anything ran.

use std::sync::Arc;

use upshift_optimizer::build::{Options, Start};
use upshift_optimizer::lower::Effort;
use upshift_runtime::linked::LinkedModule;

use super::optimized::World;

/// The machine code of one function, for looking at. Not placed: calls to stubs lead nowhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MachineCode {
    /// The function's name.
    pub name: String,
    /// The bytes.
    pub text: Vec<u8>,
    /// Where code that runs seldom begins; behind it stand thunks and literals.
    pub cold: u32,
    /// Where the literals begin.
    pub literals: u32,
    /// Which instruction hot code belongs to: offset in `text`, and word of the function's bytecode.
    pub map: Vec<(u32, u32)>,
    /// Instructions of bytecode.
    pub instructions: u32,
}

/// The optimized code of one function, for looking at. Not placed: calls lead nowhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OptimizedFunction {
    /// The function's name.
    pub name: String,
    /// The form of the code generator, Cranelift, as text; or a comment on why there is no code.
    pub form: String,
    /// The machine code.
    pub text: Vec<u8>,
    /// Which instruction code belongs to, from an offset in `text` on: the number of a function in the module, since others are
    /// inlined, and a word of its bytecode.
    pub map: Vec<(u32, u32, u32)>,
}

/// What each function of a module becomes before anything ran: gives the SSA form to `f`, under the pass's name.
fn each_form(
    module: &Arc<LinkedModule>,
    mut f: impl FnMut(&World, u32, &str, &upshift_optimizer::ir::Function),
) {
    let world = World::new(vec![module.clone()]);
    let options = Options { unseen: false, ..Options::default() };
    for meta in &module.functions[..module.guest_functions as usize] {
        if let Ok(mut func) = upshift_optimizer::build::build(&world, meta.index, Start::Function, options) {
            upshift_optimizer::passes::optimize_with(&mut func, &mut |pass, func| {
                f(&world, meta.index, pass, func)
            });
            f(&world, meta.index, "", &func);
        }
    }
}

pub(crate) fn ssa(module: &Arc<LinkedModule>, every_pass: bool) -> String {
    let mut out = String::new();
    each_form(module, |_, _, pass, func| {
        if every_pass && !pass.is_empty() {
            out.push_str(&format!("; {pass}\n"));
        }
        if every_pass != pass.is_empty() {
            out.push_str(&upshift_optimizer::text::print(func));
            out.push('\n');
        }
    });
    out
}

pub(crate) fn optimized_functions(module: &Arc<LinkedModule>) -> Vec<OptimizedFunction> {
    let mut all = Vec::new();
    let Some(mut compiler) = upshift_optimizer::lower::Compiler::new(Effort::Full) else { return all };
    each_form(module, |world, index, pass, func| {
        if !pass.is_empty() {
            return;
        }
        let mut form = String::new();
        let mut show = |clif: &str, _: &str| form.push_str(clif);
        let machine = compiler.compile(world, func, index, 0, false, Some(&mut show));
        let first = module.bases.functions;
        let (text, map) = match machine {
            Ok(machine) => {
                let places = machine.map.into_iter();
                (machine.text, places.map(|(at, function, word)| (at, function - first, word)).collect())
            }
            Err(error) => {
                form = format!("; {error}\n");
                (Vec::new(), Vec::new())
            }
        };
        all.push(OptimizedFunction { name: func.name.clone(), form, text, map });
    });
    all
}

/// Compiles all functions of a module, for looking at.
pub(crate) fn disassemble(module: &LinkedModule) -> Vec<Option<MachineCode>> {
    let mut scratch = upshift_baseline::Scratch::default();
    module.functions[..module.guest_functions as usize]
        .iter()
        .map(|meta| {
            let code = &module.code[meta.start as usize..];
            let input = upshift_baseline::Input { meta, code, facts: module, map: true, pin: true };
            let machine = upshift_baseline::compile(input, &mut scratch).ok()?;
            Some(MachineCode {
                name: meta.name.to_string(),
                text: machine.text,
                cold: machine.hot,
                literals: machine.data,
                map: machine.map,
                instructions: machine.instructions,
            })
        })
        .collect()
}
