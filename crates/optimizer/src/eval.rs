//! A plain evaluator of the SSA form, so that passes are judged without machine code.
//!
//! [`evaluate`] runs a verified function on raw 64-bit values, by the rows' meaning and the scalar functions of the runtime. What the
//! rest of the engine would answer comes from a [`World`]: memory, tables, calls. Where the world has no answer, or a
//! precondition of an op does not hold, the outcome says so; nothing panics on a verified function.
//!
//! Objects do not move here and the collector never runs. Budget and stack are unlimited, so `poll`, `charge` and `stack` do nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::offset_of;

use cranelift_entity::SecondaryMap;
use upshift_runtime::object::{Header, ObjectKind, StringObject, string_bits};
use upshift_runtime::scalar::*;
use upshift_runtime::value::Value as Cell;

use crate::helper::Helper;
use crate::ir::*;
use crate::text::{print_bits, print_inst};

/// Runs the function on the bits of its arguments. `fuel` is the number of instructions that may run.
pub fn evaluate(func: &Function, args: &[u64], world: &mut World<'_>, fuel: u64) -> Outcome {
    let mut run = Run { func, values: SecondaryMap::with_capacity(func.values.len()), world };
    let mut fuel = fuel;
    let mut block = func.entry();
    for (&param, &arg) in func.blocks[block].params.iter().zip(args) {
        run.values[param] = arg;
    }
    loop {
        let insts = &func.blocks[block].insts;
        if fuel < insts.len() as u64 {
            return Outcome::OutOfFuel;
        }
        fuel -= insts.len() as u64;
        let mut next = None;
        for &inst in insts {
            match run.step(inst) {
                Ok(Step::Next) => {}
                Ok(Step::Goto(target)) => next = Some(target),
                Err(outcome) => return *outcome,
            }
        }
        // Arguments are read before any parameter changes.
        let Some(target) = next else { return Outcome::Fault(format!("{block} does not end")) };
        let args: Vec<u64> = target.args.iter().map(|&v| run.values[v]).collect();
        block = target.block;
        for (&param, arg) in func.blocks[block].params.iter().zip(args) {
            run.values[param] = arg;
        }
    }
}

/// How a run ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It returned.
    Return(Option<u64>),
    /// It left for the interpreter.
    Left {
        /// The frame state.
        state: State,
        /// Why.
        reason: Reason,
        /// What the slots of the state's frame and of those around it hold, by slot.
        slots: Vec<(u32, u64)>,
    },
    /// It runs too long.
    OutOfFuel,
    /// The world has no answer for this op.
    Unsupported(Op),
    /// A precondition does not hold: an access outside all objects, a divisor of zero. A verified function that the builder
    /// made does not come here, and no pass may bring it here.
    Fault(String),
}

impl Outcome {
    /// The outcome as text, by the function that it is of.
    pub fn show<'a>(&'a self, func: &'a Function) -> impl fmt::Display + 'a {
        Shown { outcome: self, func }
    }
}

struct Shown<'a> {
    outcome: &'a Outcome,
    func: &'a Function,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Return(None) => f.write_str("return"),
            Outcome::Return(Some(bits)) => {
                write!(f, "return {}", print_bits(self.func.result.unwrap_or(Type::Int), *bits))
            }
            Outcome::Left { state, reason, slots } => {
                write!(f, "leave {state} {} [", reason.name())?;
                let types = slot_types(self.func, *state);
                for (i, (slot, bits)) in slots.iter().enumerate() {
                    let ty = types.get(slot).copied().unwrap_or(Type::Int);
                    write!(f, "{}{slot}: {}", if i == 0 { "" } else { ", " }, print_bits(ty, *bits))?;
                }
                f.write_str("]")
            }
            Outcome::OutOfFuel => f.write_str("out of fuel"),
            Outcome::Unsupported(op) => write!(f, "unsupported: {}", op.info().mnemonic),
            Outcome::Fault(message) => write!(f, "fault: {message}"),
        }
    }
}

/// The types of the slots that a state and those around it name.
pub fn slot_types(func: &Function, state: State) -> BTreeMap<u32, Type> {
    let mut types = BTreeMap::new();
    each_slot(func, state, |slot, value| {
        types.insert(slot, func.ty(value));
    });
    types
}

fn each_slot(func: &Function, state: State, mut f: impl FnMut(u32, Value)) {
    let mut next = Some(state);
    while let Some(state) = next {
        let data = &func.states[state];
        data.slots.iter().for_each(|&(slot, value)| f(slot, value));
        next = data.parent.expand();
    }
}

