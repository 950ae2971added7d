//! Random loops, in the form that the builder gives them, do the same after passes.
//!
//! `eval/tests.rs` does this for functions of all kinds; here they are loops: counted up and down, by several steps, to bounds of many
//! forms, nested, with lists that are read, written and grown by positions that follow from the counters, cells whose kind is
//! checked, sums that are checked. What passes may do beyond doing the same is to leave where a loop is entered, before anything is
//! done: then the interpreter starts with the loop. Such an end is right if the function itself came by there with the same frame and
//! the same memory, which is noted by asking the world at each charge.
//!
//! `LOOP_SEEDS=n` tries so many functions, `LOOP_FIRST=n` begins there.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use upshift_runtime::object::ObjectKind;
use upshift_runtime::value::Value as Cell;

use crate::eval::random::Random;
use crate::eval::{Memory, Outcome, Question, World, evaluate};
use crate::ir::*;
use crate::passes;
use crate::text::print;
use crate::verify::verify;

const LISTS: [u64; 2] = [0x1000, 0x1100];
const REFS: [u64; 2] = [0x6000, 0x6100];
const ROWS: u64 = 0x2000;
const BUFFERS: [u64; 2] = [0x3000, 0x3200];
const ROW_BUFFER: u64 = 0x4000;
const CAPACITY: usize = 8;

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Int,
    /// A list of ints.
    List,
    /// A list of lists of ints.
    Rows,
    /// A list of ints, or something else.
    Any,
    /// A cell with a small int or a float.
    Number,
    /// A box of a captured int.
    Ref,
}

const KINDS: usize = 6;

struct Generator<'a> {
    random: &'a mut Random,
    func: Function,
    scope: [Vec<Value>; KINDS],
    block: Block,
    left: usize,
    word: u32,
    /// Counters of loops around.
    counters: Vec<Value>,
}

type Effects = SiteEffects;

