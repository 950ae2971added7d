//! What optimizing a function or loop is expected to cost and to save, read off its bytecode: by these the policy decides how long it
//! stays in baseline code first.
//!
//! Nobody knows how long a program goes on. If code is optimized when what it could have saved so far is what optimizing costs, then no
//! program loses more than it would have saved had it been optimized at once (ski rental: Karlin, Manasse, Rudolph and Sleator, 1988).
//! Both sides are estimates in units of the budget (calls and turns of loops), so runs repeat, and a slow machine decides as a
//! fast one does.
//!
//! * *Cost* goes by instructions, those of callees that will be inlined included, by the builder's rules as far as they follow from
//!   static calls.
//! * *Savings* are those of the instructions that a unit stands for. How often each runs is guessed: both ways of a branch alike, exits of loops
//!   once. What costs the same in all tiers, as host functions, saves nothing. Units of callees are not counted, although these may be
//!   built in: samples that find a callee at work do not make its caller warmer. What of a callee is saved counts, unless it
//!   has optimized code of its own.

use std::collections::HashSet;
use std::time::Duration;

use upshift_bytecode::ops::Constraint;
use upshift_bytecode::{Effects, Inst, Kind, Op, OperandKind, Word};
use upshift_optimizer::build::{Options, Start};
use upshift_optimizer::flow::{self, Outline};
use upshift_runtime::instance::Instance;
use upshift_runtime::linked::FunctionMeta;

/// What a compilation costs whatever it is of.
const FIXED: Duration = Duration::from_micros(700);
/// And for each instruction of bytecode.
const EACH: Duration = Duration::from_micros(22);
/// What a simple instruction takes less in optimized code, in nanoseconds.
const SAVED: f32 = 0.3;

/// What finding an entry of a map at a constant saves, in simple instructions: baseline code calls a routine, which searches.
const AT_CONSTANT: f32 = 30.0;

/// Loops are read without what is before them from this word on.
const BEFORE: u32 = 1 << 16;

/// What is expected of a compilation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// Instructions of bytecode, with those of callees that will be inlined.
    pub instructions: u32,
    /// What a unit saves, in simple instructions.
    pub saved: f32,
}

impl Estimate {
    /// How long compiling will take.
    pub fn cost(&self) -> Duration {
        FIXED + EACH * self.instructions
    }

    /// After so many units in baseline code what could have been saved is what compiling costs.
    pub fn units(&self) -> u32 {
        let nanos = self.cost().as_nanos() as f32;
        (nanos / (SAVED * self.saved.max(1.0))).min(1e9) as u32
    }
}

/// What optimizing is expected to cost and to save; `None` where there is no such function or loop.
pub fn estimate(
    instance: &Instance,
    outline: &Outline,
    index: u32,
    start: Start,
    options: &Options,
) -> Option<Estimate> {
    let (meta, code) = function(instance, index)?;
    let mut reader =
        Reader { instance, options, chain: vec![index], instructions: 0, saved: 0.0, units: 0.0 };
    let (first, end) = match start {
        Start::Function => (0, meta.len),
        Start::Loop(header) => outline.at(header).map(|l| (l.header, l.end))?,
    };
    // A call or a turn.
    reader.units = 1.0;
    reader.read(outline, code, first, end, 1.0);
    Some(Estimate { instructions: reader.instructions, saved: reader.saved / reader.units })
}

/// A guest function with its code.
pub(super) fn function(instance: &Instance, index: u32) -> Option<(&FunctionMeta, &[Word])> {
    let module = instance.module_of(index)?;
    let meta = module.function(index).filter(|m| m.host.is_none())?;
    Some((meta, &module.code[meta.start as usize..][..meta.len as usize]))
}

struct Reader<'a> {
    instance: &'a Instance,
    options: &'a Options,
    /// The functions from the root to where it reads.
    chain: Vec<u32>,
    instructions: u32,
    saved: f32,
    units: f32,
}

