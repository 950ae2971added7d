//! The passes over the SSA form, and their order.
//!
//! A pass is a free function over one [`Function`], which it leaves well-formed, and says how much it changed. Passes know rules of the
//! form and nothing of source languages. What each needs and leaves is in its file:
//!
//! * `params.rs`: block parameters that are always the same, blocks and branches that are not needed.
//! * `fold.rs`: constants and algebraic rules.
//! * `memory.rs`: which memory may have changed between two instructions; `alias.rs`: which objects are not the same.
//! * `gvn.rs`: values and loads that were computed before, stores that are known, checks that were made.
//! * `ranges.rs`: what ints can be, and the checks that go with it; `sums.rs`: branches around checked sums; `counts.rs`: sums that take
//!   years to overflow.
//! * `licm.rs`: what does not change in a loop.
//! * `reserve.rs`: room for what a loop that counts appends to a list.
//! * `promote.rs`: what a loop loads and stores in one place; `reload.rs`: what of lists changes in a loop's cold code only.
//! * `turns.rs`: what a turn of a loop stores in a list and the next one loads.
//! * `kinds.rs`: blocks in versions by the kinds of cells; `unbox.rs`: parameters that are boxes of numbers.
//! * `escape.rs`: objects that nobody else sees, whose fields become values; `carried.rs`: those that parameters choose among.
//! * `unroll.rs`: loops of few turns; `closed.rs`: loops whose values are polynomials in the turn; `version.rs`: loops with and
//!   without checks of positions; `copy.rs` copies them.
//! * `dce.rs`: what nobody uses.
//!
//! What all rely on: definitions dominate uses; [`Function::layout`] holds the reachable blocks in reverse postorder; a pass that changes
//! terminators puts the layout right before it ends, and forgets the [`Analyses`], which passes share, as soon as the shape changes. And for the collector: no pass lets a pointer, or a cell that may be an object
//! and is not named in the instruction's frame state, live across a collecting instruction (see [`crate::ir`]).

mod alias;
mod carried;
pub mod closed;
mod copy;
pub mod counts;
pub mod dce;
pub mod escape;
pub mod fold;
pub mod gvn;
pub mod kinds;
pub mod licm;
mod memory;
pub mod params;
pub mod promote;
pub mod ranges;
pub mod reload;
pub mod reserve;
pub mod sums;
pub mod turns;
pub mod unbox;
pub mod unroll;
pub mod version;

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use upshift_runtime::object::ObjectKind;

use crate::cfg::Analyses;
use crate::ir::{Access, Block, Class, Function, Inst, InstData, Op, Type, Value, Width};

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The name, as options and tests write it.
    pub name: &'static str,
    /// Runs it; gives how much it changed.
    pub run: fn(&mut Function, &mut Analyses) -> usize,
}