/// A call, routine or helper that a run comes to.
#[derive(Debug)]
pub struct Question<'a> {
    /// The instruction.
    pub inst: &'a InstData,
    /// Its site.
    pub site: &'a SiteData,
    /// The bits of its operands, with their types.
    pub args: Vec<(Type, u64)>,
    /// What its frame state, if it has one, and those around it name: slots with types and bits.
    pub slots: Vec<(u32, Type, u64)>,
}

/// What answers questions: gives the result, or nothing where it has no answer.
pub type Answers<'a> = dyn FnMut(&Question<'_>, &mut Memory) -> Option<Option<u64>> + 'a;

/// What a function runs in.
#[derive(Default)]
pub struct World<'a> {
    /// The objects.
    pub memory: Memory,
    /// What `context`, `constant` and `code` give, by op and immediate.
    pub tables: BTreeMap<(u8, i64), u64>,
    /// What calls, routines and helpers give.
    pub answers: Option<Box<Answers<'a>>>,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl World<'_> {
    /// With objects only.
    pub fn new(memory: Memory) -> Self {
        World { memory, ..World::default() }
    }
}

/// Objects by their addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    objects: BTreeMap<u64, Vec<u8>>,
}

/// Where the first new object stands, far from the addresses that tests write.
const FIRST_NEW: u64 = 0x10_0000_0000;

impl Memory {
    /// An object of these words at an address.
    pub fn put(&mut self, address: u64, words: &[u64]) {
        self.objects.insert(address, words.iter().flat_map(|w| w.to_le_bytes()).collect());
    }

    /// A new object of these words.
    pub fn allocate(&mut self, words: &[u64]) -> u64 {
        let last = self.objects.range(FIRST_NEW..).next_back();
        // A gap, so that no offset leads from one object to the next by mistake.
        let address = last.map_or(FIRST_NEW, |(a, bytes)| a + (bytes.len() as u64).next_multiple_of(8) + 64);
        self.put(address, words);
        address
    }

    /// The objects, by address, in words.
    pub fn objects(&self) -> impl Iterator<Item = (u64, Vec<u64>)> + '_ {
        self.objects.iter().map(|(&address, bytes)| {
            let words = bytes.chunks(8).map(|c| c.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b)));
            (address, words.collect())
        })
    }

    /// The bytes from an address on.
    fn bytes(&mut self, address: u64, count: usize) -> Option<&mut [u8]> {
        let (start, bytes) = self.objects.range_mut(..=address).next_back()?;
        let from = usize::try_from(address - start).ok()?;
        bytes.get_mut(from..from.checked_add(count)?)
    }

    /// What is at an address; nothing outside of objects.
    pub fn load(&mut self, address: u64, width: Width) -> Option<u64> {
        let bytes = self.bytes(address, width.bytes() as usize)?;
        Some(bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
    }

    /// Changes what is at an address.
    pub fn store(&mut self, address: u64, width: Width, bits: u64) -> Option<()> {
        let count = width.bytes() as usize;
        self.bytes(address, count)?.copy_from_slice(&bits.to_le_bytes()[..count]);
        Some(())
    }
}

enum Step<'a> {
    Next,
    Goto(&'a Target),
}

struct Run<'a, 'w, 'x> {
    func: &'a Function,
    values: SecondaryMap<Value, u64>,
    world: &'w mut World<'x>,
}

/// The outcome is boxed since it is rare, and large.
type Stepped<T> = Result<T, Box<Outcome>>;