impl Reader<'_> {
    /// Reads the instructions between two words, which are come to so often.
    fn read(&mut self, outline: &Outline, code: &[Word], first: u32, end: u32, often: f32) {
        let mut arriving = vec![0.0_f32; (end - first) as usize + 1];
        let place = |word: u32| word.checked_sub(first).map_or(usize::MAX, |word| word as usize);
        // Registers that constant strings were loaded to, also before a loop, unless there is very much before it.
        let before = if first < BEFORE { first } else { 0 };
        let loads = |at: &u32| code[*at as usize].op() == Op::StringConst as u16;
        let before = flow::words(code, 0, before).filter(loads).filter_map(|at| flow::instruction(code, at));
        let mut texts: HashSet<i64> = before.map(|inst| inst.operands[0]).collect();
        let mut here = often;
        for at in flow::words(code, first, (end + 1).min(code.len() as u32)) {
            let Some(inst) = flow::instruction(code, at) else { return };
            here = (here + arriving.get(place(at)).copied().unwrap_or(0.0)).min(often);
            let effects = inst.op.effects();
            self.instructions += 1;
            if inst.op == Op::StringConst {
                texts.insert(inst.operands[0]);
            }
            self.saved +=
                here * if self.finds_an_entry(&inst, &texts) { AT_CONSTANT } else { savings(inst.op) };
            if effects.has(Effects::LOOP) {
                self.count(here);
            } else if effects.has(Effects::BRANCH) {
                let targets = flow::targets(code, at, &inst);
                let around = outline.innermost(at);
                let goes_on = !effects.has(Effects::END);
                let ways = targets.len() + usize::from(goes_on);
                // Of tests one behind the other for what one value is, each finds it as often.
                let tests = tests_of(code, at) as f32;
                let part = if tests > 1.0 { here / (tests + 1.0) } else { here / ways as f32 };
                for target in targets {
                    // What leaves a loop does so once, whatever is guessed of its turns.
                    let leaves = around.is_some_and(|l| target > l.end);
                    let to = if tests > 1.0 { here - part } else { part };
                    if let Some(there) = arriving.get_mut(place(target)) {
                        *there += if leaves { here } else { to };
                    }
                }
                if goes_on && ways > 1 {
                    here = part;
                }
            }
            if effects.has(Effects::CALL) && !outside(inst.op) {
                self.count(here);
                let callee = inst.iter().find(|o| o.0 == OperandKind::FuncId).map(|o| o.1 as u32);
                if let Some(callee) = callee {
                    self.call(callee, here);
                }
            }
            if effects.has(Effects::END) {
                here = 0.0;
            }
        }
    }

    /// Whether an instruction works on an entry of a map that optimized code finds without a call: at a constant string, or, as it has seen
    /// nothing but maps, most likely.
    fn finds_an_entry(&self, inst: &Inst, texts: &HashSet<i64>) -> bool {
        let at_text = || inst.iter().any(|o| o.0 == OperandKind::UseString && texts.contains(&o.1));
        inst.iter().any(|(kind, value)| match kind {
            OperandKind::Feedback => {
                let seen = self.instance.site(value as u32);
                seen.is_some_and(|seen| seen.left == 1 << Kind::Map as u16)
            }
            kind => kind.register().is_some_and(|r| r.2 == Constraint::MapString) && at_text(),
        })
    }

    /// Reads a callee if it will be inlined.
    fn call(&mut self, index: u32, often: f32) {
        let o = self.options;
        let again = self.chain.iter().filter(|&&f| f == index).count() as u32;
        if self.chain.len() as u32 > o.depth {
            return;
        }
        let Some((meta, code)) = function(self.instance, index).filter(|f| f.0.len <= 2 * o.callee) else {
            return;
        };
        let outline = Outline::new(code);
        if o.fits(again, outline.instructions, outline.weight, self.instructions).is_err() {
            return;
        }
        self.chain.push(index);
        let saved = self.saved;
        self.read(&outline, code, 0, meta.len, often);
        // What runs in optimized code already gains by its calls alone.
        if self.instance.is_fast(index) {
            self.saved = saved;
        }
        self.chain.pop();
    }

    /// Counts units of the root: what callees use up makes them warmer, and not what calls them.
    fn count(&mut self, often: f32) {
        if self.chain.last() == self.chain.first() {
            self.units += often;
        }
    }
}