macro_rules! passes {
    ($($(#[$doc:meta])* $constant:ident $name:literal $run:path;)*) => {
        $($(#[$doc])* pub const $constant: Pass = Pass { name: $name, run: $run };)*
        /// All passes.
        pub const PASSES: &[Pass] = &[$($constant),*];
    };
}

passes! {
    /// Parameters and blocks that are not needed.
    PARAMS "params" params::run;
    /// Constants and algebraic rules.
    FOLD "fold" fold::run;
    /// What was computed before.
    GVN "gvn" gvn::run;
    /// What does not change in a loop.
    LICM "licm" licm::run;
    /// Room for what a loop appends.
    RESERVE "reserve" reserve::run;
    /// What a loop loads and stores in one place.
    PROMOTE "promote" promote::run;
    /// What of lists changes in a loop's cold code only.
    RELOAD "reload" reload::run;
    /// What ints can be.
    RANGES "ranges" ranges::run;
    /// Branches around sums.
    SUMS "sums" sums::run;
    /// Sums that take years to overflow.
    COUNTS "counts" counts::run;
    /// What a turn stores and the next one loads.
    TURNS "turns" turns::run;
    /// Blocks in versions by the kinds of cells.
    KINDS "kinds" kinds::run;
    /// Parameters that are boxes of numbers.
    UNBOX "unbox" unbox::run;
    /// Objects that nobody else sees.
    ESCAPE "escape" escape::run;
    /// Loops of few turns.
    UNROLL "unroll" unroll::run;
    /// Loops whose turns are skipped.
    CLOSED "closed" closed::run;
    /// Loops with and without checks of positions.
    VERSION "version" version::run;
    /// What nobody uses.
    DCE "dce" dce::run;
}

/// When a step of the pipeline is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// In any case.
    Always,
    /// In any case, and counted with the one before.
    Also,
    /// If the last one that is always taken changed something.
    Changed,
}

/// What [`optimize`] runs, in this order.
pub const PIPELINE: &[(Pass, When)] = &[
    (PARAMS, When::Always),
    (GVN, When::Always),
    (PARAMS, When::Always),
    (KINDS, When::Always),
    (PARAMS, When::Changed),
    (GVN, When::Changed),
    (PARAMS, When::Changed),
    (UNBOX, When::Always),
    (GVN, When::Changed),
    (DCE, When::Changed),
    (PARAMS, When::Changed),
    (ESCAPE, When::Always),
    (PARAMS, When::Changed),
    (GVN, When::Changed),
    (DCE, When::Changed),
    (PARAMS, When::Changed),
    (UNROLL, When::Always),
    (PARAMS, When::Changed),
    (GVN, When::Changed),
    (PARAMS, When::Changed),
    // Positions in lists are constants in loops that are written out.
    (ESCAPE, When::Changed),
    (GVN, When::Changed),
    (DCE, When::Changed),
    (PARAMS, When::Changed),
    (LICM, When::Always),
    (RESERVE, When::Always),
    (PROMOTE, When::Always),
    (RELOAD, When::Always),
    (RANGES, When::Always),
    (SUMS, When::Always),
    (PARAMS, When::Always),
    (GVN, When::Always),
    (COUNTS, When::Always),
    (CLOSED, When::Always),
    (VERSION, When::Also),
    (RANGES, When::Changed),
    (PARAMS, When::Changed),
    (GVN, When::Changed),
    // Loops without checks of positions do not ask whether strings are short.
    (RELOAD, When::Changed),
    (TURNS, When::Always),
    (DCE, When::Always),
    (PARAMS, When::Always),
];

/// Runs the pipeline.
pub fn optimize(func: &mut Function) {
    optimize_with(func, &mut |_, _| {});
}

/// Runs the pipeline and shows the function to an observer: first as it is, under the name `build`, then after each pass under the
/// pass's name.
pub fn optimize_with(func: &mut Function, observer: &mut dyn FnMut(&str, &Function)) {
    observer("build", func);
    check(func, "build");
    let analyses = &mut Analyses::default();
    let mut changed = 0;
    for (pass, when) in PIPELINE {
        match when {
            When::Always => changed = run(func, analyses, pass),
            When::Also => changed += run(func, analyses, pass),
            When::Changed if changed == 0 => continue,
            When::Changed => {
                run(func, analyses, pass);
            }
        }
        observer(pass.name, func);
    }
}

/// Runs the pass with this name; false where there is none.
pub fn run_named(func: &mut Function, name: &str) -> bool {
    let Some(pass) = PASSES.iter().find(|p| p.name == name) else { return false };
    run(func, &mut Analyses::default(), pass);
    true
}

/// Runs one pass; verifies what it left in debug builds.
fn run(func: &mut Function, analyses: &mut Analyses, pass: &Pass) -> usize {
    let changed = (pass.run)(func, analyses);
    debug_assert!(analyses.verify(func), "{} changed the shape and did not say so", pass.name);
    check(func, pass.name);
    changed
}

/// In debug builds: the form is whole.
fn check(func: &Function, after: &str) {
    if cfg!(debug_assertions)
        && let Err(error) = crate::verify::verify(func)
    {
        panic!("after {after}: {error}\n{}", crate::text::print(func));
    }
}

/// Values that others stand for. A value may stand for one that is itself replaced later.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    map: SecondaryMap<Value, PackedOption<Value>>,
    count: usize,
}

impl Replacements {
    /// For the values of a function.
    pub(crate) fn new(func: &Function) -> Replacements {
        Replacements { map: SecondaryMap::with_capacity(func.values.len()), count: 0 }
    }

    /// From now on `with` stands for `value`.
    pub(crate) fn replace(&mut self, value: Value, with: Value) {
        debug_assert!(self.map[value].is_none() && self.get(with) != value, "{value} is replaced twice");
        self.map[value] = with.into();
        self.count += 1;
    }

    /// What stands for a value in the end.
    pub(crate) fn get(&self, value: Value) -> Value {
        let mut at = value;
        while let Some(next) = self.map[at].expand() {
            at = next;
        }
        at
    }

    /// How many values are replaced.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Replaces the operands of an instruction and the arguments of its targets, but not its frame state.
    pub(crate) fn apply_to(&self, data: &mut InstData) {
        if self.count == 0 {
            return;
        }
        data.args.iter_mut().for_each(|v| *v = self.get(*v));
        data.targets.iter_mut().flat_map(|t| t.args.iter_mut()).for_each(|v| *v = self.get(*v));
    }

    /// Makes every lookup one step.
    fn compress(&mut self) {
        let mut path = Vec::new();
        for value in self.map.keys() {
            let mut at = value;
            while let Some(next) = self.map[at].expand() {
                path.push(at);
                at = next;
            }
            path.drain(..).for_each(|v| self.map[v] = at.into());
        }
    }

    /// Replaces everywhere.
    pub(crate) fn apply(&mut self, func: &mut Function) {
        if self.count > 0 {
            self.compress();
            func.replace(|v| self.get(v));
        }
    }

    /// Replaces in frame states, after [`Replacements::apply_to`] saw all instructions.
    pub(crate) fn apply_to_states(&mut self, func: &mut Function) {
        if self.count > 0 {
            self.compress();
            for state in func.states.values_mut() {
                state.slots.iter_mut().for_each(|(_, v)| *v = self.get(*v));
            }
        }
    }
}

/// The blocks that instructions define values in.
pub(crate) fn definitions(func: &Function) -> SecondaryMap<Value, PackedOption<Block>> {
    let mut blocks = SecondaryMap::with_capacity(func.values.len());
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            if let Some(result) = func.insts[inst].result.expand() {
                blocks[result] = block.into();
            }
        }
    }
    blocks
}