impl<'a> Run<'a, '_, '_> {
    fn step(&mut self, inst: Inst) -> Stepped<Step<'a>> {
        let func = self.func;
        let data = &func.insts[inst];
        let bits: Vec<u64> = data.args.iter().map(|&v| self.values[v]).collect();
        let result = match data.op {
            Op::Jump => return Ok(Step::Goto(&data.targets[0])),
            Op::Branch => return Ok(Step::Goto(&data.targets[usize::from(bits[0] == 0)])),
            Op::Switch => {
                let cases = &func.cases[data.imm as usize];
                let at = cases.iter().position(|&c| c == bits[0] as i64).unwrap_or(cases.len());
                return Ok(Step::Goto(&data.targets[at]));
            }
            Op::Return => return Err(Box::new(Outcome::Return(bits.first().copied()))),
            Op::Exit => return Err(self.leave(data)),
            Op::Guard => {
                if bits[0] == 0 {
                    return Err(self.leave(data));
                }
                None
            }
            Op::Stack | Op::Poll | Op::Charge => None,
            Op::IaddExit | Op::IsubExit | Op::ImulExit => {
                let (a, b) = (bits[0] as i64, bits[1] as i64);
                let checked = match data.op {
                    Op::IaddExit => int_add_checked(a, b),
                    Op::IsubExit => int_sub_checked(a, b),
                    _ => int_mul_checked(a, b),
                };
                Some(checked.map_err(|_| self.leave(data))? as u64)
            }
            Op::Context | Op::Constant | Op::Code => {
                let found = self.world.tables.get(&(data.op as u8, data.imm)).copied();
                Some(found.ok_or_else(|| Box::new(Outcome::Unsupported(data.op)))?)
            }
            Op::Load | Op::LoadAt | Op::Store | Op::StoreAt | Op::StoreCell | Op::StoreCellAt => {
                self.access(inst, &bits)?
            }
            Op::Alloc | Op::Make | Op::Virtual => {
                let memory = &mut self.world.memory;
                let mut words: Vec<u64> = [data.imm as u64].into_iter().chain(bits).collect();
                if let Some(elements) = elements_of(data.imm) {
                    let room = words.len() - 1 - LIST_WORDS;
                    let header = match elements.class {
                        Class::Cells => ObjectKind::CellBuffer as u64,
                        _ => ObjectKind::RawBuffer as u64 | 8 << 16,
                    };
                    let buffer: Vec<u64> =
                        [header, room as u64].into_iter().chain(words.split_off(1 + LIST_WORDS)).collect();
                    let buffer = memory.allocate(&buffer);
                    words = vec![words[0] | words[2] << 16, words[1], buffer];
                }
                Some(memory.allocate(&words))
            }
            Op::StringLen | Op::AsciiLen | Op::AsciiBase => Some(self.string(inst, bits[0])?),
            Op::BoxInt => Some(match Cell::small_int(bits[0] as i64) {
                Some(cell) => cell.bits(),
                None => self.world.memory.allocate(&[ObjectKind::WideInt as u64, bits[0]]),
            }),
            Op::Call | Op::CallClosure | Op::Routine | Op::Helper => match self.answer(data) {
                Some(result) if result.is_some() == data.result.is_some() => result,
                _ => return Err(Box::new(Outcome::Unsupported(data.op))),
            },
            _ => Some(compute(data, &bits).map_err(|e| self.fault(inst, e))?),
        };
        if let (Some(value), Some(bits)) = (data.result.expand(), result) {
            self.values[value] = bits;
        }
        Ok(Step::Next)
    }

    /// What a string says of itself.
    fn string(&mut self, inst: Inst, bits: u64) -> Stepped<u64> {
        let op = self.func.insts[inst].op;
        let cell = Cell::from_bits(bits);
        if !cell.is_object() {
            let scalars = || upshift_runtime::string::count_scalars(cell.short_bytes()) as u64;
            return Ok(if op == Op::StringLen && cell.is_short_string() { scalars() } else { 0 });
        }
        let memory = &mut self.world.memory;
        let mut load = |offset: usize, width| memory.load(bits.wrapping_add(offset as u64), width);
        let found = match op {
            Op::StringLen => load(offset_of!(Header, meta), Width::U32),
            Op::AsciiLen => load(offset_of!(Header, meta), Width::U32).and_then(|scalars| {
                let bytes = load(offset_of!(StringObject, len), Width::U32)?;
                Some(if scalars == bytes { scalars } else { 0 })
            }),
            _ => load(offset_of!(Header, bits), Width::U16).and_then(|flags| {
                let buffered = flags & u64::from(string_bits::BUFFERED) != 0;
                if buffered { load(StringObject::PAYLOAD, Width::Ptr) } else { Some(bits) }
            }),
        };
        found.ok_or_else(|| self.fault(inst, &format!("{bits:#x} is no string")))
    }

    fn answer(&mut self, inst: &InstData) -> Option<Option<u64>> {
        let func = self.func;
        let helper = Helper::ALL.get(inst.imm as usize).filter(|_| inst.op == Op::Helper);
        let int = |n: usize| self.values[inst.args[n]] as i64;
        match helper {
            // Nothing is charged here.
            Some(Helper::SkipTurns) => return Some(Some(int(0) as u64)),
            Some(Helper::AffineRest) => {
                return Some(Some(affine_rest(int(0), int(1), int(2), int(3), int(4), int(5)) as u64));
            }
            Some(Helper::AffinePair) => {
                return Some(Some(affine_pair(int(0), int(1), int(2), int(3), int(4), int(5)) as u64));
            }
            _ => {}
        }
        let site = func.sites.get(inst.site.expand()?)?;
        let args = inst.args.iter().map(|&v| (func.ty(v), self.values[v])).collect();
        let mut slots = Vec::new();
        if let Some(state) = inst.state.expand() {
            each_slot(func, state, |slot, v| slots.push((slot, func.ty(v), self.values[v])));
            slots.sort_unstable_by_key(|s| s.0);
        }
        let World { memory, answers, .. } = &mut *self.world;
        answers.as_mut()?(&Question { inst, site, args, slots }, memory)
    }

    fn leave(&self, data: &InstData) -> Box<Outcome> {
        let Some(state) = data.state.expand() else {
            return Box::new(Outcome::Fault("leaves without a state".into()));
        };
        let mut slots = Vec::new();
        each_slot(self.func, state, |slot, value| slots.push((slot, self.values[value])));
        slots.sort_unstable();
        Box::new(Outcome::Left { state, reason: data.reason(), slots })
    }

    fn fault(&self, inst: Inst, message: &str) -> Box<Outcome> {
        Box::new(Outcome::Fault(format!("`{}`: {message}", print_inst(self.func, inst))))
    }

    fn access(&mut self, inst: Inst, bits: &[u64]) -> Stepped<Option<u64>> {
        let data = &self.func.insts[inst];
        let width = data.access.map_or(Width::Int, |a| a.width);
        let indexed = matches!(data.op, Op::LoadAt | Op::StoreAt | Op::StoreCellAt);
        let index = if indexed { bits[1] } else { 0 };
        let address =
            bits[0].wrapping_add(data.imm as u64).wrapping_add(index.wrapping_mul(u64::from(width.bytes())));
        let memory = &mut self.world.memory;
        let done = if data.op.info().stores {
            memory.store(address, width, bits[bits.len() - 1]).map(|()| None)
        } else {
            memory.load(address, width).map(Some)
        };
        done.ok_or_else(|| self.fault(inst, &format!("{address:#x} is in no object")))
    }
}