/// How many tests of one kind for what one register holds begin with an instruction, each at where the one before jumps to: a `match`, or
/// `else if` for one case after the other.
fn tests_of(code: &[Word], at: u32) -> usize {
    const MOST: usize = 64;
    let test = |at: u32| {
        let inst = flow::instruction(code, at)?;
        let of_register = inst.op.info().operands.first().is_some_and(|o| o.kind.register().is_some());
        let goes_on = !inst.op.effects().has(Effects::END);
        let to = *flow::targets(code, at, &inst).first()?;
        (of_register && goes_on).then_some(((inst.op, inst.operands[0]), to))
    };
    // Constants that are compared with may be loaded before.
    let behind = |from: u32| flow::words(code, from, code.len() as u32).take(2).find_map(test);
    let Some((value, mut next)) = test(at) else { return 0 };
    let mut count = 1;
    while count < MOST
        && let Some((other, target)) = behind(next)
        && other == value
        && target > next
    {
        (count, next) = (count + 1, target);
    }
    count
}

/// Whether an instruction calls what is not guest code.
fn outside(op: Op) -> bool {
    op.info().operands.iter().any(|o| matches!(o.kind, OperandKind::HostId | OperandKind::CFuncId))
}

/// What an instruction takes less in optimized code, in simple instructions, by what its row says. Dynamic ones ask what they work on
/// and are told at once; what makes objects is often done inline or not at all; quotients by constants become products; what runs
/// outside of guest code saves nothing, and lists that grow or are copied little.
fn savings(op: Op) -> f32 {
    let effects = op.effects();
    match op {
        Op::LoopHeader => 0.0,
        Op::IntDivImm | Op::IntRemImm => 8.0,
        // Half of the divisors turn out to be constant.
        Op::IntDiv | Op::IntRem => 4.0,
        _ if outside(op) => 0.0,
        _ if op.info().operands.iter().any(|o| o.kind == OperandKind::Feedback) => 24.0,
        _ if effects.has(Effects::CALL) => 6.0,
        _ if effects.has(Effects::ALLOC) && (effects.has(Effects::NEW) || effects.has(Effects::OWN)) => 1.0,
        _ if let Some(saved) = asks(op) => saved,
        _ if effects.has(Effects::ALLOC) => 3.0,
        _ => 1.0,
    }
}

/// What an instruction on a string, a map or a list saves by what it works on. For strings and maps baseline code calls a routine; for maps
/// the search for the key is inline, and done once for several questions.
fn asks(op: Op) -> Option<f32> {
    let each = op.info().operands.iter().filter_map(|o| match o.kind.register()?.2 {
        Constraint::MapString => Some(8.0),
        Constraint::MapInt => Some(5.0),
        Constraint::String => Some(4.0),
        Constraint::MapCell => Some(3.0),
        // Kinds, lengths and places are looked at once, or before the loop.
        Constraint::ListInt | Constraint::ListFloat | Constraint::ListBool | Constraint::ListCell => {
            Some(3.0)
        }
        _ => None,
    });
    each.reduce(f32::max)
}

#[cfg(test)]
mod tests {
    use super::{Estimate, Options, Outline, Start, estimate};
    use crate::{Config, Engine, Grants, Instance, Limits};
    use upshift_bytecode::ValueType::Int;
    use upshift_bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
    use upshift_bytecode::{FuncId, Module};

    fn function(m: &mut ModuleBuilder, name: &str, code: impl FnOnce(&mut FunctionBuilder)) -> FuncId {
        let signature = m.signature(&[Int], Some(Int));
        let id = m.declare(name, signature, None);
        let mut f = m.define(id);
        code(&mut f);
        f.finish(m);
        id
    }

    /// `x + 1`, so often; then perhaps the result of a call with it.
    fn adds(m: &mut ModuleBuilder, name: &str, times: usize, callee: Option<FuncId>) -> FuncId {
        function(m, name, |f| {
            let r = f.param(0);
            (0..times).for_each(|_| f.int_add_imm(r, r, 1));
            if let Some(callee) = callee {
                f.int_move(Reg::window(0), r);
                f.call_int(r, callee);
            }
            f.return_int(r);
        })
    }