impl Generator<'_> {
    fn push(&mut self, data: InstData) -> Option<Value> {
        self.func.append(self.block, data)
    }
    fn def(&mut self, data: InstData) -> Value {
        self.push(data).unwrap()
    }
    fn op(&mut self, op: Op, args: &[Value]) -> Value {
        self.def(InstData::new(op, args))
    }
    fn int(&mut self, n: i64) -> Value {
        self.def(InstData::new(Op::Iconst, &[]).imm(n))
    }
    fn icmp(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        self.def(InstData::new(Op::Icmp, &[a, b]).imm(cond as i64))
    }
    fn load(&mut self, class: Class, width: Width, base: Value, offset: i64) -> Value {
        self.def(InstData::new(Op::Load, &[base]).imm(offset).access(class, width))
    }

    /// All that is in scope.
    fn state(&mut self) -> State {
        self.word += 1;
        let mut all: Vec<Value> = self.scope.iter().flatten().copied().collect();
        // Much of it is dead, mostly.
        if all.len() > 24 {
            let (ints, cells): (Vec<Value>, Vec<Value>) =
                all.iter().partition(|&&v| self.func.ty(v) == Type::Int);
            all = ints.into_iter().rev().take(12).chain(cells).collect();
        }
        let slots = all.into_iter().enumerate().map(|(i, v)| (i as u32, v)).collect();
        self.func.states.push(StateData {
            parent: None.into(),
            function: 1,
            word: self.word,
            origin: None,
            base: 0,
            end: u32::MAX,
            slots,
        })
    }

    fn guard(&mut self, cond: Value, reason: Reason) {
        let state = self.state();
        self.push(InstData::new(Op::Guard, &[cond]).imm(reason as i64).state(state));
    }

    fn get(&mut self, kind: Kind) -> Value {
        if kind == Kind::Int {
            if !self.counters.is_empty() && self.random.one_in(2) {
                let some = self.counters.clone();
                return self.random.pick(&some);
            }
            if self.random.one_in(4) {
                let n = self.number();
                return self.int(n);
            }
        }
        if kind == Kind::Number && (self.scope[kind as usize].is_empty() || self.random.one_in(5)) {
            let cell = if self.random.one_in(2) {
                Cell::small_int(self.random.below(5) as i64).unwrap_or(Cell::NIL)
            } else {
                Cell::float(self.random.float())
            };
            return self.def(InstData::new(Op::Cconst, &[]).imm(cell.bits() as i64));
        }
        let known = self.scope[kind as usize].clone();
        self.random.pick(&known)
    }

    fn number(&mut self) -> i64 {
        match self.random.below(10) {
            0 => self.random.pick(&[i64::MAX, i64::MIN, i64::MAX - 1, 1 << 47, (1 << 47) - 1, -(1 << 47)]),
            _ => self.random.below(9) as i64 - 2,
        }
    }

    fn add(&mut self, kind: Kind, value: Value) {
        self.scope[kind as usize].push(value);
    }

    fn block(&mut self) -> Block {
        self.func.blocks.push(BlockData::default())
    }

    fn start(&mut self, block: Block) {
        self.func.layout.push(block);
        self.block = block;
    }

    fn goto(&mut self, block: Block, args: &[Value]) {
        let target = Target { block, args: args.iter().copied().collect() };
        self.push(InstData::new(Op::Jump, &[]).targets([target]));
    }

    fn branch(&mut self, cond: Value, to: [Block; 2]) {
        self.push(InstData::new(Op::Branch, &[cond]).targets(to.map(Target::new)));
    }

    fn statement(&mut self, depth: usize) {
        self.left = self.left.saturating_sub(1);
        match self.random.below(30) {
            0..=2 => self.arithmetic(),
            3..=4 => self.checked(),
            5..=8 => self.element(),
            9 => self.row(),
            10 => self.grow(),
            11 => self.dynamic(),
            12 => self.routine(),
            13 => self.compare(),
            14 => self.small(),
            15 => self.alternative(depth),
            16 => self.overflow(),
            17 => self.divide(),
            18 | 19 => self.sum(),
            26..=28 => self.variable(),
            20..=25 if depth < 3 => self.repeat(depth),
            _ => self.arithmetic(),
        }
    }

    fn statements(&mut self, depth: usize, most: usize) {
        for _ in 0..=self.random.below(most) {
            if self.left > 0 {
                self.statement(depth);
            }
        }
    }

    fn arithmetic(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let op = self.random.pick(&[
            Op::Iadd,
            Op::Iadd,
            Op::Isub,
            Op::Imul,
            Op::Imin,
            Op::Imax,
            Op::Iand,
            Op::IshrS,
            Op::Iextend32,
        ]);
        let v = if op == Op::Iextend32 { self.op(op, &[a]) } else { self.op(op, &[a, b]) };
        self.add(Kind::Int, v);
    }

    fn checked(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let op = self.random.pick(&[Op::IaddExit, Op::IsubExit, Op::ImulExit]);
        let state = self.state();
        let v = self.def(InstData::new(op, &[a, b]).imm(Reason::Overflow as i64).state(state));
        self.add(Kind::Int, v);
    }

    fn divide(&mut self) {
        let (mut a, mut b) = (self.get(Kind::Int), self.get(Kind::Int));
        if self.random.one_in(3) {
            let five = self.int(5);
            a = self.op(Op::Isub, &[a, five]);
        }
        match self.random.below(4) {
            0 => {
                let one = self.int(1);
                b = self.op(Op::Ior, &[b, one]);
            }
            1 | 2 => {
                let power = self.random.pick(&[1, 2, 4, 8, -2]);
                b = self.int(power);
                // The rest is known to be none, sometimes.
                if self.random.one_in(2) {
                    let rest = self.op(Op::Irem, &[a, b]);
                    let zero = self.int(0);
                    let even = self.icmp(Cond::Eq, rest, zero);
                    let (yes, no, join) = (self.block(), self.block(), self.block());
                    self.branch(even, [yes, no]);
                    self.start(yes);
                    let half = self.op(Op::Idiv, &[a, b]);
                    self.goto(join, &[half]);
                    self.start(no);
                    let half = self.op(Op::Idiv, &[a, b]);
                    self.goto(join, &[half]);
                    self.start(join);
                    let p = self.func.add_param(join, Type::Int);
                    self.add(Kind::Int, p);
                    return;
                }
            }
            _ => {}
        }
        let zero = self.int(0);
        let some = self.icmp(Cond::Ne, b, zero);
        self.guard(some, Reason::Division);
        let v = if self.random.one_in(2) {
            self.op(Op::Irem, &[a, b])
        } else {
            let (least, minus) = (self.int(i64::MIN), self.int(-1));
            let x = self.icmp(Cond::Ne, a, least);
            let y = self.icmp(Cond::Ne, b, minus);
            let fits = self.op(Op::Ior, &[x, y]);
            self.guard(fits, Reason::Overflow);
            self.op(Op::Idiv, &[a, b])
        };
        self.add(Kind::Int, v);
    }

    fn overflow(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let (ask, op) = self.random.pick(&[
            (Op::IaddOverflows, Op::Iadd),
            (Op::IsubOverflows, Op::Isub),
            (Op::ImulOverflows, Op::Imul),
        ]);
        let over = self.op(ask, &[a, b]);
        let (yes, no, join) = (self.block(), self.block(), self.block());
        self.branch(over, [yes, no]);
        self.start(yes);
        self.goto(join, &[a]);
        self.start(no);
        let v = self.op(op, &[a, b]);
        self.goto(join, &[v]);
        self.start(join);
        let p = self.func.add_param(join, Type::Int);
        self.add(Kind::Int, p);
    }

    fn compare(&mut self) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let cond = self.random.pick(Cond::ALL);
        let v = self.icmp(cond, a, b);
        match self.random.below(4) {
            0 if self.random.one_in(3) => self.guard(v, Reason::Unseen),
            1 => {
                let s = self.op(Op::SelectInt, &[v, a, b]);
                self.add(Kind::Int, s);
            }
            _ => self.add(Kind::Int, v),
        }
    }

    /// A position that follows from others.
    fn position(&mut self) -> Value {
        let i = self.get(Kind::Int);
        match self.random.below(8) {
            0 => {
                let k = self.random.pick(&[1, -1, 2]);
                let k = self.int(k);
                self.op(Op::Iadd, &[i, k])
            }
            1..=4 => {
                let three = self.int(3);
                self.op(Op::Iand, &[i, three])
            }
            5 => {
                let two = self.int(2);
                self.op(Op::Idiv, &[i, two])
            }
            _ => i,
        }
    }

    /// The position in a list, counted from the end where it is negative, sometimes.
    fn inside(&mut self, list: Value, i: Value) -> Value {
        let len = self.load(Class::Len, Width::Int, list, 8);
        let i = if self.random.one_in(2) {
            let zero = self.int(0);
            let negative = self.icmp(Cond::Lt, i, zero);
            let back = self.op(Op::Iadd, &[i, len]);
            self.op(Op::SelectInt, &[negative, back, i])
        } else {
            i
        };
        let inside = self.icmp(Cond::Ult, i, len);
        self.guard(inside, Reason::Bounds);
        i
    }

    fn element(&mut self) {
        let list = self.get(Kind::List);
        let i = self.position();
        let value = self.get(Kind::Int);
        let i = self.inside(list, i);
        let buffer = self.load(Class::Buffer, Width::Ptr, list, 16);
        if self.random.one_in(3) {
            let data = InstData::new(Op::StoreAt, &[buffer, i, value]);
            self.push(data.imm(16).access(Class::Ints, Width::Int));
        } else {
            let data = InstData::new(Op::LoadAt, &[buffer, i]);
            let v = self.def(data.imm(16).access(Class::Ints, Width::Int));
            self.add(Kind::Int, v);
        }
    }

    fn row(&mut self) {
        let list = self.get(Kind::Rows);
        let i = self.position();
        let i = self.inside(list, i);
        let buffer = self.load(Class::Buffer, Width::Ptr, list, 16);
        let v = self.def(InstData::new(Op::LoadAt, &[buffer, i]).imm(16).access(Class::Cells, Width::Cell));
        self.add(Kind::List, v);
    }

    /// Appends where there is room.
    fn grow(&mut self) {
        let list = self.get(Kind::List);
        let value = self.get(Kind::Int);
        let len = self.load(Class::Len, Width::Int, list, 8);
        let buffer = self.load(Class::Buffer, Width::Ptr, list, 16);
        let room = self.load(Class::Capacity, Width::Int, buffer, 8);
        let fits = self.icmp(Cond::Ult, len, room);
        let (yes, join) = (self.block(), self.block());
        self.branch(fits, [yes, join]);
        self.start(yes);
        let data = InstData::new(Op::StoreAt, &[buffer, len, value]);
        self.push(data.imm(16).access(Class::Ints, Width::Int));
        let one = self.int(1);
        let longer = self.op(Op::Iadd, &[len, one]);
        self.push(InstData::new(Op::Store, &[list, longer]).imm(8).access(Class::Len, Width::Int));
        self.goto(join, &[]);
        self.start(join);
    }

    /// The length of what may be a list, behind checks or on the way of a branch.
    fn dynamic(&mut self) {
        let cell = self.get(Kind::Any);
        let object = self.op(Op::IsObject, &[cell]);
        if self.random.one_in(4) {
            self.guard(object, Reason::Kind);
            let kind = self.load(Class::Fixed, Width::U8, cell, 0);
            let wanted = self.int(ObjectKind::ListInt as i64);
            let is = self.icmp(Cond::Eq, kind, wanted);
            self.guard(is, Reason::Kind);
            let len = self.load(Class::Len, Width::Int, cell, 8);
            self.add(Kind::Int, len);
            return;
        }
        let (yes, list, join) = (self.block(), self.block(), self.block());
        let zero = self.int(0);
        let to = |b| Target { block: b, args: [zero].into_iter().collect() };
        self.push(InstData::new(Op::Branch, &[object]).targets([Target::new(yes), to(join)]));
        self.start(yes);
        let kind = self.load(Class::Fixed, Width::U8, cell, 0);
        let wanted = self.int(ObjectKind::ListInt as i64);
        let is = self.icmp(Cond::Eq, kind, wanted);
        self.push(InstData::new(Op::Branch, &[is]).targets([Target::new(list), to(join)]));
        self.start(list);
        let len = self.load(Class::Len, Width::Int, cell, 8);
        self.goto(join, &[len]);
        self.start(join);
        let p = self.func.add_param(join, Type::Int);
        self.add(Kind::Int, p);
    }

    /// A sum of small ints in cells.
    fn small(&mut self) {
        let n = self.get(Kind::Int);
        let sixteen = self.int(16);
        let up = self.op(Op::Ishl, &[n, sixteen]);
        let down = self.op(Op::IshrS, &[up, sixteen]);
        let fits = self.icmp(Cond::Eq, down, n);
        self.guard(fits, Reason::Wide);
        let cell = self.op(Op::BoxSmall, &[n]);
        let cell = if self.random.one_in(5) { self.get(Kind::Any) } else { cell };
        let is = self.op(Op::IsSmall, &[cell]);
        self.guard(is, Reason::Kind);
        let v = self.op(Op::SmallInt, &[cell]);
        self.add(Kind::Int, v);
        let cell = self.op(Op::BoxSmall, &[v]);
        self.add(Kind::Any, cell);
    }

    /// A sum of dynamic numbers.
    fn sum(&mut self) {
        let (a, b) = (self.get(Kind::Number), self.get(Kind::Number));
        let (x, y) = (self.op(Op::IsSmall, &[a]), self.op(Op::IsSmall, &[b]));
        let both = self.op(Op::Iand, &[x, y]);
        let (ints, floats, join) = (self.block(), self.block(), self.block());
        self.branch(both, [ints, floats]);
        self.start(ints);
        let (m, n) = (self.op(Op::SmallInt, &[a]), self.op(Op::SmallInt, &[b]));
        let v = self.op(Op::Iadd, &[m, n]);
        let sixteen = self.int(16);
        let up = self.op(Op::Ishl, &[v, sixteen]);
        let down = self.op(Op::IshrS, &[up, sixteen]);
        let fits = self.icmp(Cond::Eq, down, v);
        self.guard(fits, Reason::Wide);
        let cell = self.op(Op::BoxSmall, &[v]);
        self.goto(join, &[cell]);
        self.start(floats);
        let (m, n) = (self.float(a), self.float(b));
        let v = self.op(Op::Fadd, &[m, n]);
        let cell = self.op(Op::BoxFloat, &[v]);
        self.goto(join, &[cell]);
        self.start(join);
        let p = self.func.add_param(join, Type::Cell);
        self.add(Kind::Number, p);
        let less = self.op(Op::IsFloat, &[p]);
        self.add(Kind::Int, less);
    }

    /// Reads a captured variable, adds to it, or sets it.
    fn variable(&mut self) {
        let at = self.get(Kind::Ref);
        let by = self.get(Kind::Int);
        if self.random.one_in(4) {
            self.push(InstData::new(Op::Store, &[at, by]).imm(8).access(Class::Ref, Width::Int));
            return;
        }
        let now = self.load(Class::Ref, Width::Int, at, 8);
        if self.random.one_in(2) {
            let next = self.op(Op::Iadd, &[now, by]);
            self.push(InstData::new(Op::Store, &[at, next]).imm(8).access(Class::Ref, Width::Int));
        }
        self.add(Kind::Int, now);
    }

    fn float(&mut self, cell: Value) -> Value {
        let is = self.op(Op::IsFloat, &[cell]);
        let (yes, no, join) = (self.block(), self.block(), self.block());
        self.branch(is, [yes, no]);
        self.start(yes);
        let v = self.op(Op::CellFloat, &[cell]);
        self.goto(join, &[v]);
        self.start(no);
        let small = self.op(Op::IsSmall, &[cell]);
        self.guard(small, Reason::Kind);
        let v = self.op(Op::SmallInt, &[cell]);
        let v = self.op(Op::FfromInt, &[v]);
        self.goto(join, &[v]);
        self.start(join);
        self.func.add_param(join, Type::Float)
    }

    fn routine(&mut self) {
        let effects = self.random.pick(&[
            Effects { writes: true, reads: true, collects: true, calls: true, ..Effects::default() },
            Effects { reads: true, collects: true, ..Effects::default() },
            Effects { writes: true, reads: true, ..Effects::default() },
        ]);
        let site = self.func.sites.push(SiteData { result: Some(Type::Int), effects, ..SiteData::plain(1) });
        // Everything lives.
        self.word += 1;
        let slots = self.scope.iter().flatten().enumerate().map(|(i, &v)| (i as u32, v)).collect();
        let (word, parent) = (self.word, None.into());
        let state = self.func.states.push(StateData {
            parent,
            function: 1,
            word,
            origin: None,
            base: 0,
            end: u32::MAX,
            slots,
        });
        let v = self.def(InstData::new(Op::Routine, &[]).state(state).site(site));
        self.add(Kind::Int, v);
    }

    fn alternative(&mut self, depth: usize) {
        let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
        let cond = self.random.pick(Cond::ALL);
        let test = self.icmp(cond, a, b);
        let (yes, no, join) = (self.block(), self.block(), self.block());
        self.branch(test, [yes, no]);
        let scope = self.scope.clone();
        for arm in [yes, no] {
            self.start(arm);
            self.statements(depth + 1, 2);
            let v = self.get(Kind::Int);
            let c = self.get(Kind::Number);
            self.goto(join, &[v, c]);
            self.scope.clone_from(&scope);
        }
        self.start(join);
        let p = self.func.add_param(join, Type::Int);
        let c = self.func.add_param(join, Type::Cell);
        self.add(Kind::Int, p);
        self.add(Kind::Number, c);
    }

    /// What a loop runs to.
    fn limit(&mut self) -> Value {
        match self.random.below(6) {
            0 => {
                let n = self.random.below(7) as i64 - 1;
                self.int(n)
            }
            1..=2 => {
                let list = self.get(Kind::List);
                self.load(Class::Len, Width::Int, list, 8)
            }
            3 => {
                let list = self.get(Kind::List);
                let len = self.load(Class::Len, Width::Int, list, 8);
                let one = self.int(-1);
                self.op(Op::Iadd, &[len, one])
            }
            _ => self.get(Kind::Int),
        }
    }

    fn repeat(&mut self, depth: usize) {
        let down = self.random.one_in(3);
        let size = self.random.pick(&[1, 1, 1, 2, 3]);
        let step = if down { -size } else { size };
        let (init, limit) = if down {
            let init = self.limit();
            let limit = self.random.pick(&[0, 0, -1, 1]);
            (init, self.int(limit))
        } else {
            let limit = self.limit();
            let init = if self.random.one_in(2) { self.int(0) } else { self.get(Kind::Int) };
            (init, limit)
        };
        let cond = match down {
            true => self.random.pick(&[Cond::Gt, Cond::Ge, Cond::Ge, Cond::Ne]),
            false => self.random.pick(&[Cond::Lt, Cond::Lt, Cond::Lt, Cond::Le, Cond::Ne]),
        };
        // Others that go round: ints, and sometimes a cell.
        let ints: Vec<Value> = (0..self.random.below(3)).map(|_| self.get(Kind::Int)).collect();
        let held_kind = self.random.pick(&[Kind::Any, Kind::Number, Kind::Number]);
        let cell = self.random.one_in(2).then(|| self.get(held_kind));
        let after = self.block();
        if self.random.one_in(2) {
            let first = self.block();
            let runs = self.icmp(cond, init, limit);
            let args: SmallArgs = [init].into_iter().chain(ints.iter().copied()).chain(cell).collect();
            let targets = [Target::new(first), Target { block: after, args }];
            self.push(InstData::new(Op::Branch, &[runs]).targets(targets));
            self.start(first);
        }
        let state = self.state();
        self.push(InstData::new(Op::Poll, &[]).state(state));
        let header = self.block();
        let args: Vec<Value> = [init].into_iter().chain(ints.iter().copied()).chain(cell).collect();
        self.goto(header, &args);
        self.start(header);
        let scope = self.scope.clone();
        let counter = self.func.add_param(header, Type::Int);
        let carried: Vec<Value> = ints.iter().map(|_| self.func.add_param(header, Type::Int)).collect();
        let held = cell.map(|_| self.func.add_param(header, Type::Cell));
        self.counters.push(counter);
        self.add(Kind::Int, counter);
        carried.iter().for_each(|&v| self.scope[Kind::Int as usize].push(v));
        held.into_iter().for_each(|v| self.scope[held_kind as usize].push(v));
        let top = self.random.one_in(4);
        let exit = |g: &mut Self, next: Block, counter: Value, values: &[Value], test: Value| {
            let args = [counter].into_iter().chain(values.iter().copied()).collect();
            let targets = [Target::new(next), Target { block: after, args }];
            g.push(InstData::new(Op::Branch, &[test]).targets(targets));
            g.start(next);
        };
        let ends: Vec<Value> = carried.iter().copied().chain(held).collect();
        if top {
            let body = self.block();
            let test = self.icmp(cond, counter, limit);
            exit(self, body, counter, &ends, test);
        }
        self.statements(depth + 1, 4);
        if self.random.one_in(4) {
            let on = self.block();
            let (a, b) = (self.get(Kind::Int), self.get(Kind::Int));
            let test = self.icmp(Cond::Ne, a, b);
            exit(self, on, counter, &ends, test);
            self.statements(depth + 1, 2);
        }
        let by = self.int(step);
        let next = if self.random.one_in(2) {
            self.op(Op::Iadd, &[counter, by])
        } else {
            let state = self.state();
            self.def(InstData::new(Op::IaddExit, &[counter, by]).imm(Reason::Overflow as i64).state(state))
        };
        let mut values = Vec::new();
        for &v in &carried {
            let value = match self.random.below(3) {
                // A sum over the loop.
                0 => {
                    let x = self.get(Kind::Int);
                    if self.random.one_in(2) {
                        self.op(Op::Iadd, &[v, x])
                    } else {
                        let state = self.state();
                        self.def(
                            InstData::new(Op::IaddExit, &[v, x]).imm(Reason::Overflow as i64).state(state),
                        )
                    }
                }
                _ => self.get(Kind::Int),
            };
            values.push(value);
        }
        let cells: Vec<Value> = held.iter().map(|_| self.get(held_kind)).collect();
        values.extend(cells);
        if !top {
            let latch = self.block();
            let test = self.icmp(cond, next, limit);
            exit(self, latch, next, &values, test);
        }
        let state = self.state();
        self.push(InstData::new(Op::Poll, &[]).state(state));
        let args: Vec<Value> = [next].into_iter().chain(values).collect();
        self.goto(header, &args);
        self.counters.pop();
        self.scope = scope;
        self.start(after);
        for (i, kind) in [Kind::Int].into_iter().chain(ints.iter().map(|_| Kind::Int)).enumerate() {
            let v = self.func.add_param(after, Type::Int);
            debug_assert!(i < 8);
            self.add(kind, v);
        }
        if cell.is_some() {
            let v = self.func.add_param(after, Type::Cell);
            self.add(held_kind, v);
        }
    }
}

