//! Routines: the meaning of ops that are more than a few scalar instructions.
//!
//! Each is a function of context, frame, pc and the function's entry, callable from machine code. A routine decodes its own
//! operands. It collects, if at all, before it does anything else, while all operands are in slots; after that nothing
//! moves until it calls guest code. What is bytecode (callees, protocol entries) is pushed as a frame and continued by the
//! loop (`Status::Reload`); only host functions run inside.

mod calls;
mod data;
mod dynamic;
pub mod helpers;
mod native;

pub use calls::*;
pub use data::*;
pub use dynamic::*;
pub use native::*;

use upshift_bytecode::{Effects, Inst, Op, OperandKind, TrapCode, Word};
use upshift_runtime::context::{Context, Status};
use upshift_runtime::frame::{Frame, FunctionEntry};
use upshift_runtime::instance::{Instance, Pending};
use upshift_runtime::linked::type_of_code;
use upshift_runtime::object::{Header, List, Tuple};
use upshift_runtime::sampling::Running;
use upshift_runtime::trap::{Trap, default_message};
use upshift_runtime::value::Value;

/// What every routine gets.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub ctx: *mut Context,
    pub fp: *mut u64,
    pub pc: *const Word,
    pub entry: *const FunctionEntry,
}

impl Site {
    #[inline(always)]
    pub unsafe fn new(ctx: *mut Context, fp: *mut u64, pc: *const Word, entry: *const FunctionEntry) -> Site {
        Site { ctx, fp, pc, entry }
    }
    #[inline(always)]
    pub unsafe fn instance<'a>(self) -> &'a mut Instance {
        // SAFETY: the context is the first field of an instance that this thread runs; callers let go of the reference
        // before guest code runs.
        unsafe { &mut *self.ctx.cast::<Instance>() }
    }
    #[inline(always)]
    pub fn frame(self) -> Frame {
        Frame { fp: self.fp, entry: self.entry }
    }
    #[inline(always)]
    pub unsafe fn word(self) -> Word {
        // SAFETY: the pc is at an instruction.
        unsafe { *self.pc }
    }
    #[inline(always)]
    pub unsafe fn second(self) -> Word {
        // SAFETY: callers have a two-word instruction.
        unsafe { *self.pc.add(1) }
    }
    #[inline(always)]
    pub unsafe fn int(self, slot: u16) -> i64 {
        // SAFETY: verified slot.
        unsafe { *self.fp.cast::<i64>().add(slot as usize) }
    }
    #[inline(always)]
    pub unsafe fn cell(self, slot: u16) -> Value {
        // SAFETY: verified slot.
        unsafe { *self.fp.cast::<Value>().add(slot as usize) }
    }
    #[inline(always)]
    pub unsafe fn set_int(self, slot: u16, value: i64) {
        // SAFETY: verified slot.
        unsafe { *self.fp.cast::<i64>().add(slot as usize) = value }
    }
    #[inline(always)]
    pub unsafe fn set_cell(self, slot: u16, value: Value) {
        // SAFETY: verified slot.
        unsafe { *self.fp.cast::<Value>().add(slot as usize) = value }
    }
    #[inline(always)]
    pub unsafe fn window(self) -> *mut u64 {
        // SAFETY: the frame is live.
        unsafe { self.frame().window() }
    }
    /// The place to collect, if it is due.
    #[inline(always)]
    pub unsafe fn safepoint(self) {
        // SAFETY: verified code calls collecting ops where all cells of the frame are valid.
        unsafe { self.instance().safepoint(self.frame(), self.pc, (std::ptr::null_mut(), 0)) }
    }
    /// As [`Site::safepoint`], with `count` cells of the window, from a slot on, as further roots.
    #[inline(always)]
    pub unsafe fn safepoint_window(self, slot: usize, count: usize) {
        // SAFETY: as above; the verifier saw the window's cells being written.
        unsafe { self.instance().safepoint(self.frame(), self.pc, (self.window().add(slot).cast(), count)) }
    }
    #[cold]
    #[inline(never)]
    pub unsafe fn trap(self, trap: Trap) -> Status {
        // SAFETY: the site is the top frame.
        unsafe {
            let instance = self.instance();
            instance.set_pending(trap);
            instance.unwind(self.frame(), self.pc.add(1))
        }
    }
    #[cold]
    #[inline(never)]
    pub unsafe fn code(self, code: TrapCode) -> Status {
        // SAFETY: as above.
        unsafe { raise(self.ctx, self.fp, self.pc, self.entry, code) }
    }
}