/// What memory an instruction changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writes {
    /// None.
    Nothing,
    /// What its access says.
    Access(Access),
    /// All but what never changes and what only guest code changes.
    Memory,
    /// All but what never changes.
    Everything,
}

/// What memory an instruction changes.
pub(crate) fn writes(func: &Function, data: &InstData) -> Writes {
    let info = data.op.info();
    if info.stores {
        return data.access.map_or(Writes::Everything, Writes::Access);
    }
    if !info.site {
        return Writes::Nothing;
    }
    match data.site.expand().map(|s| func.sites[s].effects) {
        Some(e) if e.calls => Writes::Everything,
        Some(e) if e.writes => Writes::Memory,
        Some(_) => Writes::Nothing,
        None => Writes::Everything,
    }
}

/// Whether an instruction may run the collector.
pub(crate) fn collects(func: &Function, data: &InstData) -> bool {
    data.op.info().site && data.site.expand().is_none_or(|s| func.sites[s].effects.collects)
}

/// Whether an instruction may be left out where its result is not used.
pub(crate) fn removable(func: &Function, data: &InstData) -> bool {
    let info = data.op.info();
    if info.pure || info.fixed || info.loads || info.makes || data.op == Op::BoxInt {
        return true;
    }
    // Helpers never leave.
    data.op == Op::Helper && data.result.is_some() && writes(func, data) == Writes::Nothing
}