type SmallArgs = smallvec::SmallVec<[Value; 4]>;

const PARAMS: [Kind; 10] = [
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::List,
    Kind::List,
    Kind::Rows,
    Kind::Any,
    Kind::Any,
    Kind::Ref,
    Kind::Ref,
];

fn function(random: &mut Random, size: usize) -> Function {
    let func = Function { name: "loops".into(), result: Some(Type::Int), ..Function::default() };
    let mut g = Generator {
        random,
        func,
        scope: Default::default(),
        block: Block::from_u32(0),
        left: size,
        word: 0,
        counters: Vec::new(),
    };
    g.block = g.func.add_block();
    for (slot, kind) in PARAMS.into_iter().enumerate() {
        let ty = if kind == Kind::Int { Type::Int } else { Type::Cell };
        let v = g.func.add_param(g.block, ty);
        g.add(kind, v);
        g.func.params.push(slot as u32);
    }
    while g.left > 0 {
        g.statement(0);
    }
    let v = g.get(Kind::Int);
    g.push(InstData::new(Op::Return, &[v]));
    g.func
}

fn memory(random: &mut Random) -> Memory {
    let mut memory = Memory::default();
    for (list, buffer) in LISTS.into_iter().zip(BUFFERS) {
        let len = if random.one_in(6) { random.below(4) } else { 4 + random.below(CAPACITY - 4) } as u64;
        memory.put(list, &[ObjectKind::ListInt as u64, len, buffer]);
        let mut words = vec![0, CAPACITY as u64];
        words.extend((0..CAPACITY).map(|_| random.below(9) as u64));
        memory.put(buffer, &words);
    }
    for at in REFS {
        memory.put(at, &[ObjectKind::RefInt as u64, random.below(9) as u64]);
    }
    memory.put(ROWS, &[ObjectKind::ListCell as u64, 3, ROW_BUFFER]);
    memory.put(ROW_BUFFER, &[0, 4, LISTS[0], LISTS[1], LISTS[random.below(2)], LISTS[0]]);
    memory
}

