//! Random functions in SSA form, for tests of passes: they pass the verifier, end soon, and keep to what ops assume.
//!
//! What they do stays inside the objects of [`crate::eval::tests`]: records, boxes of captured variables, lists of ints with their
//! buffers, a table of globals. Parameters of one kind may be the same object. Checks that mostly hold stand before the ops
//! that need them, so passes have something to find, and the code behind them something to do.

use upshift_runtime::object::ObjectKind;
use upshift_runtime::value::Value as Cell;

use crate::helper::Helper;
use crate::ir::*;

/// A small generator of random numbers, the same on all platforms (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
    /// Numbers that tend to be small or extreme.
    pub(crate) fn number(&mut self) -> i64 {
        match self.below(8) {
            0..=3 => self.below(6) as i64 - 1,
            4 | 5 => self.below(300) as i64 - 20,
            6 => self.pick(&[i64::MAX, i64::MIN, 63, 64, 1 << 47, -(1 << 47) - 1, i64::from(i32::MAX)]),
            _ => self.bits() as i64,
        }
    }
    pub(crate) fn float(&mut self) -> f64 {
        match self.below(6) {
            0 => self.pick(&[0.0, -0.0, f64::NAN, f64::INFINITY, 1e300, 5e-324, 9.3e18]),
            1 => self.below(1000) as f64 / 8.0 - 20.0,
            _ => self.below(8) as f64 - 1.0,
        }
    }
    /// A cell that is no object.
    pub(crate) fn cell(&mut self) -> Cell {
        match self.below(5) {
            0 => self.pick(&[Cell::NIL, Cell::TRUE, Cell::FALSE, Cell::HOLE, Cell::EMPTY_STRING]),
            1 => Cell::float(self.float()),
            _ => Cell::small_int(self.number()).unwrap_or(Cell::NIL),
        }
    }
}

/// The offset of globals in the context.
pub(crate) const GLOBALS: i64 = 64;
/// What the parameters are, in order.
pub(crate) const PARAMS: &[Kind] = &[
    Kind::Int,
    Kind::Int,
    Kind::Float,
    Kind::Cell,
    Kind::Record,
    Kind::Record,
    Kind::RefInt,
    Kind::RefInt,
    Kind::RefFloat,
    Kind::List,
    Kind::List,
];

/// What is known of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Int,
    Float,
    /// Any cell.
    Cell,
    /// Two cells and an int.
    Record,
    RefInt,
    RefFloat,
    /// A list of ints.
    List,
}

const KINDS: usize = 7;

impl Kind {
    pub(crate) fn ty(self) -> Type {
        match self {
            Kind::Int => Type::Int,
            Kind::Float => Type::Float,
            _ => Type::Cell,
        }
    }
}

/// The values that may be used, by kind.
type Scope = [Vec<Value>; KINDS];

/// A function of about so many statements.
pub(crate) fn function(random: &mut Random, size: usize) -> Function {
    let func = Function { name: "random".into(), ..Function::default() };
    let result = random.pick(&[None, Some(Type::Int), Some(Type::Float), Some(Type::Cell)]);
    let mut g = Generator {
        random,
        func,
        scope: Scope::default(),
        block: Block::from_u32(0),
        left: size,
        word: 0,
        state: None,
    };
    g.func.result = result;
    g.block = g.func.add_block();
    for (slot, &kind) in PARAMS.iter().enumerate() {
        let v = g.func.add_param(g.block, kind.ty());
        g.add(kind, v);
        g.func.params.push(slot as u32);
    }
    while g.left > 0 {
        g.statement(0);
    }
    g.give_back();
    g.func
}

struct Generator<'a> {
    random: &'a mut Random,
    func: Function,
    scope: Scope,
    block: Block,
    /// How many statements may come.
    left: usize,
    word: u32,
    /// The state that the next op which leaves may share.
    state: Option<State>,
}