    fn instance(module: &Module) -> Instance {
        let engine = Engine::new(Config::default());
        let module = engine.load(module).expect("it loads");
        engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance")
    }

    fn of(i: &Instance, name: &str, start: Start) -> Estimate {
        let index = i.find(name).expect("the function");
        let outline = Outline::new(super::function(&i.inner, index).expect("its code").1);
        estimate(&i.inner, &outline, index, start, &Options::default()).expect("an estimate")
    }

    #[test]
    fn the_cost_is_that_of_what_is_inlined_too() {
        let mut m = ModuleBuilder::new("costs");
        let small = adds(&mut m, "small", 10, None);
        let large = adds(&mut m, "large", 200, None);
        adds(&mut m, "nothing", 5, None);
        adds(&mut m, "calls_small", 5, Some(small));
        adds(&mut m, "calls_large", 5, Some(large));
        let i = instance(&m.finish());
        let cost = |name| of(&i, name, Start::Function).instructions;
        // With the return, the argument and the call.
        assert_eq!((cost("nothing"), cost("calls_small"), cost("calls_large")), (6, 8 + 11, 8));
    }

    #[test]
    fn turns_of_callees_are_theirs() {
        let mut m = ModuleBuilder::new("turns");
        let loops = |m: &mut ModuleBuilder, name: &str, turns: bool| {
            function(m, name, |f| {
                let (n, i) = (f.param(0), f.int());
                f.load_int(i, 0);
                let top = f.label();
                if turns {
                    f.begin_loop(top);
                }
                (0..20).for_each(|_| f.int_add_checked(i, i, n));
                if turns {
                    f.int_for_loop(i, n, top);
                }
                f.return_int(i);
            })
        };
        let (turning, straight) = (loops(&mut m, "turning", true), loops(&mut m, "straight", false));
        adds(&mut m, "calls_turning", 5, Some(turning));
        adds(&mut m, "calls_straight", 5, Some(straight));
        let i = instance(&m.finish());
        let saved = |name| of(&i, name, Start::Function).saved;
        assert!(saved("calls_turning") >= saved("calls_straight"), "the turn is no unit of the caller");
        assert!(saved("turning") < saved("straight"), "it is one of the callee");
    }

    #[test]
    fn recursion_costs_each_level() {
        let mut m = ModuleBuilder::new("levels");
        let signature = m.signature(&[Int], Some(Int));
        let id = m.declare("twice", signature, None);
        let mut f = m.define(id);
        let r = f.param(0);
        for _ in 0..2 {
            f.int_move(Reg::window(0), r);
            f.call_int(r, id);
        }
        f.return_int(r);
        f.finish(&mut m);
        let i = instance(&m.finish());
        // Two levels of itself are built in.
        assert_eq!(of(&i, "twice", Start::Function).instructions, 5 * (1 + 2 + 4));
    }

    #[test]
    fn more_work_in_a_turn_means_fewer_turns() {
        let mut m = ModuleBuilder::new("loops");
        for (name, times) in [("short", 1), ("long", 20)] {
            function(&mut m, name, |f| {
                let (n, i, total) = (f.param(0), f.int(), f.int());
                f.load_int(i, 0);
                f.load_int(total, 0);
                let top = f.label();
                f.begin_loop(top);
                (0..times).for_each(|_| f.int_add_checked(total, total, i));
                f.int_for_loop(i, n, top);
                f.return_int(total);
            });
        }
        let i = instance(&m.finish());
        let header = |name: &str| {
            let index = i.find(name).expect("the function");
            Outline::new(super::function(&i.inner, index).expect("its code").1).loops[0].header
        };
        let (short, long) =
            (of(&i, "short", Start::Loop(header("short"))), of(&i, "long", Start::Loop(header("long"))));
        assert!(short.cost() < long.cost());
        assert!(short.units() > 2 * long.units(), "{short:?} {long:?}");
    }
}
