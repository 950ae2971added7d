//! Ops on cells: what they are, and arithmetic, comparisons and access where kinds were seen at run time.

use std::mem::offset_of;
use upshift_bytecode::{Inst as Bytecode, KeyPolicy, Kind, NumberPolicy, TruthMask, ValueType};
use upshift_runtime::check::{ANY_CODE, Test, Told};
use upshift_runtime::context::Context;
use upshift_runtime::feedback::{Feedback, FieldSlot, MEGAMORPHIC, SLOW};
use upshift_runtime::linked::type_code;
use upshift_runtime::map::POLICY_MASK;
use upshift_runtime::object::{Header, List, ObjectKind, Record};
use upshift_runtime::routine::Routine;
use upshift_runtime::value::{TAG_SHIFT, TAG_SHORT_STRING, Value as Cell};

use super::data::{BOOLS, CELLS, FLOATS, INTS};
use super::{Builder, Frame};
use crate::helper::Helper;
use crate::ir::{Block, Class, Cond, InstData, Op, Reason, Type, Value, Width};

/// A type of more shapes is left to a helper, which searches.
const SHAPES: usize = 4;

const INT: u16 = 1 << Kind::Int as u16;
const FLOAT: u16 = 1 << Kind::Float as u16;
const _: () = assert!(FLOAT == INT << 1);

/// An operand whose kind a site should have recorded.
enum Seen {
    /// It is of this kind, one bit.
    Kind(u16),
    /// The cell is a small int or a float.
    Number(Value),
}