/// Whether a condition holds for ints.
pub fn compare_ints(cond: Cond, a: i64, b: i64) -> bool {
    let (x, y) = (a as u64, b as u64);
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Ult => x < y,
        Cond::Ule => x <= y,
        Cond::Ugt => x > y,
        Cond::Uge => x >= y,
    }
}

/// Whether a condition holds for floats.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "that is what the conditions mean where a float is NaN")]
pub fn compare_floats(cond: Cond, a: f64, b: f64) -> bool {
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Lt | Cond::Ult => a < b,
        Cond::Le | Cond::Ule => a <= b,
        Cond::Gt | Cond::Ugt => !(a <= b),
        Cond::Ge | Cond::Uge => !(a < b),
    }
}

/// The function of floats that a helper is.
fn float_helper(number: i64, a: f64, b: f64) -> Option<f64> {
    let helper = usize::try_from(number).ok().and_then(|n| Helper::ALL.get(n))?;
    Some(match helper {
        Helper::FloatRem => float_rem(a, b),
        Helper::FloatPow => float_pow(a, b),
        Helper::FloatAtan2 => float_atan2(a, b),
        Helper::FloatRound => float_round(a),
        Helper::FloatSin => float_sin(a),
        Helper::FloatCos => float_cos(a),
        Helper::FloatTan => float_tan(a),
        Helper::FloatAsin => float_asin(a),
        Helper::FloatAcos => float_acos(a),
        Helper::FloatAtan => float_atan(a),
        Helper::FloatExp => float_exp(a),
        Helper::FloatLog => float_log(a),
        Helper::FloatLog2 => float_log2(a),
        Helper::FloatLog10 => float_log10(a),
        _ => return None,
    })
}