fn arguments(random: &mut Random) -> Vec<u64> {
    let argument = |kind| match kind {
        Kind::Int if random.one_in(8) => random.number() as u64,
        Kind::Int => (random.below(9) as i64 - 1) as u64,
        Kind::List => random.pick(&LISTS),
        Kind::Rows => ROWS,
        Kind::Ref => random.pick(&REFS),
        Kind::Number => Cell::float(0.5).bits(),
        Kind::Any => match random.below(4) {
            0 => Cell::NIL.bits(),
            1 => Cell::float(1.5).bits(),
            _ => {
                let n = random.number();
                let list = random.pick(&LISTS);
                if random.one_in(3) { Cell::small_int(n).map_or(list, Cell::bits) } else { list }
            }
        },
    };
    PARAMS.map(argument).to_vec()
}

/// Where a run was: frames, what they hold, memory, and how often it asked so far.
type Place = (Vec<(u32, u32)>, Vec<(u32, u64)>, Vec<(u64, Vec<u64>)>, usize);

fn frames(func: &Function, state: State) -> Vec<(u32, u32)> {
    let mut frames = Vec::new();
    let mut next = Some(state);
    while let Some(state) = next {
        let data = &func.states[state];
        frames.push((data.function, data.word));
        next = data.parent.expand();
    }
    frames
}