/// Defines routines: the site, and a body that ends in a [`Status`].
macro_rules! routines {
    ($($(#[$doc:meta])* $name:ident |$s:ident| $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// See [`upshift_runtime::context::Routine`]: a live context, its top frame, and a pc at an instruction of the op.
        #[inline(never)]
        pub unsafe extern "C" fn $name(
            ctx: *mut upshift_runtime::context::Context,
            fp: *mut u64,
            pc: *const upshift_bytecode::Word,
            entry: *const upshift_runtime::frame::FunctionEntry,
        ) -> upshift_runtime::context::Status {
            // SAFETY: operands of verified code are what their kinds say; the site is the top frame.
            #[allow(unused_unsafe, reason = "the body is one unsafe block")]
            unsafe {
                let $s = $crate::routines::Site::new(ctx, fp, pc, entry);
                $body
            }
        }
    )*};
}
pub(crate) use routines;

/// Goes on, or raises the trap of an error.
macro_rules! attempt {
    ($s:ident, $e:expr) => {
        match $e {
            Ok(value) => value,
            Err(error) => return $s.trap(upshift_runtime::trap::Trap::from(error)),
        }
    };
}
pub(crate) use attempt;

/// Raises a trap at the instruction, with what its operands tell.
///
/// # Safety
/// See [`upshift_runtime::context::Routine`].
#[cold]
#[inline(never)]
pub unsafe extern "C" fn raise(
    ctx: *mut Context,
    fp: *mut u64,
    pc: *const Word,
    entry: *const FunctionEntry,
    code: TrapCode,
) -> Status {
    // SAFETY: the site is the top frame.
    unsafe {
        let s = Site::new(ctx, fp, pc, entry);
        let message = detail(s, code);
        let trap = match message {
            Some(message) => Trap::new(code, message),
            None => Trap::new(code, default_message(code)),
        };
        s.trap(trap)
    }
}

/// A float that is no int of 64 bits, as text.
fn large(x: f64) -> String {
    match x {
        f64::INFINITY => "+Inf".to_string(),
        f64::NEG_INFINITY => "-Inf".to_string(),
        // Where it is a number its exponent is positive.
        _ => format!("{x:e}").replace('e', "e+"),
    }
}

/// What the operands of the instruction say about a trap.
unsafe fn detail(s: Site, code: TrapCode) -> Option<String> {
    // SAFETY: the pc is at a verified instruction; where the op has a second word it is there.
    unsafe {
        let words = [*s.pc, if (*s.pc).op() as usize >= Op::ALL.len() { return None } else { *s.pc }];
        let op = Op::from_number(words[0].op())?;
        let words = if op.words() == 2 { [*s.pc, *s.pc.add(1)] } else { words };
        let inst = Inst::decode(&words).ok()?;
        let info = op.info();
        let named = |name: &str| info.operands.iter().position(|o| o.name == name);
        let slot = |i: usize| inst.operands[i] as u16;
        match code {
            TrapCode::IndexOutOfRange => {
                let i = s.int(slot(named("i")?));
                let container = info.operands.iter().position(|o| {
                    matches!(
                        o.kind,
                        OperandKind::UseListInt
                            | OperandKind::UseListFloat
                            | OperandKind::UseListBool
                            | OperandKind::UseListCell
                            | OperandKind::UseTuple
                            | OperandKind::UseString
                    )
                });
                let Some(container) = container else {
                    return Some(format!(
                        "index {i} is out of range for {} results",
                        s.instance().results.len()
                    ));
                };
                let (len, what) = match info.operands[container].kind {
                    OperandKind::UseTuple => {
                        ((*s.cell(slot(container)).as_ptr::<Tuple>()).len as usize, "tuple")
                    }
                    OperandKind::UseString => {
                        (upshift_runtime::string::len(s.cell(slot(container))), "string")
                    }
                    _ => ((*s.cell(slot(container)).as_ptr::<List>()).len, "list"),
                };
                Some(format!("index {i} is out of range for a {what} of length {len}"))
            }
            TrapCode::IntegerOverflow => {
                let stem = info.mnemonic.split_once("int.").or_else(|| info.mnemonic.split_once("cell."))?.1;
                if stem == "from_float" {
                    let a = f64::from_bits(s.int(slot(named("a")?)) as u64);
                    return Some(format!("{} as int does not fit 64 bits", large(a)));
                }
                let int = |at: usize| match info.operands[at].kind {
                    OperandKind::UseCell => s.cell(slot(at)).as_int(),
                    _ => Some(s.int(slot(at))),
                };
                let a = int(named("a")?)?;
                // The subtraction of a constant is the addition of its opposite.
                let b = match (named("b"), named("value")) {
                    (Some(b), _) => int(b),
                    (None, Some(value)) => Some(inst.operands[value]),
                    (None, None) => None,
                };
                let symbol = match stem.split('_').next()? {
                    "add" if b.is_some_and(|b| b < 0) && named("value").is_some() => "-",
                    "add" => "+",
                    "sub" => "-",
                    "mul" => "*",
                    "div" => "/",
                    "neg" => return Some(format!("-({a}) does not fit 64 bits")),
                    "abs" => return Some(format!("abs({a}) does not fit 64 bits")),
                    _ => return None,
                };
                let b = b?;
                let b = if symbol == "-" && named("value").is_some() { -b } else { b };
                let b = if b < 0 { format!("({b})") } else { b.to_string() };
                Some(format!("{a} {symbol} {b} does not fit 64 bits"))
            }
            TrapCode::TypeMismatch => {
                let a = s.cell(slot(named("a")?));
                let wanted = info.mnemonic.strip_prefix("unbox.")?;
                Some(format!("expected {wanted}, found {}", s.instance().value_text(a)))
            }
            TrapCode::Uninitialized => {
                let number = inst.operands[named("global")?] as u32;
                let module = s.instance().module_of((*s.entry).index())?;
                let (name, _) = module.globals.get((number - module.bases.globals) as usize)?;
                Some(format!("{name} is read before it is set"))
            }
            TrapCode::BadCast => {
                let a = s.cell(slot(named("a")?));
                let wanted = inst.operands[named("ty")?] as u32;
                let (wanted, found) =
                    (s.instance().type_text(type_of_code(wanted)), s.instance().value_text(a));
                Some(match wanted {
                    Some(wanted) if wanted != found => format!("expected {wanted}, found {found}"),
                    _ => format!("a value of kind {found} is not of the type that it is cast to"),
                })
            }
            _ => None,
        }
    }
}

routines! {
    /// The budget went below zero: refills it or traps. Where there are tiers above and the instruction is the header of a loop or
    /// leads back to one, which is where they can be entered, asks for a look at them.
    budget |s| {
        s.instance().sampling_poll(s.frame(), s.pc, Running::Interpreter);
        if let Err(trap) = s.instance().refill() {
            return s.trap(trap);
        }
        if (*s.ctx).tiers.is_null() {
            return Status::Continue;
        }
        let header = s.word().op() == Op::LoopHeader as u16;
        match if header { Some(s.pc.add(1)) } else { loop_target(s.pc) } {
            Some(target) => {
                (*s.ctx).fp = s.fp;
                (*s.ctx).entry = s.entry;
                (*s.ctx).pc = target;
                Status::Switch
            }
            None => Status::Continue,
        }
    }

    /// `throw`.
    throw |s| {
        let value = s.cell(s.word().a());
        let instance = s.instance();
        instance.pending = Some(Pending::Exception(value, None));
        instance.unwind(s.frame(), s.pc.add(1))
    }
}

/// Where a branch that charged the budget continues: behind the loop header. `None` for other instructions.
///
/// # Safety
/// The pc is at an instruction of verified code.
pub unsafe fn loop_target(pc: *const Word) -> Option<*const Word> {
    // SAFETY: the pc is at a verified instruction.
    unsafe {
        let op = Op::from_number((*pc).op())?;
        let effects = op.effects();
        if !effects.has(Effects::LOOP) || !effects.has(Effects::BRANCH) {
            return None;
        }
        // Branches that charge have one word.
        let distance = Inst::decode(&[*pc]).ok()?.target()?;
        Some(pc.offset(distance as isize + 1))
    }
}

/// Whether a value is true under a mask.
#[inline(never)]
pub fn truthy(value: Value, mask: upshift_bytecode::TruthMask) -> bool {
    use upshift_bytecode::TruthMask as M;
    use upshift_runtime::object::{Bytes, MapObject, ObjectKind};
    let falsy = if value == Value::TRUE {
        false
    } else if value == Value::FALSE {
        mask.has(M::FALSE)
    } else if value.is_nil() {
        mask.has(M::NIL)
    } else if value.is_small_int() {
        mask.has(M::ZERO) && value.small_int_of() == 0
    } else if value.is_float() {
        mask.has(M::FLOAT_ZERO) && value.float_of() == 0.0
    } else if value == Value::EMPTY_STRING {
        mask.has(M::EMPTY_STRING)
    } else if value.is_object() {
        // SAFETY: object values point to live objects of their kind.
        unsafe {
            match (*value.as_ptr::<Header>()).object_kind() {
                ObjectKind::ListInt | ObjectKind::ListFloat | ObjectKind::ListBool | ObjectKind::ListCell => {
                    mask.has(M::EMPTY_LIST) && (*value.as_ptr::<List>()).len == 0
                }
                ObjectKind::Map => mask.has(M::EMPTY_MAP) && (*value.as_ptr::<MapObject>()).len == 0,
                ObjectKind::Bytes => mask.has(M::EMPTY_BYTES) && (*value.as_ptr::<Bytes>()).len == 0,
                _ => false,
            }
        }
    } else {
        false
    };
    !falsy
}

/// The distance that a switch over an int continues at.
///
/// # Safety
/// `table` is a switch table that the linker made.
#[inline(never)]
pub unsafe fn int_switch(table: *const Word, key: i64) -> i64 {
    use upshift_runtime::linked::switch_table::DENSE;
    // SAFETY: by the contract.
    unsafe {
        if (*table).low() == DENSE {
            let i = key.wrapping_sub((*table.add(2)).0 as i64) as u64;
            if i < u64::from((*table).wide()) {
                (*table.add(3 + i as usize)).0 as i64
            } else {
                (*table.add(1)).0 as i64
            }
        } else {
            hash_switch(table, key as u64)
        }
    }
}

/// The distance that a switch over words continues at.
///
/// # Safety
/// As for [`int_switch`].
#[inline(never)]
pub unsafe fn hash_switch(table: *const Word, key: u64) -> i64 {
    use upshift_runtime::linked::switch_table::spread;
    // SAFETY: by the contract; tables are never full, so the search ends.
    unsafe {
        let log = (*table).wide();
        let slots = table.add(2);
        let mask = (1usize << log) - 1;
        let mut at = (spread(key) >> (64 - log)) as usize;
        loop {
            let target = (*slots.add(2 * at + 1)).0;
            if target == 0 {
                return (*table.add(1)).0 as i64;
            }
            if (*slots.add(2 * at)).0 == key {
                return target as i64;
            }
            at = (at + 1) & mask;
        }
    }
}

/// The distance that a switch over strings continues at.
///
/// # Safety
/// As for [`int_switch`]; `key` is a string.
#[inline(never)]
pub unsafe fn string_switch(ctx: *mut Context, table: *const Word, key: Value) -> i64 {
    use upshift_runtime::linked::switch_table::{spread, text_hash};
    // SAFETY: by the contract; tables are never full, so the search ends.
    unsafe {
        let hash = text_hash(upshift_runtime::string::bytes(&key));
        let log = (*table).wide();
        let slots = table.add(2);
        let mask = (1usize << log) - 1;
        let mut at = (spread(u64::from(hash)) >> (64 - log)) as usize;
        loop {
            let target = (*slots.add(2 * at + 1)).0;
            if target == 0 {
                return (*table.add(1)).0 as i64;
            }
            let word = *slots.add(2 * at);
            if word.wide() == hash
                && upshift_runtime::string::equal(key, *(*ctx).constants.add(word.low() as usize))
            {
                return target as i64;
            }
            at = (at + 1) & mask;
        }
    }
}