/// The result of an op that depends on its operands and immediate alone.
fn compute(data: &InstData, bits: &[u64]) -> Result<u64, &'static str> {
    let int = |n: usize| bits[n] as i64;
    let float = |n: usize| f64::from_bits(bits[n]);
    let cell = |n: usize| Cell::from_bits(bits[n]);
    let of_float = |x: f64| x.to_bits();
    let of_int = |x: i64| x as u64;
    Ok(match data.op {
        Op::Iconst | Op::Fconst | Op::Cconst => data.imm as u64,
        Op::Iadd => of_int(int_add(int(0), int(1))),
        Op::Isub => of_int(int_sub(int(0), int(1))),
        Op::Imul => of_int(int_mul(int(0), int(1))),
        Op::Imulh => ((i128::from(int(0)) * i128::from(int(1))) >> 64) as u64,
        Op::Idiv => of_int(int_div(int(0), int(1)).map_err(|_| "the quotient does not exist")?),
        Op::Irem => of_int(int_rem(int(0), int(1)).map_err(|_| "the remainder does not exist")?),
        Op::Iand => of_int(int_and(int(0), int(1))),
        Op::Ior => of_int(int_or(int(0), int(1))),
        Op::Ixor => of_int(int_xor(int(0), int(1))),
        Op::Ishl => of_int(int_shl(int(0), int(1))),
        Op::IshrS => of_int(int_shr_s(int(0), int(1))),
        Op::IshrU => of_int(int_shr_u(int(0), int(1))),
        Op::Imin => of_int(int_min(int(0), int(1))),
        Op::Imax => of_int(int_max(int(0), int(1))),
        Op::Iextend32 => of_int(int_extend32(int(0))),
        Op::Icmp => u64::from(compare_ints(data.cond(), int(0), int(1))),
        Op::IaddOverflows => u64::from(int_add_checked(int(0), int(1)).is_err()),
        Op::IsubOverflows => u64::from(int_sub_checked(int(0), int(1)).is_err()),
        Op::ImulOverflows => u64::from(int_mul_checked(int(0), int(1)).is_err()),
        Op::SelectInt | Op::SelectFloat | Op::SelectCell => bits[if bits[0] != 0 { 1 } else { 2 }],
        Op::Fadd => of_float(float_add(float(0), float(1))),
        Op::Fsub => of_float(float_sub(float(0), float(1))),
        Op::Fmul => of_float(float_mul(float(0), float(1))),
        Op::Fdiv => of_float(float_div(float(0), float(1))),
        Op::Fmin => of_float(float_min(float(0), float(1))),
        Op::Fmax => of_float(float_max(float(0), float(1))),
        Op::Fneg => of_float(float_neg(float(0))),
        Op::Fabs => of_float(float_abs(float(0))),
        Op::Fsqrt => of_float(float_sqrt(float(0))),
        Op::Ffloor => of_float(float_floor(float(0))),
        Op::Fceil => of_float(float_ceil(float(0))),
        Op::Ftrunc => of_float(float_trunc(float(0))),
        Op::Fcall1 => of_float(float_helper(data.imm, float(0), 0.0).ok_or("not a function of floats")?),
        Op::Fcall2 => of_float(float_helper(data.imm, float(0), float(1)).ok_or("not a function of floats")?),
        Op::Fcmp => u64::from(compare_floats(data.cond(), float(0), float(1))),
        Op::FfromInt => of_float(int(0) as f64),
        Op::IfromFloat => of_int(int_from_float(float(0)).map_err(|_| "the float is out of range")?),
        Op::FfromBits | Op::IfromBits | Op::Bits | Op::OfBits => bits[0],
        Op::BoxFloat => Cell::float(float(0)).bits(),
        Op::BoxBool => Cell::bool(bits[0] != 0).bits(),
        Op::BoxSmall => Cell::small_int(int(0)).ok_or("the int has more than 48 bits")?.bits(),
        Op::IsSmall => u64::from(cell(0).is_small_int()),
        Op::IsFloat => u64::from(cell(0).is_float()),
        Op::IsObject => u64::from(cell(0).is_object()),
        Op::SmallInt => of_int(cell(0).small_int_of()),
        Op::CellFloat => of_float(cell(0).float_of()),
        Op::Same => u64::from(bits[0] == bits[1]),
        Op::Context
        | Op::StringLen
        | Op::AsciiLen
        | Op::AsciiBase
        | Op::Load
        | Op::LoadAt
        | Op::Store
        | Op::StoreAt
        | Op::StoreCell
        | Op::StoreCellAt
        | Op::Code
        | Op::Constant
        | Op::BoxInt
        | Op::IaddExit
        | Op::IsubExit
        | Op::ImulExit
        | Op::Guard
        | Op::Stack
        | Op::Poll
        | Op::Charge
        | Op::Call
        | Op::CallClosure
        | Op::Routine
        | Op::Helper
        | Op::Alloc
        | Op::Make
        | Op::Virtual
        | Op::Jump
        | Op::Branch
        | Op::Switch
        | Op::Return
        | Op::Exit => return Err("not computed from its operands alone"),
    })
}

#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod reduce;
#[cfg(test)]
mod tests;