const CHARGE: u32 = 77;

/// The function that asks the world at each charge.
fn asking(func: &Function) -> Function {
    let mut func = func.clone();
    for block in func.layout.clone() {
        for inst in func.blocks[block].insts.clone() {
            if func.insts[inst].op == Op::Poll {
                let word = func.insts[inst].state.expand().map_or(0, |s| func.states[s].word);
                let site = func.sites.push(SiteData { callee: word, ..SiteData::plain(CHARGE) });
                func.insts[inst].op = Op::Routine;
                func.insts[inst].site = site.into();
            }
        }
    }
    func
}

#[derive(PartialEq, Eq, Debug)]
struct End {
    how: String,
    place: Place,
}

/// Runs; notes where charges were.
fn run(func: &Function, seed: u64, fuel: u64) -> (Option<End>, BTreeSet<Place>) {
    let mut random = Random(seed);
    let mut places = BTreeSet::new();
    let mut asked = 0;
    let mut world = World::new(memory(&mut random));
    let args = arguments(&mut random);
    let mut answers = Random(seed);
    world.answers = Some(Box::new(|question: &Question<'_>, memory: &mut Memory| {
        let slots: Vec<(u32, u64)> = question.slots.iter().map(|s| (s.0, s.2)).collect();
        if question.site.routine == CHARGE {
            let objects = memory.objects().collect();
            places.insert((vec![(1, question.site.callee)], slots, objects, asked));
            return Some(None);
        }
        asked += 1;
        if question.site.effects.writes {
            let list = answers.pick(&LISTS);
            let (len, buffer) = (3 + answers.below(CAPACITY - 3) as u64, answers.pick(&BUFFERS));
            memory.store(list + 8, Width::Int, len)?;
            memory.store(list + 16, Width::Ptr, buffer)?;
            memory.store(buffer + 16, Width::Int, answers.below(9) as u64)?;
            memory.store(answers.pick(&REFS) + 8, Width::Int, answers.below(9) as u64)?;
        }
        // What it sees is part of what it answers.
        let seen = slots.iter().fold(0_u64, |h, s| (h ^ s.1).wrapping_mul(31));
        Some(Some(if answers.one_in(6) { seen } else { seen & 7 }))
    }));
    let outcome = evaluate(func, &args, &mut world, fuel);
    let objects = world.memory.objects().collect();
    drop(world);
    let end = match outcome {
        Outcome::OutOfFuel => None,
        Outcome::Return(bits) => {
            Some(End { how: format!("return {bits:?}"), place: (Vec::new(), Vec::new(), objects, asked) })
        }
        Outcome::Left { state, reason, slots } => {
            let how = format!("leave {}", reason.name());
            Some(End { how, place: (frames(func, state), slots, objects, asked) })
        }
        Outcome::Unsupported(_) | Outcome::Fault(_) => {
            Some(End { how: format!("{outcome:?}"), place: (Vec::new(), Vec::new(), objects, asked) })
        }
    };
    (end, places)
}