/// How two numbers of dynamic ops are combined.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl<'a> Builder<'a> {
    pub(super) fn truthy(&mut self, a: Value, mask: i64) -> Value {
        let yes = self.cconst(Cell::TRUE);
        let is_true = self.binary(Op::Same, a, yes);
        self.join(
            is_true,
            Type::Int,
            [false, false],
            |c| Some(c.iconst(1)),
            |c| {
                let no = c.cconst(Cell::FALSE);
                let is_false = c.binary(Op::Same, a, no);
                let falsy = TruthMask(mask as u16).has(TruthMask::FALSE);
                Some(c.join(
                    is_false,
                    Type::Int,
                    [false, true],
                    |c| Some(c.iconst(i64::from(!falsy))),
                    |c| {
                        let mask = c.iconst(mask);
                        Some(c.helper(Helper::CellTruthy, &[a, mask]))
                    },
                ))
            },
        )
    }

    pub(super) fn string_equal(&mut self, a: Value, b: Value) -> Value {
        let same = self.binary(Op::Same, a, b);
        self.join(
            same,
            Type::Int,
            [false, false],
            |c| Some(c.iconst(1)),
            |c| {
                // Inline ones are equal only if their bits are.
                let (x, y) = (c.unary(Op::IsObject, a), c.unary(Op::IsObject, b));
                let both = c.binary(Op::Iand, x, y);
                Some(c.join(
                    both,
                    Type::Int,
                    [false, false],
                    |c| Some(c.helper(Helper::StringEqual, &[a, b])),
                    |c| Some(c.iconst(0)),
                ))
            },
        )
    }

    /// Whether a cell is of a type, which is given by its code.
    pub(super) fn cell_test(&mut self, a: Value, code: i64) -> Value {
        let test = self.facts.test(code as u32);
        let Some(test) = test.filter(|t| !matches!(&t.what, Told::Shapes(all) if all.len() > SHAPES)) else {
            let ty = self.iconst(code);
            return self.helper(Helper::CellTest, &[a, ty]);
        };
        let what = test.what;
        if test.nullable {
            let nil = self.cconst(Cell::NIL);
            let is_nil = self.binary(Op::Same, a, nil);
            return self.either(is_nil, |c| c.told(a, what, code));
        }
        self.told(a, what, code)
    }

    /// 1 where a condition holds, else what the other way gives.
    fn either(&mut self, cond: Value, otherwise: impl FnOnce(&mut Self) -> Value) -> Value {
        self.join(cond, Type::Int, [false, false], |c| Some(c.iconst(1)), |c| Some(otherwise(c)))
    }

    /// Whether a cell is a string of few bytes, which is no object.
    fn is_short_string(&mut self, a: Value) -> Value {
        let bits = self.unary(Op::Bits, a);
        let shift = self.iconst(TAG_SHIFT.into());
        let tag = self.binary(Op::IshrU, bits, shift);
        let short = self.iconst(TAG_SHORT_STRING as i64);
        self.icmp(Cond::Eq, tag, short)
    }

    /// The tag by which records of a shape are told from all others that a slot may hold, where its type has a tag for each shape.
    pub(super) fn telling_tag(&self, frame: &Frame<'a>, slot: i64, shape: u32) -> Option<i64> {
        let ty = frame.guest.meta.cell_type(u32::try_from(slot).ok()?)?;
        let Some(Test { nullable: false, what: Told::Shapes(shapes) }) = self.facts.test(type_code(ty))
        else {
            return None;
        };
        let tag = self.facts.shape(shape)?.tag;
        let same = shapes.iter().filter(|&&s| self.facts.shape(s).is_none_or(|s| s.tag == tag)).count();
        (same == 1 && shapes.contains(&shape)).then_some(i64::from(tag))
    }

    /// Whether a cell is one that is told so, of the type with a code.
    pub(super) fn told(&mut self, a: Value, what: Told, code: i64) -> Value {
        let (kind, shapes) = match what {
            Told::Int => {
                let small = self.unary(Op::IsSmall, a);
                return self.either(small, |c| c.told(a, Told::Kind(ObjectKind::WideInt), code));
            }
            Told::String => {
                let short = self.is_short_string(a);
                return self.either(short, |c| c.told(a, Told::Kind(ObjectKind::String), code));
            }
            Told::Elements(elements) => {
                let list = self.told(a, Told::Kind(ObjectKind::ListCell), code);
                let typed = self.join(
                    list,
                    Type::Int,
                    [false, false],
                    |c| {
                        let own = c.load(Class::Fixed, Width::U32, a, offset_of!(Header, meta));
                        let wanted = c.iconst(elements.into());
                        Some(c.icmp(Cond::Eq, own, wanted))
                    },
                    |c| Some(c.iconst(0)),
                );
                // A list that has no type so far takes it.
                return self.either(typed, |c| {
                    let ty = c.iconst(code);
                    c.helper(Helper::CellTest, &[a, ty])
                });
            }
            Told::Float => return self.unary(Op::IsFloat, a),
            Told::Bool => {
                let (yes, no) = (self.cconst(Cell::TRUE), self.cconst(Cell::FALSE));
                let (yes, no) = (self.binary(Op::Same, a, yes), self.binary(Op::Same, a, no));
                return self.binary(Op::Ior, yes, no);
            }
            Told::Kind(kind) => (kind, Vec::new()),
            Told::Shapes(shapes) => (ObjectKind::Record, shapes),
        };
        let object = self.unary(Op::IsObject, a);
        self.join(
            object,
            Type::Int,
            [false, false],
            |c| {
                let k = c.load(Class::Fixed, Width::U8, a, offset_of!(Header, kind));
                let wanted = c.iconst(kind as i64);
                let mut is = c.icmp(Cond::Eq, k, wanted);
                if kind == ObjectKind::Record {
                    let shape = c.load(Class::Fixed, Width::U32, a, offset_of!(Header, meta));
                    let mut any = None;
                    for id in shapes {
                        let id = c.iconst(i64::from(id));
                        let this = c.icmp(Cond::Eq, shape, id);
                        any = Some(match any {
                            Some(any) => c.binary(Op::Ior, any, this),
                            None => this,
                        });
                    }
                    let any = match any {
                        Some(any) => any,
                        None => c.iconst(0),
                    };
                    is = c.binary(Op::Iand, is, any);
                }
                Some(is)
            },
            |c| Some(c.iconst(0)),
        )
    }

    /// Leaves unless a cell is an object of a kind.
    pub(super) fn guard_kind(&mut self, frame: &Frame<'a>, a: Value, kind: ObjectKind, reason: Reason) {
        self.check_kind(a, kind, &mut |c, is| c.guard(frame, is, reason));
    }

    /// Asks whether a cell is an object of a kind; `check` is given what has to hold.
    pub(super) fn check_kind(&mut self, a: Value, kind: ObjectKind, check: &mut dyn FnMut(&mut Self, Value)) {
        let object = self.unary(Op::IsObject, a);
        check(self, object);
        let own = self.load(Class::Fixed, Width::U8, a, offset_of!(Header, kind));
        let wanted = self.iconst(kind as i64);
        let is = self.icmp(Cond::Eq, own, wanted);
        check(self, is);
    }

    /// Leaves where a cell is no record of a shape.
    pub(super) fn guard_shape(&mut self, frame: &Frame<'a>, a: Value, shape: u32, reason: Reason) {
        self.guard_kind(frame, a, ObjectKind::Record, reason);
        let own = self.load(Class::Fixed, Width::U32, a, offset_of!(Header, meta));
        let is = self.is_shape(own, shape);
        self.guard(frame, is, reason);
    }

    pub(super) fn box_int(&mut self, frame: &Frame<'a>, inst: &Bytecode, a: Value) -> Value {
        let site = self.routine_site(frame, inst, Routine::BoxInt);
        let state = self.state(frame);
        self.def(InstData::new(Op::BoxInt, &[a]).state(state).site(site))
    }

    /// Whether an int has 48 bits.
    pub(super) fn fits(&mut self, a: Value) -> Value {
        let sixteen = self.iconst(16);
        let up = self.binary(Op::Ishl, a, sixteen);
        let down = self.binary(Op::IshrS, up, sixteen);
        self.icmp(Cond::Eq, down, a)
    }

    /// The float in a cell that was seen to be of these kinds of number; `check` is given what has to hold.
    pub(super) fn number(&mut self, a: Value, kinds: u16, check: &mut dyn FnMut(&mut Self, Value)) -> Value {
        if kinds == FLOAT {
            let is = self.unary(Op::IsFloat, a);
            check(self, is);
            return self.unary(Op::CellFloat, a);
        }
        if kinds == INT {
            let is = self.unary(Op::IsSmall, a);
            check(self, is);
            let i = self.unary(Op::SmallInt, a);
            return self.unary(Op::FfromInt, i);
        }
        let is = self.unary(Op::IsFloat, a);
        self.join(
            is,
            Type::Float,
            [false, false],
            |c| Some(c.unary(Op::CellFloat, a)),
            |c| {
                let small = c.unary(Op::IsSmall, a);
                check(c, small);
                let i = c.unary(Op::SmallInt, a);
                Some(c.unary(Op::FfromInt, i))
            },
        )
    }

    /// Two cells that were seen to be numbers of these kinds, added and so on, as a cell; `check` is given what has to hold, which is
    /// also that a float divisor is not zero if that is `checked`.
    pub(super) fn combined(
        &mut self,
        what: Arithmetic,
        checked: bool,
        [a, b]: [Value; 2],
        [l, r]: [u16; 2],
        check: &mut dyn FnMut(&mut Self, Value),
    ) -> Value {
        let both = |c: &mut Self| {
            let (x, y) = (c.unary(Op::IsSmall, a), c.unary(Op::IsSmall, b));
            (x, y)
        };
        let ints = |c: &mut Self, check: &mut dyn FnMut(&mut Self, Value)| {
            let (x, y) = (c.unary(Op::SmallInt, a), c.unary(Op::SmallInt, b));
            // Small ints: all but products stay within 64 bits, and remainders are as small.
            let op = match what {
                Arithmetic::Add => Op::Iadd,
                Arithmetic::Sub => Op::Isub,
                Arithmetic::Mul => {
                    let over = c.binary(Op::ImulOverflows, x, y);
                    let fits = c.not(over);
                    check(c, fits);
                    Op::Imul
                }
                Arithmetic::Div | Arithmetic::Rem => {
                    let zero = c.iconst(0);
                    let is = c.icmp(Cond::Ne, y, zero);
                    check(c, is);
                    if what == Arithmetic::Div { Op::Idiv } else { Op::Irem }
                }
            };
            let v = c.binary(op, x, y);
            if op != Op::Irem {
                let fits = c.fits(v);
                check(c, fits);
            }
            c.unary(Op::BoxSmall, v)
        };
        let floats = |c: &mut Self, l, r, check: &mut dyn FnMut(&mut Self, Value)| {
            let x = c.number(a, l, check);
            let y = c.number(b, r, check);
            if checked && matches!(what, Arithmetic::Div | Arithmetic::Rem) {
                let zero = c.fconst(0.0);
                let is = c.fcmp(Cond::Ne, y, zero);
                check(c, is);
            }
            let op = match what {
                Arithmetic::Add => Op::Fadd,
                Arithmetic::Sub => Op::Fsub,
                Arithmetic::Mul => Op::Fmul,
                Arithmetic::Div => Op::Fdiv,
                Arithmetic::Rem => Op::Fcall2,
            };
            let data = InstData::new(op, &[x, y]);
            let v = c.def(if op == Op::Fcall2 { data.imm(Helper::FloatRem as i64) } else { data });
            c.unary(Op::BoxFloat, v)
        };
        if l == INT && r == INT {
            let (x, y) = both(self);
            check(self, x);
            check(self, y);
            return ints(self, check);
        }
        if l & INT == 0 || r & INT == 0 {
            return floats(self, l, r, check);
        }
        let (x, y) = both(self);
        let both = self.binary(Op::Iand, x, y);
        let mut blocks = self.split(both, [false, false]).into_iter();
        let after = self.func.blocks.push(Default::default());
        for (n, block) in blocks.by_ref().enumerate() {
            self.cur = block;
            let v = if n == 0 { ints(self, check) } else { floats(self, l, r, check) };
            self.goto(after, &[v]);
        }
        self.func.layout.push(after);
        self.cur = after;
        self.func.add_param(after, Type::Cell)
    }

    /// Whether assumptions may be made at the instruction.
    pub(super) fn may_assume(&self, frame: &Frame<'a>) -> bool {
        self.options.speculate && !self.facts.failed(frame.guest.meta.index, self.word)
    }

    pub(super) fn arithmetic(
        &mut self,
        frame: &mut Frame<'a>,
        inst: &Bytecode,
        what: Arithmetic,
        routine: Routine,
    ) {
        let o = inst.operands;
        let policy = NumberPolicy(o[3] as u16 & !upshift_runtime::linked::LONG_CALL);
        let seen = self.facts.feedback(o[4] as u32);
        let (l, r) = (seen.left, seen.right);
        let numbers = INT | FLOAT;
        let checked = policy.has(NumberPolicy::FLOAT_DIV_CHECKED);
        // Quotients of ints that are no ints.
        if what == Arithmetic::Div && !policy.has(NumberPolicy::INT_DIV) {
            self.routine(frame, inst, routine);
            return;
        }
        let plain = l != 0
            && r != 0
            && (l | r) & !numbers == 0
            && !policy.has(NumberPolicy::WRAP32)
            && (policy.has(NumberPolicy::PROMOTE) || (l == r && l != numbers));
        let (a, b) = (self.cell(o[1]), self.cell(o[2]));
        let frame = &*frame;
        if plain && self.may_assume(frame) {
            let v =
                self.combined(what, checked, [a, b], [l, r], &mut |c, is| c.guard(frame, is, Reason::Kind));
            return self.set(o[0], v);
        }
        if l == 0 && self.options.unseen && self.may_assume(frame) {
            return self.exit(frame, Reason::Unseen);
        }
        // Nothing seen: numbers are likely, and the routine is as likely.
        let unseen = l == 0 || r == 0;
        let mut kinds = if unseen { [numbers; 2] } else { [l & numbers, r & numbers] };
        if !policy.has(NumberPolicy::PROMOTE) {
            // Both of one kind; ints first.
            kinds = [kinds[0] & kinds[1]; 2];
            if kinds[0] == numbers {
                kinds = [INT; 2];
            }
        }
        if policy.has(NumberPolicy::WRAP32) || kinds.contains(&0) {
            self.routine(frame, inst, routine);
            return;
        }
        let v = self.attempt(
            Some(Type::Cell),
            l != 0 && (l | r) & !numbers == 0,
            |c, fail| {
                if unseen {
                    c.require_seen(o[4], Some([a, b].map(Seen::Number)), fail);
                }
                Some(c.combined(what, checked, [a, b], kinds, &mut |c, is| c.require(is, fail)))
            },
            |c| c.routine(frame, inst, routine),
        );
        self.set_result(o[0], v);
    }

    /// The negative of a dynamic number.
    pub(super) fn negation(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let policy = NumberPolicy(o[2] as u16);
        let seen = self.facts.feedback(o[3] as u32).left;
        let assume = self.may_assume(frame);
        if seen == 0 && self.options.unseen && assume {
            return self.exit(frame, Reason::Unseen);
        }
        let kinds = seen & (INT | FLOAT);
        if kinds == 0 || policy.has(NumberPolicy::WRAP32) {
            self.routine(frame, inst, Routine::CellNeg);
            return;
        }
        let a = self.cell(o[1]);
        let frame = &*frame;
        if assume && seen == kinds {
            let v = self.negative(a, kinds, &mut |c, is| c.guard(frame, is, Reason::Kind));
            return self.set(o[0], v);
        }
        let v = self.attempt(
            Some(Type::Cell),
            seen == kinds,
            |c, fail| Some(c.negative(a, kinds, &mut |c, is| c.require(is, fail))),
            |c| c.routine(frame, inst, Routine::CellNeg),
        );
        self.set_result(o[0], v);
    }

    /// The negative of a cell that was seen to be a number of these kinds, as a cell; `check` is given what has to hold.
    fn negative(&mut self, a: Value, kinds: u16, check: &mut dyn FnMut(&mut Self, Value)) -> Value {
        let int = |c: &mut Self, check: &mut dyn FnMut(&mut Self, Value)| {
            let small = c.unary(Op::IsSmall, a);
            check(c, small);
            let (zero, i) = (c.iconst(0), c.unary(Op::SmallInt, a));
            let v = c.binary(Op::Isub, zero, i);
            let fits = c.fits(v);
            check(c, fits);
            c.unary(Op::BoxSmall, v)
        };
        let float = |c: &mut Self| {
            let x = c.unary(Op::CellFloat, a);
            let v = c.unary(Op::Fneg, x);
            c.unary(Op::BoxFloat, v)
        };
        if kinds == INT {
            return int(self, check);
        }
        let is_float = self.unary(Op::IsFloat, a);
        if kinds == FLOAT {
            check(self, is_float);
            return float(self);
        }
        self.join(is_float, Type::Cell, [false; 2], |c| Some(float(c)), |c| Some(int(c, check)))
    }

    pub(super) fn comparison(
        &mut self,
        frame: &mut Frame<'a>,
        inst: &Bytecode,
        cond: Cond,
        routine: Routine,
    ) {
        let o = inst.operands;
        let policy = NumberPolicy(o[3] as u16 & !upshift_runtime::linked::LONG_CALL);
        let seen = self.facts.feedback(o[4] as u32);
        let (l, r) = (seen.left, seen.right);
        let assume = self.may_assume(frame);
        if l == 0 && self.options.unseen && assume {
            return self.exit(frame, Reason::Unseen);
        }
        let equality = matches!(cond, Cond::Eq | Cond::Ne);
        let (a, b) = (self.cell(o[1]), self.cell(o[2]));
        let text = 1 << Kind::String as u16;
        let numbers = INT | FLOAT;
        let frame = &*frame;
        let guard = &mut |c: &mut Self, is| c.guard(frame, is, Reason::Kind);
        if assume && l == INT && r == INT {
            let v = self.small_compared(cond, a, b, guard);
            return self.set(o[0], v);
        }
        if assume
            && (l | r) & !numbers == 0
            && (l == FLOAT && r == FLOAT
                || !equality && policy.has(NumberPolicy::PROMOTE) && (l & INT == 0 || r & INT == 0))
        {
            let x = self.number(a, l, guard);
            let y = self.number(b, r, guard);
            let v = self.fcmp(cond, x, y);
            return self.set(o[0], v);
        }
        if assume && equality && l == text && r == text {
            // Strings: inline ones, or objects of text.
            for v in [a, b] {
                let is_short = self.is_short_string(v);
                self.meet(
                    is_short,
                    [false, false],
                    |_| {},
                    |c| c.guard_kind(frame, v, ObjectKind::String, Reason::Kind),
                );
            }
            let same = self.string_equal(a, b);
            let v = if cond == Cond::Eq { same } else { self.not(same) };
            return self.set(o[0], v);
        }
        let cold = l != 0 && (l | r) & !numbers == 0;
        let unseen = l == 0 || r == 0;
        let (l, r) = if unseen { (numbers, numbers) } else { (l, r) };
        let kinds_differ = equality && policy.has(NumberPolicy::KINDS_DIFFER);
        let mixed = !equality && policy.has(NumberPolicy::PROMOTE) && l & numbers != 0 && r & numbers != 0;
        let ints = l & r & INT != 0;
        if !kinds_differ && !mixed && !ints {
            self.routine(frame, inst, routine);
            return;
        }
        let v = self.attempt(
            Some(Type::Int),
            cold,
            |c, fail| {
                if unseen {
                    // What differs in kind is told apart by its bits, whatever it is.
                    let numbers = (!kinds_differ).then(|| [a, b].map(Seen::Number));
                    c.require_seen(o[4], numbers, fail);
                }
                let check = &mut |c: &mut Self, is| c.require(is, fail);
                Some(if kinds_differ {
                    let same = c.plain_equal(a, b, (l | r) & FLOAT != 0, check);
                    if cond == Cond::Eq { same } else { c.not(same) }
                } else if mixed && (l | r) & FLOAT != 0 {
                    c.numbers_compared(cond, [a, b], [l & numbers, r & numbers], check)
                } else {
                    c.small_compared(cond, a, b, check)
                })
            },
            |c| c.routine(frame, inst, routine),
        );
        self.set_result(o[0], v);
    }

    /// Goes to a block unless a site has recorded the kinds of its operands by now; where these may be any, unless it has recorded
    /// something. The routine there records what it sees, so a quick way where a site saw nothing before this code was made hides
    /// no kind that code may be made for.
    fn require_seen(&mut self, site: i64, operands: Option<[Seen; 2]>, fail: Block) {
        const { assert!(offset_of!(Feedback, right) == offset_of!(Feedback, left) + 2) };
        let table = self.context(offset_of!(Context, feedback));
        let place = site as usize * size_of::<Feedback>() + offset_of!(Feedback, left);
        let seen = self.load(Class::Feedback, Width::U32, table, place);
        let is_known = match operands {
            None => {
                let nothing = self.iconst(0);
                self.icmp(Cond::Ne, seen, nothing)
            }
            Some(operands) => {
                let [left, right] = operands.map(|operand| match operand {
                    Seen::Kind(kind) => self.iconst(i64::from(kind)),
                    Seen::Number(cell) => {
                        let int = self.iconst(i64::from(INT));
                        let is_float = self.unary(Op::IsFloat, cell);
                        self.binary(Op::Ishl, int, is_float)
                    }
                });
                let half = self.iconst(16);
                let right = self.binary(Op::Ishl, right, half);
                let kinds = self.binary(Op::Ior, left, right);
                let known = self.binary(Op::Iand, seen, kinds);
                self.icmp(Cond::Eq, known, kinds)
            }
        };
        self.require(is_known, fail);
    }

    /// Compares two cells that were seen to be numbers of these kinds, ints with floats as floats; `check` is given what has to hold.
    fn numbers_compared(
        &mut self,
        cond: Cond,
        [a, b]: [Value; 2],
        [l, r]: [u16; 2],
        check: &mut dyn FnMut(&mut Self, Value),
    ) -> Value {
        let floats = |c: &mut Self, check: &mut dyn FnMut(&mut Self, Value)| {
            let x = c.number(a, l, check);
            let y = c.number(b, r, check);
            c.fcmp(cond, x, y)
        };
        if l & r & INT == 0 {
            return floats(self, check);
        }
        let (x, y) = (self.unary(Op::IsSmall, a), self.unary(Op::IsSmall, b));
        let both = self.binary(Op::Iand, x, y);
        self.join(
            both,
            Type::Int,
            [false, false],
            |c| {
                let (x, y) = (c.unary(Op::SmallInt, a), c.unary(Op::SmallInt, b));
                Some(c.icmp(cond, x, y))
            },
            |c| Some(floats(c, check)),
        )
    }

    /// Compares two small ints.
    pub(super) fn small_compared(
        &mut self,
        cond: Cond,
        a: Value,
        b: Value,
        check: &mut dyn FnMut(&mut Self, Value),
    ) -> Value {
        let (x, y) = (self.unary(Op::IsSmall, a), self.unary(Op::IsSmall, b));
        check(self, x);
        check(self, y);
        let (x, y) = (self.unary(Op::SmallInt, a), self.unary(Op::SmallInt, b));
        self.icmp(cond, x, y)
    }

    /// Whether two cells that are no objects are equal, where those of different kinds differ. Of an int and a float the policy
    /// decides, which is not done here.
    pub(super) fn plain_equal(
        &mut self,
        a: Value,
        b: Value,
        floats: bool,
        check: &mut dyn FnMut(&mut Self, Value),
    ) -> Value {
        for v in [a, b] {
            let object = self.unary(Op::IsObject, v);
            let plain = self.not(object);
            check(self, plain);
        }
        // A constant that is no number differs from all but itself.
        let name = [a, b].iter().any(|&v| {
            let constant = self.func.def(v).filter(|d| d.op == Op::Cconst);
            constant
                .map(|d| Cell::from_bits(d.imm as u64))
                .is_some_and(|c| !c.is_float() && !c.is_small_int())
        });
        if name {
            return self.binary(Op::Same, a, b);
        }
        let (x, y) = (self.unary(Op::IsFloat, a), self.unary(Op::IsFloat, b));
        let either = self.binary(Op::Ior, x, y);
        if !floats {
            let none = self.not(either);
            check(self, none);
            return self.binary(Op::Same, a, b);
        }
        self.join(
            either,
            Type::Int,
            [false, false],
            |c| {
                let both = c.binary(Op::Iand, x, y);
                Some(c.join(
                    both,
                    Type::Int,
                    [false, false],
                    |c| {
                        let (x, y) = (c.unary(Op::CellFloat, a), c.unary(Op::CellFloat, b));
                        Some(c.fcmp(Cond::Eq, x, y))
                    },
                    |c| {
                        for v in [a, b] {
                            let int = c.unary(Op::IsSmall, v);
                            let other = c.not(int);
                            check(c, other);
                        }
                        Some(c.iconst(0))
                    },
                ))
            },
            |c| Some(c.binary(Op::Same, a, b)),
        )
    }

    /// Reads a field of a record. Where several shapes were seen, one is tried after the other.
    pub(super) fn field_get(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let seen = self.facts.feedback(o[4] as u32);
        let shapes = self.shapes_seen(&seen);
        let object = self.cell(o[1]);
        if shapes.is_empty() {
            let entries = NumberPolicy::FIELDS_ARE_ENTRIES.with(NumberPolicy::ABSENT_IS_NIL);
            let maps = seen.left == 1 << Kind::Map as u16 && seen.flags & SLOW == 0;
            if !maps || !NumberPolicy(o[2] as u16).has(entries) {
                self.routine(frame, inst, Routine::CellFieldGet);
                return;
            }
            let name = self.constant(o[3] as u32);
            return self.entry_of_map(frame, inst, Helper::MapField, [object, name], Routine::CellFieldGet);
        }
        if let [(shape, field)] = shapes[..]
            && self.may_assume(frame)
        {
            self.guard_shape(frame, object, shape, Reason::Shape);
            let v = self.field_of(object, field, &mut |c, fits| c.guard(frame, fits, Reason::Wide));
            self.set(o[0], v);
            return;
        }
        let frame = &*frame;
        let v = self.attempt(
            Some(Type::Cell),
            true,
            |c, fail| {
                let own = c.require_record(object, fail);
                Some(c.field_by_shape(object, own, &shapes, fail))
            },
            |c| c.routine(frame, inst, Routine::CellFieldGet),
        );
        self.set_result(o[0], v);
    }

    /// Stores into a field of a record, if the value is what the field holds. Where several shapes were seen, one is tried after the
    /// other.
    pub(super) fn field_set(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let seen = self.facts.feedback(o[4] as u32);
        let shapes = self.shapes_seen(&seen);
        let (object, value) = (self.cell(o[0]), self.cell(o[1]));
        let told = |&(shape, field): &(u32, FieldSlot)| {
            let code = self.field_code(shape, field);
            field.kind < 4 || code.is_some_and(|code| self.facts.test(code).is_some())
        };
        let entries = NumberPolicy(o[2] as u16).has(NumberPolicy::FIELDS_ARE_ENTRIES);
        if entries && shapes.is_empty() && seen.left == 1 << Kind::Map as u16 && seen.flags & SLOW == 0 {
            let name = self.constant(o[3] as u32);
            self.set_entry_of_map(frame, inst, [object, name, value], Routine::CellFieldSet);
            return;
        }
        if shapes.is_empty() || seen.flags & SLOW != 0 || !shapes.iter().all(told) {
            self.routine(frame, inst, Routine::CellFieldSet);
            return;
        }
        if let [(shape, field)] = shapes[..]
            && self.may_assume(frame)
        {
            self.guard_shape(frame, object, shape, Reason::Shape);
            self.set_field_of(object, shape, field, value, &mut |c, is| c.guard(frame, is, Reason::Kind));
            return;
        }
        self.attempt(
            None,
            true,
            |c, fail| {
                let own = c.require_record(object, fail);
                c.set_field_by_shape(object, own, &shapes, value, fail);
                None
            },
            |c| {
                c.routine(frame, inst, Routine::CellFieldSet);
                None
            },
        );
    }

    /// The shapes that an instruction saw, with where each has the field; none where there were too many.
    fn shapes_seen(&self, seen: &Feedback) -> Vec<(u32, FieldSlot)> {
        if !self.options.speculate || seen.flags & MEGAMORPHIC != 0 {
            return Vec::new();
        }
        seen.ids.into_iter().zip(seen.slots).take(seen.cached.into()).collect()
    }

    /// The shape of what is a record; goes to a block where it is none.
    fn require_record(&mut self, object: Value, fail: Block) -> Value {
        self.check_kind(object, ObjectKind::Record, &mut |c, is| c.require(is, fail));
        self.load(Class::Fixed, Width::U32, object, offset_of!(Header, meta))
    }

    fn is_shape(&mut self, own: Value, shape: u32) -> Value {
        let wanted = self.iconst(i64::from(shape));
        self.icmp(Cond::Eq, own, wanted)
    }

    /// A field of a record of one of these shapes as a cell; goes to a block where it is of another.
    fn field_by_shape(
        &mut self,
        object: Value,
        own: Value,
        shapes: &[(u32, FieldSlot)],
        fail: Block,
    ) -> Value {
        let check = &mut |c: &mut Self, fits| c.require(fits, fail);
        let (shape, field) = shapes[0];
        let is = self.is_shape(own, shape);
        if let [_] = shapes {
            self.require(is, fail);
            return self.field_of(object, field, check);
        }
        self.join(
            is,
            Type::Cell,
            [false; 2],
            |c| Some(c.field_of(object, field, check)),
            |c| Some(c.field_by_shape(object, own, &shapes[1..], fail)),
        )
    }

    /// A field of a record of a known shape as a cell. `check` is given what has to hold.
    fn field_of(
        &mut self,
        object: Value,
        field: FieldSlot,
        check: &mut dyn FnMut(&mut Self, Value),
    ) -> Value {
        let offset = Record::FIELDS + 8 * field.slot as usize;
        match field.kind {
            1 => {
                let v = self.load(Class::Field, Width::Int, object, offset);
                let fits = self.fits(v);
                check(self, fits);
                self.unary(Op::BoxSmall, v)
            }
            2 => {
                let v = self.load(Class::Field, Width::Int, object, offset);
                self.unary(Op::BoxBool, v)
            }
            3 => {
                let v = self.load(Class::Field, Width::Float, object, offset);
                self.unary(Op::BoxFloat, v)
            }
            _ => self.load(Class::Field, Width::Cell, object, offset),
        }
    }

    /// The code of the type of a field that holds cells of one type.
    fn field_code(&self, shape: u32, field: FieldSlot) -> Option<u32> {
        match self.facts.shape(shape).and_then(|shape| shape.field_at(field.slot))?.ty {
            ValueType::Cell(ty) if field.kind == 4 => Some(type_code(ty)),
            _ => None,
        }
    }

    /// Stores into a field of a record of one of these shapes; goes to a block where it is of another, or the value is not what the
    /// field holds.
    fn set_field_by_shape(
        &mut self,
        object: Value,
        own: Value,
        shapes: &[(u32, FieldSlot)],
        value: Value,
        fail: Block,
    ) {
        let check = &mut |c: &mut Self, is| c.require(is, fail);
        let (shape, field) = shapes[0];
        let is = self.is_shape(own, shape);
        if let [_] = shapes {
            self.require(is, fail);
            self.set_field_of(object, shape, field, value, check);
            return;
        }
        self.meet(
            is,
            [false; 2],
            |c| c.set_field_of(object, shape, field, value, check),
            |c| c.set_field_by_shape(object, own, &shapes[1..], value, fail),
        );
    }

    /// Stores into a field of a record of a known shape. `check` is given what has to hold.
    fn set_field_of(
        &mut self,
        object: Value,
        shape: u32,
        field: FieldSlot,
        value: Value,
        check: &mut dyn FnMut(&mut Self, Value),
    ) {
        let offset = Record::FIELDS + 8 * field.slot as usize;
        let (is, raw) = match (field.kind, self.field_code(shape, field)) {
            (1, _) => (self.unary(Op::IsSmall, value), Some((Op::SmallInt, Width::Int))),
            (2, _) => (self.told(value, Told::Bool, 0), Some((Op::Same, Width::Int))),
            (3, _) => (self.unary(Op::IsFloat, value), Some((Op::CellFloat, Width::Float))),
            (_, Some(code)) => (self.cell_test(value, code.into()), None),
            _ => (self.iconst(1), None),
        };
        check(self, is);
        let Some((op, width)) = raw else { return self.store_cell(Class::Field, object, value, offset) };
        let v = if op == Op::Same {
            let yes = self.cconst(Cell::TRUE);
            self.binary(op, value, yes)
        } else {
            self.unary(op, value)
        };
        self.store(Class::Field, width, object, v, offset);
    }

    pub(super) fn index_get(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let seen = self.facts.feedback(o[4] as u32);
        let list = 1 << Kind::List as u16;
        let [object, key] = [o[1], o[2]].map(|slot| self.cell(slot));
        let frame = &*frame;
        if self.may_assume(frame) && seen.left == list && seen.right == INT {
            let v = self.list_element(object, key, &mut |c, is| c.guard(frame, is, Reason::Kind));
            return self.set(o[0], v);
        }
        let (map, text) = (1 << Kind::Map as u16, 1 << Kind::String as u16);
        let absent_is_nil = NumberPolicy(o[3] as u16).has(NumberPolicy::ABSENT_IS_NIL);
        if seen.left == map && seen.right == text && seen.flags & SLOW == 0 && absent_is_nil {
            return self.entry_of_map(frame, inst, Helper::MapTextGet, [object, key], Routine::CellIndexGet);
        }
        if seen.left != 0 && (seen.left & list == 0 || seen.right & INT == 0) {
            self.routine(frame, inst, Routine::CellIndexGet);
            return;
        }
        let v = self.attempt(
            Some(Type::Cell),
            seen.left == list && seen.right == INT,
            |c, fail| {
                if seen.left == 0 {
                    c.require_seen(o[4], Some([Seen::Kind(list), Seen::Kind(INT)]), fail);
                }
                Some(c.list_element(object, key, &mut |c, is| c.require(is, fail)))
            },
            |c| c.routine(frame, inst, Routine::CellIndexGet),
        );
        self.set_result(o[0], v);
    }

    /// Stores into an element of a list of cells, or an entry of a map, of any type; the routine does everything else.
    pub(super) fn index_set(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let seen = self.facts.feedback(o[4] as u32);
        let [object, key, value] = [o[0], o[1], o[2]].map(|slot| self.cell(slot));
        let [list, map, text] = [Kind::List, Kind::Map, Kind::String].map(|kind| 1 << kind as u16);
        if seen.left == map && seen.right == text && seen.flags & SLOW == 0 {
            return self.set_entry_of_map(frame, inst, [object, key, value], Routine::CellIndexSet);
        }
        if seen.left != list || seen.right != INT || seen.flags & SLOW != 0 {
            self.routine(frame, inst, Routine::CellIndexSet);
            return;
        }
        self.attempt(
            None,
            true,
            |c, fail| {
                let check = &mut |c: &mut Self, is| c.require(is, fail);
                c.check_kind(object, ObjectKind::ListCell, check);
                c.check_any_elements(object, check);
                let small = c.unary(Op::IsSmall, key);
                check(c, small);
                let i = c.unary(Op::SmallInt, key);
                let len = c.load(Class::Len, Width::Int, object, offset_of!(List, len));
                let inside = c.icmp(Cond::Ult, i, len);
                check(c, inside);
                c.store_element(object, i, value, CELLS);
                None
            },
            |c| {
                c.routine(frame, inst, Routine::CellIndexSet);
                None
            },
        );
    }

    /// Whether the elements of a list of cells, or the values of a map, may be of any type. A container that does not say so may still
    /// be given a type.
    fn check_any_elements(&mut self, object: Value, check: &mut dyn FnMut(&mut Self, Value)) {
        let code = self.load(Class::Fixed, Width::U32, object, offset_of!(Header, meta));
        let any = self.iconst(ANY_CODE.into());
        let is = self.icmp(Cond::Eq, code, any);
        check(self, is);
    }

    /// Replaces the value at a string in a map with strings as keys and values of any type; the routine does everything else.
    fn set_entry_of_map(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        [object, key, value]: [Value; 3],
        routine: Routine,
    ) {
        self.attempt(
            None,
            true,
            |c, fail| {
                let check = &mut |c: &mut Self, is| c.require(is, fail);
                c.check_kind(object, ObjectKind::Map, check);
                c.check_any_elements(object, check);
                let bits = c.load(Class::Fixed, Width::U16, object, offset_of!(Header, bits));
                let mask = c.iconst(POLICY_MASK.into());
                let policy = c.binary(Op::Iand, bits, mask);
                let strings = c.iconst(KeyPolicy::String as i64);
                let by_string = c.icmp(Cond::Eq, policy, strings);
                check(c, by_string);
                let is_string = c.told(key, Told::String, 0);
                check(c, is_string);
                let (entry, there) = c.find_entry(object, key);
                check(c, there);
                let place = c.entry_value(object, entry);
                c.store_entry(place, value);
                None
            },
            |c| {
                c.routine(frame, inst, routine);
                None
            },
        );
    }

    /// What a helper finds in what is a map at what is a string; where they are not, or it finds nothing, the routine does the
    /// instruction.
    fn entry_of_map(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        find: Helper,
        at: [Value; 2],
        routine: Routine,
    ) {
        if self.may_assume(frame) {
            let v = self.text_entry(find, at, &mut |c, is| c.guard(frame, is, Reason::Kind));
            return self.set(inst.operands[0], v);
        }
        let v = self.attempt(
            Some(Type::Cell),
            true,
            |c, fail| Some(c.text_entry(find, at, &mut |c, is| c.require(is, fail))),
            |c| c.routine(frame, inst, routine),
        );
        self.set_result(inst.operands[0], v);
    }

    /// What a helper finds in a map at a string, which names of fields are; `check` is given what has to hold.
    fn text_entry(
        &mut self,
        find: Helper,
        [object, key]: [Value; 2],
        check: &mut dyn FnMut(&mut Self, Value),
    ) -> Value {
        self.check_kind(object, ObjectKind::Map, check);
        if find != Helper::MapField {
            let is = self.told(key, Told::String, 0);
            check(self, is);
        }
        let expected = self.expected_entry(key);
        let value = self.helper(find, &[object, key, expected]);
        let bits = self.unary(Op::Bits, value);
        let hole = self.iconst(Cell::HOLE.bits() as i64);
        let is = self.icmp(Cond::Ne, bits, hole);
        check(self, is);
        value
    }

    /// The element of a list of any kind at a position, which is a small int, as a cell; `check` is given what has to hold.
    fn list_element(&mut self, object: Value, key: Value, check: &mut dyn FnMut(&mut Self, Value)) -> Value {
        let is = self.unary(Op::IsObject, object);
        check(self, is);
        let small = self.unary(Op::IsSmall, key);
        check(self, small);
        let i = self.unary(Op::SmallInt, key);
        let kind = self.load(Class::Fixed, Width::U8, object, offset_of!(Header, kind));
        let first = self.iconst(ObjectKind::ListInt as i64);
        let from = self.binary(Op::Isub, kind, first);
        let four = self.iconst(4);
        let is_list = self.icmp(Cond::Ult, from, four);
        check(self, is_list);
        let len = self.load(Class::Len, Width::Int, object, offset_of!(List, len));
        let inside = self.icmp(Cond::Ult, i, len);
        check(self, inside);
        let cells = self.iconst(ObjectKind::ListCell as i64);
        let of_cells = self.icmp(Cond::Eq, kind, cells);
        self.join(
            of_cells,
            Type::Cell,
            [false, false],
            |c| Some(c.element(object, i, CELLS)),
            |c| {
                let ints = c.iconst(ObjectKind::ListInt as i64);
                let of_ints = c.icmp(Cond::Eq, kind, ints);
                Some(c.join(
                    of_ints,
                    Type::Cell,
                    [false, false],
                    |c| {
                        let v = c.element(object, i, INTS);
                        let fits = c.fits(v);
                        check(c, fits);
                        Some(c.unary(Op::BoxSmall, v))
                    },
                    |c| {
                        let floats = c.iconst(ObjectKind::ListFloat as i64);
                        let of_floats = c.icmp(Cond::Eq, kind, floats);
                        Some(c.join(
                            of_floats,
                            Type::Cell,
                            [false, false],
                            |c| {
                                let v = c.element(object, i, FLOATS);
                                Some(c.unary(Op::BoxFloat, v))
                            },
                            |c| {
                                let v = c.element(object, i, BOOLS);
                                Some(c.unary(Op::BoxBool, v))
                            },
                        ))
                    },
                ))
            },
        )
    }

    pub(super) fn unbox_int(&mut self, frame: &Frame<'a>, a: Value) -> Value {
        let small = self.unary(Op::IsSmall, a);
        if self.may_assume(frame) {
            self.guard(frame, small, Reason::Kind);
            return self.unary(Op::SmallInt, a);
        }
        self.join(
            small,
            Type::Int,
            [false, true],
            |c| Some(c.unary(Op::SmallInt, a)),
            |c| {
                c.guard_kind(frame, a, ObjectKind::WideInt, Reason::Mismatch);
                Some(c.load(Class::Fixed, Width::Int, a, offset_of!(upshift_runtime::object::WideInt, value)))
            },
        )
    }
}