/// The class of the words of an object with this first word, where they are one. For lists see [`crate::ir::elements_of`].
pub(crate) fn words_of(header: i64) -> Option<Class> {
    match ObjectKind::ALL.get(header as u64 as usize & 0xFF)? {
        ObjectKind::Record => Some(Class::Field),
        ObjectKind::Closure => Some(Class::Fixed),
        ObjectKind::RefInt | ObjectKind::RefFloat | ObjectKind::RefCell => Some(Class::Ref),
        _ => None,
    }
}

/// How long lists and strings can be: their elements have to fit memory.
pub(crate) const LONGEST: i64 = 1 << 40;

/// What a load gives lies between these, as far as its access says.
pub(crate) fn loaded(access: Access) -> Option<(i64, i64)> {
    match (access.width, access.class) {
        (Width::U8, Class::Bools) => Some((0, 1)),
        (Width::U8, _) => Some((0, 0xFF)),
        (Width::U16, _) => Some((0, 0xFFFF)),
        (Width::U32, _) => Some((0, 0xFFFF_FFFF)),
        (_, Class::Len | Class::Capacity) => Some((0, LONGEST)),
        _ => None,
    }
}

/// What an int lies between, as its definition alone shows.
pub(crate) fn bounds(func: &Function, value: Value) -> Option<(i64, i64)> {
    if is_bool(func, value) {
        return Some((0, 1));
    }
    let data = func.def(value)?;
    let constant = |i: usize| func.int_const(data.args[i]);
    match data.op {
        Op::Iconst => Some((data.imm, data.imm)),
        Op::StringLen | Op::AsciiLen => Some((0, LONGEST)),
        Op::SmallInt => Some((-(1 << 47), (1 << 47) - 1)),
        Op::Iand => Some((0, (0..2).filter_map(constant).find(|&c| c >= 0)?)),
        Op::Irem => {
            let most = constant(1)?.unsigned_abs().checked_sub(1)?.min(i64::MAX as u64) as i64;
            Some((-most, most))
        }
        Op::Load | Op::LoadAt => data.access.and_then(loaded),
        _ => None,
    }
}

/// Whether a cell may be an object, which the collector moves.
pub(crate) fn may_be_object(func: &Function, value: Value) -> bool {
    func.ty(value) == Type::Cell && func.def(value).is_none_or(|d| !d.op.info().plain)
}

/// Whether an int is 0 or 1, as far as its definition says.
pub(crate) fn is_bool(func: &Function, value: Value) -> bool {
    bool_within(func, value, 3)
}

fn bool_within(func: &Function, value: Value, depth: u32) -> bool {
    let Some(data) = func.def(value) else { return false };
    match data.op {
        Op::Iconst => matches!(data.imm, 0 | 1),
        Op::Icmp
        | Op::Fcmp
        | Op::IsSmall
        | Op::IsFloat
        | Op::IsObject
        | Op::Same
        | Op::IaddOverflows
        | Op::IsubOverflows
        | Op::ImulOverflows => true,
        Op::Iand if depth > 0 => data.args.iter().any(|&a| bool_within(func, a, depth - 1)),
        Op::Ior | Op::Ixor | Op::Imin | Op::Imax if depth > 0 => {
            data.args.iter().all(|&a| bool_within(func, a, depth - 1))
        }
        Op::SelectInt if depth > 0 => data.args[1..].iter().all(|&a| bool_within(func, a, depth - 1)),
        _ => false,
    }
}

/// The instructions of a block while they are written anew.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    /// What is written so far.
    pub(crate) insts: Vec<Inst>,
}

impl Rewriter {
    /// Appends a new instruction that defines a value.
    pub(crate) fn def(&mut self, func: &mut Function, data: InstData) -> Value {
        let (inst, value) = func.make(data);
        self.insts.push(inst);
        match value {
            Some(value) => value,
            None => unreachable!("internal error: an instruction without a result where one is needed"),
        }
    }

    /// Appends an int constant.
    pub(crate) fn int(&mut self, func: &mut Function, value: i64) -> Value {
        self.def(func, InstData::new(Op::Iconst, &[]).imm(value))
    }
}

#[cfg(test)]
mod tests;