const RUNS: u64 = 6;

fn wrong(before: &Function, pass: &str, seed: u64) -> Option<String> {
    let mut func = before.clone();
    let done = catch_unwind(AssertUnwindSafe(|| match pass {
        "all" => passes::optimize(&mut func),
        name => assert!(passes::run_named(&mut func, name)),
    }));
    if done.is_err() {
        return Some(format!("panics\n{}", print(&func)));
    }
    if let Err(e) = verify(&func) {
        return Some(format!("{e}\n{}", print(&func)));
    }
    for i in 0..RUNS {
        let seed = seed << 4 | i;
        let (expected, places) = run(&asking(before), seed, 30_000);
        let Some(expected) = expected else { continue };
        let (found, _) = run(&func, seed, 200_000);
        let Some(found) = found else { return Some(format!("run {i} does not end\n{}", print(&func))) };
        if found != expected && !(found.how.starts_with("leave") && places.contains(&found.place)) {
            let args = arguments(&mut {
                let mut random = Random(seed);
                memory(&mut random);
                random
            });
            return Some(format!("run {i} of {args:x?}\n{expected:x?}\n{found:x?}\n{}", print(&func)));
        }
    }
    None
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn random_loops_do_the_same_after_passes() {
    let (first, count) = (number("LOOP_FIRST", 0), number("LOOP_SEEDS", 600));
    let (mut ends, mut faults) = (0, 0);
    for seed in first..first + count {
        let size = 2 + (seed / 40).min(28) as usize;
        let func = function(&mut Random(seed), size);
        if let Err(e) = verify(&func) {
            panic!("seed {seed}: the generator made a wrong function: {e}\n{}", print(&func));
        }
        for i in 0..RUNS {
            let end = run(&func, seed << 4 | i, 30_000).0;
            ends += usize::from(end.as_ref().is_some_and(|e| e.how.starts_with("return")));
            faults +=
                usize::from(end.is_some_and(|e| !e.how.starts_with("return") && !e.how.starts_with("leave")));
        }
        assert_eq!(
            faults,
            0,
            "seed {seed}: the generator's functions keep to what ops assume\n{}",
            print(&func)
        );
        for pass in passes::PASSES.iter().map(|p| p.name).chain(["all"]) {
            if let Some(what) = wrong(&func, pass, seed) {
                panic!("seed {seed}, {pass}\n{}\n{what}", print(&func));
            }
        }
    }
    assert!(ends * 20 > count as usize * RUNS as usize, "{ends} runs returned");
}

/// A loop whose values are polynomials in the turn, as text: a counter, parameters to which sums and products of what is there
/// are added, some of them reduced, or two that update each other.
fn closed_loop(random: &mut Random) -> String {
    let count = 2 + random.below(3);
    let pairs = random.one_in(3);
    let step = random.pick(&[1, 1, 1, -1, 2, 3, -5]);
    let cond = random.pick(if step > 0 { &["lt", "le", "ne"] } else { &["gt", "ge", "ne"] });
    // v0 to v4 are given; v10 is the counter, v11 and on what is summed.
    let mut body = format!("    poll state0\n    v20 = iadd v10, v{}\n", 40);
    let mut known = vec![10, 20, 0, 1, 41, 42];
    let mut next = 200;
    let mut args = vec!["v20".to_owned()];
    // The last two: sums of both, times something, and of what is known, reduced by the same; or one is a copy of the other.
    let alone = if pairs { count - 2 } else { count };
    let both = [11 + alone, 12 + alone];
    for i in 0..alone {
        let mut term = random.pick(&known);
        for _ in 0..random.below(3) {
            let op = random.pick(&["iadd_exit", "isub_exit", "imul_exit", "iadd", "imul"]);
            let leaves = if op.ends_with("exit") { " overflow state0" } else { "" };
            body += &format!("    v{next} = {op} v{term}, v{}{leaves}\n", random.pick(&known));
            term = next;
            next += 1;
        }
        let reduced = random.one_in(2);
        let mut at = 11 + i;
        if reduced && random.one_in(2) {
            body += &match random.below(3) {
                0 => format!("    v{next} = ishl v{at}, v45\n"),
                _ => format!("    v{next} = imul_exit v{at}, v44 overflow state0\n"),
            };
            at = next;
            next += 1;
        }
        body += &format!("    v{next} = iadd_exit v{at}, v{term} overflow state0\n");
        if reduced {
            body += &match random.below(3) {
                0 => format!("    v{} = iand v{next}, v46\n", next + 1),
                _ => format!("    v{} = irem v{next}, v{}\n", next + 1, random.pick(&[4, 43])),
            };
            next += 1;
        } else {
            known.extend([11 + i, next]);
        }
        args.push(format!("v{next}"));
        next += 1;
    }
    if pairs {
        let by = random.pick(&[4, 43, 43]);
        let copies = random.one_in(3);
        let mut made = both.to_vec();
        for i in 0..2 {
            if copies && i == 0 {
                args.push(format!("v{}", both[1]));
                continue;
            }
            let mut sum = random.pick(&made);
            for _ in 0..1 + random.below(4) {
                let other = random.pick(&made);
                body += &match random.below(6) {
                    0 => format!("    v{next} = imul_exit v{sum}, v44 overflow state0\n"),
                    1 => format!("    v{next} = irem v{sum}, v{by}\n"),
                    2 => {
                        format!("    v{next} = iadd_exit v{sum}, v{} overflow state0\n", random.pick(&known))
                    }
                    3 => format!("    v{next} = iadd v{sum}, v{other}\n"),
                    _ => format!("    v{next} = iadd_exit v{other}, v{sum} overflow state0\n"),
                };
                sum = next;
                next += 1;
            }
            body += &format!("    v{next} = irem v{sum}, v{by}\n");
            // The second may be made of the first as it is in the next turn.
            made.push(next);
            args.push(format!("v{next}"));
            next += 1;
        }
    }
    let params: Vec<String> = (0..=count).map(|i| format!("v{}: int", 10 + i)).collect();
    let slots: Vec<String> = (0..=count).map(|i| format!("{i}: v{}", 10 + i)).collect();
    let first: Vec<&str> = ["v2", "v3", "v41", "v0", "v1"][..=count].to_vec();
    let mut text = format!(
        "function \"closed\" -> int {{\nstate0 = fn 1 word 1 base 0 [{}]\nblock0(v0: int, v1: int, v2: int, v3: int, v4: int):\n",
        slots.join(", ")
    );
    for (v, c) in [
        (40, step),
        (41, random.below(7) as i64 - 2),
        (42, random.number()),
        (43, 1 + random.below(2000) as i64),
        (44, random.pick(&[0, 1, 3, 16_807, 1 << 29, -2])),
        (45, random.below(8) as i64),
        (46, (1 << random.below(40)) - 1),
    ] {
        text += &format!("    v{v} = iconst {c}\n");
    }
    text += &format!("    jump block1({})\nblock1({}):\n{body}", first.join(", "), params.join(", "));
    text += &format!("    v90 = icmp {cond} v20, v1\n    branch v90, block2, block3\nblock2:\n");
    text += &format!(
        "    jump block1({})\nblock3:\n    v91 = iconst 31\n    v92 = iadd v20, v91\n",
        args.join(", ")
    );
    let mut hash = 92;
    for (i, arg) in args.iter().enumerate().skip(1) {
        let at = 92 + 2 * i;
        text += &format!("    v{at} = imul v{hash}, v91\n    v{} = ixor v{at}, {arg}\n", at + 1);
        hash = at + 1;
    }
    text + &format!("    return v{hash}\n}}\n")
}

#[test]
fn turns_that_are_skipped_do_the_same() {
    let (first, count) = (number("LOOP_FIRST", 0), number("LOOP_SEEDS", 1_000));
    let (mut closed, mut maps, mut pairs, mut ends) = (0, 0, 0, 0);
    for seed in first..first + count {
        let mut random = Random(seed << 8);
        let text = closed_loop(&mut random);
        let func = crate::text::parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        verify(&func).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        let mut skipping = func.clone();
        closed += u64::from(
            passes::run_named(&mut skipping, "closed") && skipping.layout.len() > func.layout.len(),
        );
        maps += u64::from(print(&skipping).contains("affine_rest"));
        pairs += u64::from(print(&skipping).contains("affine_pair"));
        verify(&skipping).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", print(&skipping)));
        let mut all = func.clone();
        passes::optimize(&mut all);
        for _ in 0..6 {
            // About as many turns as are skipped at all, and many more.
            let far = random.pick(&[10, 60, 400, 3_000]);
            let mut some = || random.below(far) as i64 - random.pick(&[0, 0, far as i64 / 2]);
            let (n, at, sum) = (some(), some(), some());
            let sum = random.pick(&[sum, sum, 0, i64::MAX - 5_000_000, i64::MIN + 5_000_000]);
            let modulus = random.pick(&[1, 7, 1009, 1 << 31, (1 << 31) + 1, i64::MAX, -13]);
            let args = [sum, n, at, sum, modulus].map(|a| a as u64);
            let run = |func: &Function| evaluate(func, &args, &mut World::new(Memory::default()), 200_000);
            let expected = run(&func);
            if matches!(expected, Outcome::OutOfFuel) {
                continue;
            }
            ends += 1;
            for func in [&skipping, &all] {
                let found = run(func);
                // State numbers may differ.
                let same = match (&expected, &found) {
                    (Outcome::Left { slots: a, .. }, Outcome::Left { slots: b, .. }) => a == b,
                    (a, b) => a == b,
                };
                assert!(
                    same,
                    "seed {seed}, {args:?}: {expected:?} became {found:?}\n{text}\n{}",
                    print(func)
                );
            }
        }
    }
    assert!(closed > count * 3 / 10 && ends > count * 3 / 2, "{closed} loops skip turns, {ends} runs ended");
    assert!(maps > count / 20, "{maps} loops have maps that are squared");
    assert!(pairs > count / 20, "{pairs} loops have pairs");
}