impl Generator<'_> {
    fn add(&mut self, kind: Kind, value: Value) {
        self.scope[kind as usize].push(value);
    }

    fn push(&mut self, data: InstData) {
        self.func.append(self.block, data);
    }

    fn def(&mut self, kind: Kind, data: InstData) -> Value {
        let value = self.func.append(self.block, data).unwrap();
        self.add(kind, value);
        value
    }

    fn op(&mut self, kind: Kind, op: Op, args: &[Value]) -> Value {
        self.def(kind, InstData::new(op, args))
    }

    fn iconst(&mut self, n: i64) -> Value {
        self.def(Kind::Int, InstData::new(Op::Iconst, &[]).imm(n))
    }

    fn icmp(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        self.def(Kind::Int, InstData::new(Op::Icmp, &[a, b]).imm(cond as i64))
    }

    fn fconst(&mut self, x: f64) -> Value {
        self.def(Kind::Float, InstData::new(Op::Fconst, &[]).imm(x.to_bits() as i64))
    }

    fn fcmp(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        self.def(Kind::Int, InstData::new(Op::Fcmp, &[a, b]).imm(cond as i64))
    }

    /// A value of a kind: a recent one more often, sometimes a new constant.
    fn get(&mut self, kind: Kind) -> Value {
        let known = &self.scope[kind as usize];
        let count = known.len();
        if count > 0 && !self.random.one_in(6) {
            let recent = if self.random.one_in(2) { count.min(5) } else { count };
            return self.scope[kind as usize][count - 1 - self.random.below(recent)];
        }
        match kind {
            Kind::Int => {
                let n = self.random.number();
                self.iconst(n)
            }
            Kind::Float => {
                let x = self.random.float();
                self.fconst(x)
            }
            Kind::Cell => {
                let c = self.random.cell();
                self.def(Kind::Cell, InstData::new(Op::Cconst, &[]).imm(c.bits() as i64))
            }
            // There is always a parameter.
            Kind::Record | Kind::RefInt | Kind::RefFloat | Kind::List => self.scope[kind as usize][0],
        }
    }

    /// Any cell, objects too.
    fn any_cell(&mut self) -> Value {
        let kind = self.random.pick(&[Kind::Cell, Kind::Cell, Kind::Cell, Kind::Record, Kind::RefInt]);
        self.get(kind)
    }

    /// A frame state. `all` names every cell.
    fn state(&mut self, all: bool) -> State {
        if let Some(state) = self.state.filter(|_| !all && self.random.one_in(2)) {
            return state;
        }
        let mut slots = Vec::new();
        for kind in PARAMS {
            if kind.ty() != Type::Cell || self.random.one_in(3) {
                slots.push(self.get(*kind));
            }
        }
        if all {
            slots.extend(self.scope[Kind::Cell as usize..].iter().flatten());
        }
        let middle = self.random.below(slots.len() + 1);
        let mut slots = slots.into_iter().enumerate().map(|(i, v)| (i as u32, v));
        let mut frame = |func: &mut Function, parent: Option<State>, count: usize, word: u32| {
            let slots: Vec<_> = slots.by_ref().take(count).collect();
            let base = slots.first().map_or(0, |s: &(u32, Value)| s.0);
            func.states.push(StateData {
                parent: parent.into(),
                function: 1,
                word,
                origin: word.is_multiple_of(3).then_some((2, word + 1)),
                base,
                end: u32::MAX,
                slots,
            })
        };
        self.word += 2;
        let parent = self.random.one_in(3).then(|| frame(&mut self.func, None, middle, self.word - 1));
        let state = frame(&mut self.func, parent, usize::MAX, self.word);
        self.state = Some(state);
        state
    }

    /// A check that the condition is not 0.
    fn guard(&mut self, condition: Value, reason: Reason) {
        let state = self.state(false);
        self.push(InstData::new(Op::Guard, &[condition]).imm(reason as i64).state(state));
    }

    /// An op that needs a condition: behind a check, or on the way that a branch takes where the condition holds.
    fn when(&mut self, condition: Value, reason: Reason, kind: Kind, op: impl FnOnce(&mut Self) -> Value) {
        if self.random.one_in(3) {
            self.guard(condition, reason);
            op(self);
            return;
        }
        let other = self.get(kind);
        let (on, join) = (self.later(), self.later());
        self.branch(condition, [Self::target(on, &[]), Self::target(join, &[other])]);
        let scope = self.scope.clone();
        self.start(on);
        let value = op(self);
        self.jump(join, &[value]);
        self.scope = scope;
        self.start(join);
        self.params(join, &[kind]);
    }

    fn site(&mut self, result: Option<Type>, effects: SiteEffects) -> Site {
        let routine = self.random.below(100) as u32;
        self.func.sites.push(SiteData { result, effects, ..SiteData::plain(routine) })
    }

    // ---- Statements ----

    fn statement(&mut self, depth: usize) {
        self.left = self.left.saturating_sub(1);
        match self.random.below(30) {
            0..=5 => self.ints(),
            6 => self.checked(),
            7..=8 => self.floats(),
            9..=11 => self.cells(),
            12 => self.division(),
            13..=14 => self.guards(),
            15..=17 => self.fields(),
            18..=19 => self.boxes(),
            20..=21 => self.elements(),
            22 => self.globals(),
            23 => self.new_object(),
            24 => self.calls(),
            25 if depth < 3 => self.leave_early(),
            26..=27 if depth < 3 => self.branches(depth),
            28 if depth < 2 => self.counted_loop(depth),
            29 if depth < 3 => self.switch(depth),
            _ => self.ints(),
        }
    }

    fn ints(&mut self) {
        let (a, b, c) = (self.get(Kind::Int), self.get(Kind::Int), self.get(Kind::Int));
        match self.random.below(8) {
            0 => {
                let op = self.random.pick(&[
                    Op::IaddOverflows,
                    Op::IsubOverflows,
                    Op::ImulOverflows,
                    Op::Imulh,
                    Op::Imin,
                    Op::Imax,
                ]);
                self.op(Kind::Int, op, &[a, b]);
            }
            1 => {
                self.op(Kind::Int, Op::Iextend32, &[a]);
            }
            2 => {
                let cond = self.random.pick(Cond::ALL);
                self.icmp(cond, a, b);
            }
            3 => {
                self.op(Kind::Int, Op::SelectInt, &[a, b, c]);
            }
            4 => {
                let op = self.random.pick(&[Op::Ishl, Op::IshrS, Op::IshrU, Op::Iand, Op::Ior, Op::Ixor]);
                self.op(Kind::Int, op, &[a, b]);
            }
            _ => {
                let op = self.random.pick(&[Op::Iadd, Op::Iadd, Op::Isub, Op::Imul, Op::Iand, Op::Ixor]);
                self.op(Kind::Int, op, &[a, b]);
            }
        }
    }

    fn checked(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let state = self.state(false);
        let op = self.random.pick(&[Op::IaddExit, Op::IsubExit, Op::ImulExit]);
        let reason = self.random.pick(&[Reason::Overflow, Reason::Wide]);
        self.def(Kind::Int, InstData::new(op, &[a, b]).imm(reason as i64).state(state));
    }

    fn floats(&mut self) {
        let (a, b) = (self.get(Kind::Float), self.get(Kind::Float));
        match self.random.below(8) {
            0 => {
                let op =
                    self.random.pick(&[Op::Fneg, Op::Fabs, Op::Fsqrt, Op::Ffloor, Op::Fceil, Op::Ftrunc]);
                self.op(Kind::Float, op, &[a]);
            }
            1 => {
                let helper = self.random.pick(&[Helper::FloatRound, Helper::FloatSin, Helper::FloatExp]);
                self.def(Kind::Float, InstData::new(Op::Fcall1, &[a]).imm(helper as i64));
            }
            2 => {
                let helper = self.random.pick(&[Helper::FloatRem, Helper::FloatPow]);
                self.def(Kind::Float, InstData::new(Op::Fcall2, &[a, b]).imm(helper as i64));
            }
            3 => {
                let cond = self.random.pick(&Cond::ALL[..6]);
                self.fcmp(cond, a, b);
            }
            4 => {
                let n = self.get(Kind::Int);
                let op = self.random.pick(&[Op::FfromInt, Op::FfromBits]);
                self.op(Kind::Float, op, &[n]);
            }
            5 => match self.random.below(2) {
                0 => {
                    // Bits of NaN depend on the order of operands.
                    let is = self.fcmp(Cond::Eq, a, a);
                    self.when(is, Reason::Kind, Kind::Int, |g| g.op(Kind::Int, Op::IfromBits, &[a]));
                }
                _ => {
                    let (low, high) = (self.fconst(-9.0e18), self.fconst(9.0e18));
                    let (above, below) = (self.fcmp(Cond::Lt, low, a), self.fcmp(Cond::Lt, a, high));
                    let both = self.op(Kind::Int, Op::Iand, &[above, below]);
                    self.when(both, Reason::Wide, Kind::Int, |g| g.op(Kind::Int, Op::IfromFloat, &[a]));
                }
            },
            _ => {
                let op = self.random.pick(&[Op::Fadd, Op::Fsub, Op::Fmul, Op::Fdiv, Op::Fmin, Op::Fmax]);
                self.op(Kind::Float, op, &[a, b]);
            }
        }
    }

    fn cells(&mut self) {
        let (n, x) = (self.get(Kind::Int), self.get(Kind::Float));
        let (c, d) = (self.any_cell(), self.any_cell());
        match self.random.below(10) {
            0 => {
                self.op(Kind::Cell, Op::BoxFloat, &[x]);
            }
            1 => {
                self.op(Kind::Cell, Op::BoxBool, &[n]);
            }
            2 => {
                let n = self.op(Kind::Int, Op::Iextend32, &[n]);
                self.op(Kind::Cell, Op::BoxSmall, &[n]);
            }
            3 => {
                let sixteen = self.iconst(16);
                let up = self.op(Kind::Int, Op::Ishl, &[n, sixteen]);
                let same = self.op(Kind::Int, Op::IshrS, &[up, sixteen]);
                let fits = self.icmp(Cond::Eq, same, n);
                self.when(fits, Reason::Wide, Kind::Cell, |g| g.op(Kind::Cell, Op::BoxSmall, &[n]));
            }
            4 => {
                let effects = SiteEffects { collects: true, ..SiteEffects::default() };
                let site = self.site(Some(Type::Cell), effects);
                let state = self.state(true);
                self.def(Kind::Cell, InstData::new(Op::BoxInt, &[n]).state(state).site(site));
            }
            5 => {
                let is = self.op(Kind::Int, Op::IsSmall, &[c]);
                self.when(is, Reason::Kind, Kind::Int, |g| g.op(Kind::Int, Op::SmallInt, &[c]));
            }
            6 => {
                let is = self.op(Kind::Int, Op::IsFloat, &[c]);
                self.when(is, Reason::Kind, Kind::Float, |g| g.op(Kind::Float, Op::CellFloat, &[c]));
            }
            7 => {
                let op = self.random.pick(&[Op::IsSmall, Op::IsFloat, Op::IsObject]);
                self.op(Kind::Int, op, &[c]);
                // Not in scope: whether wide ints of equal value are one object is not for programs to see.
                let same = self.func.append(self.block, InstData::new(Op::Same, &[c, d])).unwrap();
                let identical = self.identical(c, d);
                self.op(Kind::Int, Op::Ior, &[same, identical]);
            }
            8 => {
                // Not in scope: the bits of objects are only compared.
                let bits = self.func.append(self.block, InstData::new(Op::Bits, &[c])).unwrap();
                let other = self.random.cell().bits() as i64;
                let other = self.iconst(other);
                let cond = self.random.pick(&[Cond::Eq, Cond::Ne]);
                self.icmp(cond, bits, other);
            }
            _ => {
                self.op(Kind::Cell, Op::SelectCell, &[n, c, d]);
            }
        }
    }

    fn division(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let (zero, minus_one) = (self.iconst(0), self.iconst(-1));
        let is = self.icmp(Cond::Ne, b, zero);
        let divides = self.random.one_in(2);
        self.when(is, Reason::Division, Kind::Int, |g| {
            if divides {
                let is = g.icmp(Cond::Ne, b, minus_one);
                g.guard(is, Reason::Division);
                g.op(Kind::Int, Op::Idiv, &[a, b])
            } else {
                g.op(Kind::Int, Op::Irem, &[a, b])
            }
        });
    }

    fn guards(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let condition = match self.random.below(8) {
            0 => a,
            1 => self.icmp(Cond::Ne, a, b),
            // Nearly always true.
            _ => {
                let limit = self.random.pick(&[-30, -100, i64::MIN]);
                let limit = self.iconst(limit);
                self.icmp(Cond::Ge, a, limit)
            }
        };
        let reason = self.random.pick(Reason::ALL);
        self.guard(condition, reason);
    }

    fn fields(&mut self) {
        let record = self.get(Kind::Record);
        let offset = self.random.pick(&[8, 16, 24]);
        let width = if offset == 24 { Width::Int } else { Width::Cell };
        if self.random.one_in(2) {
            let kind = if offset == 24 { Kind::Int } else { Kind::Cell };
            self.def(kind, InstData::new(Op::Load, &[record]).imm(offset).access(Class::Field, width));
            return;
        }
        let (op, value) =
            if offset == 24 { (Op::Store, self.get(Kind::Int)) } else { (Op::StoreCell, self.any_cell()) };
        self.push(InstData::new(op, &[record, value]).imm(offset).access(Class::Field, width));
        self.state = None;
    }

    fn boxes(&mut self) {
        let (of, content, width) = self.random.pick(&[
            (Kind::RefInt, Kind::Int, Width::Int),
            (Kind::RefInt, Kind::Int, Width::Int),
            (Kind::RefFloat, Kind::Float, Width::Float),
        ]);
        let at = self.get(of);
        let load =
            |g: &mut Self| g.def(content, InstData::new(Op::Load, &[at]).imm(8).access(Class::Ref, width));
        if self.random.one_in(3) {
            load(self);
            return;
        }
        let value = match content {
            Kind::Int if self.random.one_in(2) => {
                let (now, by) = (load(self), self.get(Kind::Int));
                self.op(Kind::Int, Op::Iadd, &[now, by])
            }
            _ => self.get(content),
        };
        self.push(InstData::new(Op::Store, &[at, value]).imm(8).access(Class::Ref, width));
        self.state = None;
    }

    fn elements(&mut self) {
        let list = self.get(Kind::List);
        let len = self.def(Kind::Int, InstData::new(Op::Load, &[list]).imm(8).access(Class::Len, Width::Int));
        let index = if self.random.one_in(2) {
            let (a, three) = (self.get(Kind::Int), self.iconst(3));
            self.op(Kind::Int, Op::Iand, &[a, three])
        } else {
            self.get(Kind::Int)
        };
        let inside = self.icmp(Cond::Ult, index, len);
        self.when(inside, Reason::Bounds, Kind::Int, |g| {
            // Not in scope: a pointer is not used across collections.
            let load = InstData::new(Op::Load, &[list]).imm(16).access(Class::Buffer, Width::Ptr);
            let buffer = g.func.append(g.block, load).unwrap();
            if g.random.one_in(2) {
                let load = InstData::new(Op::LoadAt, &[buffer, index]);
                return g.def(Kind::Int, load.imm(8).access(Class::Ints, Width::Int));
            }
            let value = g.get(Kind::Int);
            let store = InstData::new(Op::StoreAt, &[buffer, index, value]);
            g.push(store.imm(8).access(Class::Ints, Width::Int));
            g.state = None;
            value
        });
        if self.random.one_in(8) {
            let len = self.random.below(5) as i64;
            let len = self.iconst(len);
            self.push(InstData::new(Op::Store, &[list, len]).imm(8).access(Class::Len, Width::Int));
            self.state = None;
        }
    }

    fn globals(&mut self) {
        let context = InstData::new(Op::Context, &[]).imm(GLOBALS);
        let table = self.func.append(self.block, context).unwrap();
        let (offset, kind, width) = self.random.pick(&[
            (0, Kind::Int, Width::Int),
            (8, Kind::Float, Width::Float),
            (16, Kind::Cell, Width::Cell),
        ]);
        if self.random.one_in(2) {
            self.def(kind, InstData::new(Op::Load, &[table]).imm(offset).access(Class::Global, width));
            return;
        }
        let (op, value) =
            if kind == Kind::Cell { (Op::StoreCell, self.any_cell()) } else { (Op::Store, self.get(kind)) };
        self.push(InstData::new(op, &[table, value]).imm(offset).access(Class::Global, width));
        self.state = None;
    }

    fn new_object(&mut self) {
        let kind = self.random.pick(&[Kind::RefInt, Kind::RefFloat, Kind::Record]);
        self.new_of(kind);
    }

    fn new_of(&mut self, kind: Kind) -> Value {
        let effects = SiteEffects { collects: true, ..SiteEffects::default() };
        let site = self.site(Some(Type::Cell), effects);
        let (header, words) = match kind {
            Kind::RefInt => (ObjectKind::RefInt, vec![self.get(Kind::Int)]),
            Kind::RefFloat => (ObjectKind::RefFloat, vec![self.get(Kind::Float)]),
            _ => (ObjectKind::Record, vec![self.any_cell(), self.any_cell(), self.get(Kind::Int)]),
        };
        let state = self.state(true);
        self.def(kind, InstData::new(Op::Alloc, &words).imm(header as i64).state(state).site(site))
    }

    fn calls(&mut self) {
        if self.random.one_in(4) {
            let (a, b) = (self.any_cell(), self.any_cell());
            self.identical(a, b);
            return;
        }
        let call = self.random.one_in(2);
        let (writes, reads) =
            if call { (true, true) } else { (self.random.one_in(2), self.random.one_in(2)) };
        let collects = call || self.random.one_in(2);
        let calls = call || (writes && reads && self.random.one_in(2));
        let effects = SiteEffects { writes, reads, collects, calls, ..SiteEffects::default() };
        let kind = self.random.pick(&[None, Some(Kind::Int), Some(Kind::Float), Some(Kind::Cell)]);
        let site = self.site(kind.map(Kind::ty), effects);
        let data = if call {
            let args = [self.get(Kind::Int), self.any_cell(), self.get(Kind::Float)];
            self.func.sites[site].params = Box::new([90, 91, 92]);
            InstData::new(Op::Call, &args)
        } else {
            InstData::new(Op::Routine, &[])
        };
        let state = self.state(collects);
        if !call && self.random.one_in(2) {
            let mut slots = Vec::new();
            self.func.each_state(state, |data| slots.extend(data.slots.iter().map(|s| s.0)));
            slots.retain(|_| self.random.one_in(4));
            self.func.sites[site].uses = Some(slots.into());
        }
        let data = data.state(state).site(site);
        match kind {
            Some(kind) => drop(self.def(kind, data)),
            None => self.push(data),
        }
        self.state = None;
    }

    fn identical(&mut self, a: Value, b: Value) -> Value {
        let site = self.site(Some(Type::Int), SiteEffects::default());
        let helper = InstData::new(Op::Helper, &[a, b]).imm(Helper::CellIdentical as i64);
        self.def(Kind::Int, helper.site(site))
    }

    // ---- Control ----

    /// A block that has no place in the layout yet.
    fn later(&mut self) -> Block {
        self.func.blocks.push(BlockData::default())
    }

    fn start(&mut self, block: Block) {
        self.func.layout.push(block);
        self.block = block;
        self.state = None;
    }

    /// Values of these kinds.
    fn some(&mut self, kinds: &[Kind]) -> Vec<Value> {
        let one = |&kind: &Kind| match kind {
            Kind::Cell => self.any_cell(),
            Kind::Record | Kind::RefInt | Kind::RefFloat if self.random.one_in(2) => self.new_of(kind),
            kind => self.get(kind),
        };
        kinds.iter().map(one).collect()
    }

    fn target(block: Block, args: &[Value]) -> Target {
        Target { block, args: args.into() }
    }

    fn jump(&mut self, block: Block, args: &[Value]) {
        self.push(InstData::new(Op::Jump, &[]).targets([Self::target(block, args)]));
    }

    fn branch(&mut self, condition: Value, targets: [Target; 2]) {
        self.push(InstData::new(Op::Branch, &[condition]).targets(targets));
    }

    fn params(&mut self, block: Block, kinds: &[Kind]) -> Vec<Value> {
        kinds
            .iter()
            .map(|&kind| {
                let v = self.func.add_param(block, kind.ty());
                self.add(kind, v);
                v
            })
            .collect()
    }

    fn kinds(&mut self, most: usize) -> Vec<Kind> {
        let all = &[Kind::Int, Kind::Int, Kind::Float, Kind::Cell, Kind::Record, Kind::RefInt];
        (0..self.random.below(most + 1)).map(|_| self.random.pick(all)).collect()
    }

    /// Ends the block: a return, sometimes an exit.
    fn give_back(&mut self) {
        if self.random.one_in(6) {
            let state = self.state(false);
            let reason = self.random.pick(Reason::ALL);
            self.push(InstData::new(Op::Exit, &[]).imm(reason as i64).state(state));
            return;
        }
        let value = match self.func.result {
            None => None,
            Some(Type::Int) => Some(self.get(Kind::Int)),
            Some(Type::Float) => Some(self.get(Kind::Float)),
            Some(_) => Some(self.any_cell()),
        };
        self.push(InstData::new(Op::Return, value.as_slice()));
    }

    /// A condition, which is not always 0 or 1.
    fn condition(&mut self) -> Value {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        if self.random.one_in(4) {
            return a;
        }
        let cond = self.random.pick(Cond::ALL);
        self.icmp(cond, a, b)
    }

    fn statements(&mut self, depth: usize, most: usize) {
        for _ in 0..self.random.below(most + 1) {
            if self.left > 0 {
                self.statement(depth);
            }
        }
    }

    fn leave_early(&mut self) {
        let condition = if self.random.one_in(3) {
            self.condition()
        } else {
            let (a, b) = (self.get(Kind::Int), self.iconst(5));
            self.icmp(Cond::Ne, a, b)
        };
        let (out, on) = (self.later(), self.later());
        self.branch(condition, [Self::target(on, &[]), Self::target(out, &[])]);
        self.func.blocks[out].cold = true;
        let scope = self.scope.clone();
        self.start(out);
        self.give_back();
        self.scope = scope;
        self.start(on);
    }

    fn branches(&mut self, depth: usize) {
        let condition = self.condition();
        let kinds = self.kinds(3);
        let (yes, no, join) = (self.later(), self.later(), self.later());
        let scope = self.scope.clone();
        // Sometimes one of the ways leads straight to the end.
        if self.random.one_in(3) {
            let args = self.some(&kinds);
            let scope = self.scope.clone();
            let mut targets = [Self::target(yes, &[]), Self::target(join, &args)];
            if self.random.one_in(2) {
                targets.reverse();
            }
            self.branch(condition, targets);
            self.arm(depth, yes, join, &kinds);
            self.scope = scope;
        } else {
            self.branch(condition, [Self::target(yes, &[]), Self::target(no, &[])]);
            self.arm(depth, yes, join, &kinds);
            self.scope = scope.clone();
            self.arm(depth, no, join, &kinds);
            self.scope = scope;
        }
        self.start(join);
        self.params(join, &kinds);
    }

    fn arm(&mut self, depth: usize, block: Block, join: Block, kinds: &[Kind]) {
        self.start(block);
        self.func.blocks[block].cold = self.random.one_in(3);
        self.statements(depth + 1, 4);
        let args = self.some(kinds);
        self.jump(join, &args);
    }

    fn switch(&mut self, depth: usize) {
        let kinds = self.kinds(2);
        let (a, mask) = (self.get(Kind::Int), self.iconst(3));
        let value = if self.random.one_in(2) { a } else { self.op(Kind::Int, Op::Iand, &[a, mask]) };
        let count = self.random.below(4);
        let cases: Box<[i64]> = (0..count as i64).map(|i| i * 2 - 1).collect();
        let join = self.later();
        let arms: Vec<Block> = (0..=count).map(|_| self.later()).collect();
        let targets = arms.iter().map(|&b| Self::target(b, &[]));
        let number = self.func.cases.len() as i64;
        self.func.cases.push(cases);
        self.push(InstData::new(Op::Switch, &[value]).imm(number).targets(targets));
        let scope = self.scope.clone();
        for arm in arms {
            self.arm(depth, arm, join, &kinds);
            self.scope = scope.clone();
        }
        self.start(join);
        self.params(join, &kinds);
    }

    /// A loop that runs a few times: it counts up, carries other values, and may be left in the middle.
    fn counted_loop(&mut self, depth: usize) {
        let kinds = self.kinds(3);
        let limit = if self.random.one_in(2) {
            let (a, five) = (self.get(Kind::Int), self.iconst(5));
            self.op(Kind::Int, Op::Iand, &[a, five])
        } else {
            let n = self.random.below(5) as i64;
            self.iconst(n)
        };
        let (zero, one) = (self.iconst(0), self.iconst(1));
        let mut args = vec![zero];
        args.extend(self.some(&kinds));
        let (header, body, end) = (self.later(), self.later(), self.later());
        let tested_first = self.random.one_in(2);
        self.jump(header, &args);
        let scope = self.scope.clone();
        self.start(header);
        let counter = self.func.add_param(header, Type::Int);
        self.add(Kind::Int, counter);
        let carried = self.params(header, &kinds);
        let state = self.state(false);
        self.push(InstData::new(Op::Poll, &[]).state(state));
        if tested_first {
            let more = self.icmp(Cond::Lt, counter, limit);
            self.branch(more, [Self::target(body, &[]), Self::target(end, &carried)]);
            self.start(body);
        }
        self.statements(depth + 1, 5);
        if self.random.one_in(3) {
            let condition = self.condition();
            let on = self.later();
            let args = self.some(&kinds);
            self.branch(condition, [Self::target(on, &[]), Self::target(end, &args)]);
            self.start(on);
            self.statements(depth + 1, 2);
        }
        let next = self.op(Kind::Int, Op::Iadd, &[counter, one]);
        let mut args = vec![next];
        args.extend(self.some(&kinds));
        if tested_first {
            self.jump(header, &args);
        } else {
            let more = self.icmp(Cond::Lt, next, limit);
            let out = args[1..].to_vec();
            self.branch(more, [Self::target(header, &args), Self::target(end, &out)]);
        }
        self.scope = scope;
        self.start(end);
        self.params(end, &kinds);
    }
}
