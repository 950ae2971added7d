//! The dispatch loop.
//!
//! Every op has an arm; there is no `_`. Arms are small: what can be cold is a routine, and all traps leave through one
//! place behind the loop, so that the hot arms neither spill the state nor need a prologue.

use upshift_bytecode::{Immediate, NumberPolicy, Op, TrapCode, TruthMask, Word};
use upshift_runtime::context::{Context, RunEnd, Status};
use upshift_runtime::frame::{FLAGS, FunctionEntry};
use upshift_runtime::instance::Instance;
use upshift_runtime::list;
use upshift_runtime::map;
use upshift_runtime::object::{Buffer, Closure, Header, List, MapObject, Record, Ref, Tuple, list_bits};
use upshift_runtime::scalar;
use upshift_runtime::string;
use upshift_runtime::value::Value;

use crate::routines as r;

/// Runs the frame at `fp` from `pc` until the frame that Rust entered through returns or is unwound. This is also how
/// other tiers resume in the middle of a function.
///
/// # Safety
/// The context is that of an instance; `fp` is a complete frame of `function` on its stack, and `pc` one of its
/// instructions.
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "`not a < b` is what the op says, NaN included")]
#[allow(clippy::no_effect, reason = "a void return writes nothing")]
pub unsafe fn run(
    ctx: *mut Context,
    mut fp: *mut u64,
    mut pc: *const Word,
    function: *const FunctionEntry,
) -> RunEnd {
    // SAFETY: for the whole function: verified code reads and writes slots of its own frame and window only, its branches
    // stay inside its code, typed operands are what their types say, and headers are written by calls alone.
    unsafe {
        // The function is known by its link, the word that callees store for their return, and the start of the window is
        // kept: so a return, which knows both without a look at any table, is not on the way from call to call.
        let mut link: u64 = (*function).link;
        let mut window: *mut u64 = fp.byte_add((link >> 32) as usize);

        macro_rules! entry {
            () => {
                (*ctx).functions.add(link as u32 as usize)
            };
        }
        macro_rules! int {
            ($slot:expr) => {
                *fp.cast::<i64>().add($slot as usize)
            };
        }
        macro_rules! float {
            ($slot:expr) => {
                *fp.cast::<f64>().add($slot as usize)
            };
        }
        macro_rules! cell {
            ($slot:expr) => {
                *fp.cast::<Value>().add($slot as usize)
            };
        }
        macro_rules! object {
            ($slot:expr, $ty:ty) => {
                cell!($slot).as_ptr::<$ty>()
            };
        }

        loop {
            let status: Status = 'leave: {
                let code: TrapCode = 'trap: {
                    loop {
                        let w = At(pc);
                        macro_rules! next {
                            ($n:expr) => {{
                                pc = pc.add($n);
                                continue;
                            }};
                        }
                        macro_rules! jump {
                            ($distance:expr) => {{
                                pc = pc.offset($distance as isize);
                                continue;
                            }};
                        }
                        macro_rules! charge {
                            () => {
                                (*ctx).budget -= 1;
                                if (*ctx).budget < 0 {
                                    let status = r::budget(ctx, fp, pc, entry!());
                                    if status != Status::Continue {
                                        break 'leave status;
                                    }
                                }
                            };
                        }
                        macro_rules! loop_to {
                            ($distance:expr) => {{
                                charge!();
                                pc = pc.offset($distance as isize + 1);
                                continue;
                            }};
                        }
                        macro_rules! unary {
                            ($bank:ident <- $f:ident($from:ident)) => {{
                                $bank!(w.a()) = scalar::$f($from!(w.b()));
                                next!(1)
                            }};
                        }
                        macro_rules! binary {
                            ($bank:ident <- $f:ident) => {{
                                $bank!(w.a()) = scalar::$f($bank!(w.b()), $bank!(w.c()));
                                next!(1)
                            }};
                        }
                        macro_rules! binary_imm {
                            ($f:ident) => {{
                                int!(w.a()) = scalar::$f(int!(w.b()), w.c() as i16 as i64);
                                next!(1)
                            }};
                        }
                        macro_rules! checked {
                            ($bank:ident, $e:expr) => {{
                                match $e {
                                    Ok(v) => {
                                        $bank!(w.a()) = v;
                                        next!(1)
                                    }
                                    Err(code) => break 'trap code,
                                }
                            }};
                        }
                        macro_rules! compare {
                            ($bank:ident $op:tt) => {{
                                int!(w.a()) = ($bank!(w.b()) $op $bank!(w.c())) as i64;
                                next!(1)
                            }};
                        }
                        macro_rules! compare_imm {
                            ($op:tt) => {{
                                int!(w.a()) = (int!(w.b()) $op w.c() as i16 as i64) as i64;
                                next!(1)
                            }};
                        }
                        macro_rules! branch_if {
                            ($condition:expr) => {{
                                if $condition {
                                    jump!(w.c() as i16)
                                }
                                next!(1)
                            }};
                        }
                        macro_rules! loop_if {
                            ($condition:expr) => {{
                                if $condition {
                                    loop_to!(w.c() as i16)
                                }
                                next!(1)
                            }};
                        }
                        macro_rules! add_or_jump {
                            ($f:ident) => {{
                                match scalar::$f(int!(w.b()), int!(w.c())) {
                                    Ok(v) => {
                                        int!(w.a()) = v;
                                        next!(2)
                                    }
                                    Err(_) => jump!((*pc.add(1)).low() as i32),
                                }
                            }};
                        }
                        // A routine that neither calls nor charges.
                        macro_rules! routine {
                            ($f:ident, $words:expr) => {{
                                let status = r::$f(ctx, fp, pc, entry!());
                                if status != Status::Continue {
                                    break 'leave status;
                                }
                                next!($words)
                            }};
                        }
                        // A routine that may run guest or host code.
                        macro_rules! calling {
                            ($f:ident, $words:expr) => {{
                                let status = r::$f(ctx, fp, pc, entry!());
                                if status != Status::Continue {
                                    break 'leave status;
                                }
                                next!($words)
                            }};
                        }
                        // Enters a function whose arguments stand in the window; `$then` may write the closure.
                        macro_rules! enter {
                            ($callee:expr, |$header:ident| $then:expr) => {
                                enter!($callee, 1, |$header| $then)
                            };
                            ($callee:expr, $words:expr, |$header:ident| $then:expr) => {{
                                // The slow path comes first, where only the state of the loop is live.
                                charge!();
                                let callee: *const FunctionEntry = $callee;
                                // Behind the limit is room for any frame with its window.
                                if window > (*ctx).stack_limit {
                                    break 'trap TrapCode::StackOverflow;
                                }
                                let $header = window.byte_add((*callee).header as usize);
                                *$header = pc.add($words).expose_provenance() as u64;
                                *$header.add(1) = link;
                                $then;
                                fp = window;
                                link = (*callee).link;
                                window = fp.byte_add((link >> 32) as usize);
                                pc = (*callee).start;
                                continue;
                            }};
                        }
                        macro_rules! call {
                            () => {
                                enter!((*ctx).functions.add(w.wide() as usize), |header| ())
                            };
                        }
                        macro_rules! call_closure {
                            () => {{
                                // The linker put the callee of void calls here too.
                                let closure = cell!(w.b());
                                let function = (*closure.as_ptr::<Header>()).meta;
                                // Only functions with an environment become closures, so there is a slot for it.
                                enter!((*ctx).functions.add(function as usize), |header| {
                                    *header.add(2) = closure.bits();
                                })
                            }};
                        }
                        macro_rules! return_word {
                            ($bits:expr, |$word:ident| $write:expr) => {{
                                // The linker put the header's slot into the last unit.
                                let header = fp.add(w.c() as usize);
                                let back = *header;
                                let $word: u64 = $bits;
                                if back & FLAGS != 0 {
                                    break 'leave r::return_slow(ctx, fp, entry!(), $word);
                                }
                                link = *header.add(1);
                                pc = std::ptr::with_exposed_provenance(back as usize);
                                window = fp;
                                fp = fp.byte_sub((link >> 32) as usize);
                                $write;
                                continue;
                            }};
                        }
                        macro_rules! list_get {
                            ($bank:ident, $element:ty, |$v:ident| $convert:expr) => {{
                                let l = object!(w.b(), List);
                                let i = int!(w.c()) as usize;
                                if i >= (*l).len {
                                    break 'trap TrapCode::IndexOutOfRange;
                                }
                                let $v: $element = *Buffer::data::<$element>((*l).buffer).add(i);
                                $bank!(w.a()) = $convert;
                                next!(1)
                            }};
                        }
                        macro_rules! list_get_rel {
                            ($bank:ident, $element:ty, |$v:ident| $convert:expr) => {{
                                let l = object!(w.b(), List);
                                let i = int!(w.c());
                                let i = if i < 0 { i.wrapping_add((*l).len as i64) } else { i } as usize;
                                if i >= (*l).len {
                                    break 'trap TrapCode::IndexOutOfRange;
                                }
                                let $v: $element = *Buffer::data::<$element>((*l).buffer).add(i);
                                $bank!(w.a()) = $convert;
                                next!(1)
                            }};
                        }
                        macro_rules! list_set {
                            ($element:ty, $value:expr) => {{
                                let l = object!(w.a(), List);
                                let i = int!(w.b()) as usize;
                                if i >= (*l).len {
                                    break 'trap TrapCode::IndexOutOfRange;
                                }
                                *Buffer::data::<$element>((*l).buffer).add(i) = $value;
                                next!(1)
                            }};
                        }
                        macro_rules! list_set_rel {
                            ($element:ty, $value:expr) => {{
                                let l = object!(w.a(), List);
                                let i = int!(w.b());
                                let i = if i < 0 { i.wrapping_add((*l).len as i64) } else { i } as usize;
                                if i >= (*l).len {
                                    break 'trap TrapCode::IndexOutOfRange;
                                }
                                *Buffer::data::<$element>((*l).buffer).add(i) = $value;
                                next!(1)
                            }};
                        }
                        macro_rules! list_push {
                            ($element:ty, $value:expr, $slow:ident) => {{
                                let l = object!(w.a(), List);
                                let len = (*l).len;
                                if len < (*(*l).buffer).capacity {
                                    *Buffer::data::<$element>((*l).buffer).add(len) = $value;
                                    (*l).len = len + 1;
                                    next!(1)
                                }
                                routine!($slow, 1)
                            }};
                        }
                        macro_rules! list_append {
                            ($element:ty, $value:expr, $slow:ident) => {{
                                let l = object!(w.b(), List);
                                let len = (*l).len;
                                if (*l).header.bits & list_bits::SHARED == 0 && len < (*(*l).buffer).capacity
                                {
                                    *Buffer::data::<$element>((*l).buffer).add(len) = $value;
                                    (*l).len = len + 1;
                                    cell!(w.a()) = Value::object(l);
                                    next!(1)
                                }
                                routine!($slow, 1)
                            }};
                        }
                        macro_rules! cell_arith {
                            ($f:ident, $checked:ident, $float:tt) => {{
                                let (a, b) = (cell!(w.b()), cell!(w.c()));
                                if a.is_small_int() && b.is_small_int() {
                                    // Small ints never leave 64 bits in a sum; the policy may still wrap at 32.
                                    if let Ok(v) = scalar::$checked(a.small_int_of(), b.small_int_of())
                                        && Value::is_small(v)
                                        && (*pc.add(1)).op() & 1 == 0
                                    {
                                        let site = (*ctx).feedback.add((*pc.add(1)).wide() as usize);
                                        (*site).left |= 1 << upshift_bytecode::Kind::Int as u16;
                                        (*site).right |= 1 << upshift_bytecode::Kind::Int as u16;
                                        cell!(w.a()) = Value::small_int_unchecked(v);
                                        next!(2)
                                    }
                                } else if let Some((x, y)) = numbers(a, b, (*pc.add(1)).op()) {
                                    let site = (*ctx).feedback.add((*pc.add(1)).wide() as usize);
                                    (*site).see_numbers(a.is_float(), b.is_float());
                                    cell!(w.a()) = Value::float(x $float y);
                                    next!(2)
                                }
                                calling!($f, 2)
                            }};
                        }
                        macro_rules! cell_quotient {
                            ($f:ident, $ints:ident, $floats:expr) => {{
                                let (a, b) = (cell!(w.b()), cell!(w.c()));
                                let policy = (*pc.add(1)).op();
                                let site = (*ctx).feedback.add((*pc.add(1)).wide() as usize);
                                if a.is_small_int() && b.is_small_int() {
                                    // What does not fit, and zero, is the routine's; so are quotients that are no ints.
                                    if policy & NumberPolicy::INT_DIV.0 != 0
                                        && policy & NumberPolicy::WRAP32.0 == 0
                                        && let Ok(v) = scalar::$ints(a.small_int_of(), b.small_int_of())
                                        && Value::is_small(v)
                                    {
                                        (*site).left |= 1 << upshift_bytecode::Kind::Int as u16;
                                        (*site).right |= 1 << upshift_bytecode::Kind::Int as u16;
                                        cell!(w.a()) = Value::small_int_unchecked(v);
                                        next!(2)
                                    }
                                } else if let Some((x, y)) = numbers(a, b, policy)
                                    && y != 0.0
                                {
                                    (*site).see_numbers(a.is_float(), b.is_float());
                                    let floats: fn(f64, f64) -> f64 = $floats;
                                    cell!(w.a()) = Value::float(floats(x, y));
                                    next!(2)
                                }
                                calling!($f, 2)
                            }};
                        }
                        macro_rules! cell_compare {
                            ($f:ident, $op:tt, $floats:literal) => {{
                                let (a, b) = (cell!(w.b()), cell!(w.c()));
                                if a.is_small_int() && b.is_small_int() {
                                    let site = (*ctx).feedback.add((*pc.add(1)).wide() as usize);
                                    (*site).left |= 1 << upshift_bytecode::Kind::Int as u16;
                                    (*site).right |= 1 << upshift_bytecode::Kind::Int as u16;
                                    int!(w.a()) = (a.small_int_of() $op b.small_int_of()) as i64;
                                    next!(2)
                                }
                                if $floats && let Some((x, y)) = numbers(a, b, (*pc.add(1)).op()) {
                                    let site = (*ctx).feedback.add((*pc.add(1)).wide() as usize);
                                    (*site).see_numbers(a.is_float(), b.is_float());
                                    int!(w.a()) = (x $op y) as i64;
                                    next!(2)
                                }
                                calling!($f, 2)
                            }};
                        }

                        // SAFETY: verified code starts with a valid op at every instruction.
                        match std::mem::transmute::<u16, Op>(w.op()) {
                            Op::Nop => next!(1),
                            Op::FrameClear => {
                                std::ptr::write_bytes(fp.add(w.a() as usize), 0, w.b() as usize);
                                // The linker notes where there are spilled cells.
                                if w.c() != 0 {
                                    r::clear_spilled(fp, entry!());
                                }
                                next!(1)
                            }
                            Op::IntMove
                            | Op::FloatMove
                            | Op::CellMove
                            | Op::FloatFromBits
                            | Op::IntFromBits => {
                                int!(w.a()) = int!(w.b());
                                next!(1)
                            }
                            Op::IntConst => {
                                int!(w.a()) = w.wide() as i32 as i64;
                                next!(1)
                            }
                            Op::IntConstWide | Op::FloatConst | Op::CellConst => {
                                int!(w.a()) = (*pc.add(w.wide() as usize)).0 as i64;
                                next!(1)
                            }
                            Op::StringConst | Op::NameConst | Op::RecordConst => {
                                cell!(w.a()) = *(*ctx).constants.add(w.wide() as usize);
                                next!(1)
                            }
                            Op::IntLocalGet | Op::FloatLocalGet | Op::CellLocalGet => {
                                int!(w.a()) = int!(w.wide());
                                next!(1)
                            }
                            Op::IntLocalSet | Op::FloatLocalSet | Op::CellLocalSet => {
                                int!(w.wide()) = int!((*pc.add(1)).op());
                                next!(2)
                            }

                            Op::IntAdd => binary!(int <- int_add),
                            Op::IntSub => binary!(int <- int_sub),
                            Op::IntMul => binary!(int <- int_mul),
                            Op::IntAddChecked => {
                                checked!(int, scalar::int_add_checked(int!(w.b()), int!(w.c())))
                            }
                            Op::IntSubChecked => {
                                checked!(int, scalar::int_sub_checked(int!(w.b()), int!(w.c())))
                            }
                            Op::IntMulChecked => {
                                checked!(int, scalar::int_mul_checked(int!(w.b()), int!(w.c())))
                            }
                            Op::IntAddOrJump => add_or_jump!(int_add_checked),
                            Op::IntSubOrJump => add_or_jump!(int_sub_checked),
                            Op::IntMulOrJump => add_or_jump!(int_mul_checked),
                            Op::IntAddImm => binary_imm!(int_add),
                            Op::IntAddImmChecked => {
                                checked!(int, scalar::int_add_checked(int!(w.b()), w.c() as i16 as i64))
                            }
                            Op::IntMulImmChecked => {
                                checked!(int, scalar::int_mul_checked(int!(w.b()), w.c() as i16 as i64))
                            }
                            Op::IntNeg => unary!(int <- int_neg(int)),
                            Op::IntNegChecked => checked!(int, scalar::int_neg_checked(int!(w.b()))),
                            Op::IntAbsChecked => checked!(int, scalar::int_abs_checked(int!(w.b()))),
                            Op::IntDiv => checked!(int, scalar::int_div(int!(w.b()), int!(w.c()))),
                            Op::IntRem => checked!(int, scalar::int_rem(int!(w.b()), int!(w.c()))),
                            Op::IntDivImm => binary_imm!(int_div_imm),
                            Op::IntRemImm => binary_imm!(int_rem_imm),
                            Op::IntAnd => binary!(int <- int_and),
                            Op::IntOr => binary!(int <- int_or),
                            Op::IntXor => binary!(int <- int_xor),
                            Op::IntShl => binary!(int <- int_shl),
                            Op::IntShrS => binary!(int <- int_shr_s),
                            Op::IntShrU => binary!(int <- int_shr_u),
                            Op::IntAndImm => binary_imm!(int_and),
                            Op::IntShlImm => binary_imm!(int_shl),
                            Op::IntShrSImm => binary_imm!(int_shr_s),
                            Op::IntExtend32 => unary!(int <- int_extend32(int)),
                            Op::IntMin => binary!(int <- int_min),
                            Op::IntMax => binary!(int <- int_max),
                            Op::BoolNot => unary!(int <- bool_not(int)),
                            Op::IntEq => compare!(int ==),
                            Op::IntNe => compare!(int !=),
                            Op::IntLt => compare!(int <),
                            Op::IntLe => compare!(int <=),
                            Op::IntEqImm => compare_imm!(==),
                            Op::IntNeImm => compare_imm!(!=),
                            Op::IntLtImm => compare_imm!(<),
                            Op::IntLeImm => compare_imm!(<=),
                            Op::IntGtImm => compare_imm!(>),
                            Op::IntGeImm => compare_imm!(>=),

                            Op::FloatAdd => binary!(float <- float_add),
                            Op::FloatSub => binary!(float <- float_sub),
                            Op::FloatMul => binary!(float <- float_mul),
                            Op::FloatDiv => binary!(float <- float_div),
                            Op::FloatDivChecked => {
                                checked!(float, scalar::float_div_checked(float!(w.b()), float!(w.c())))
                            }
                            Op::FloatRem => binary!(float <- float_rem),
                            Op::FloatRemChecked => {
                                checked!(float, scalar::float_rem_checked(float!(w.b()), float!(w.c())))
                            }
                            Op::FloatMin => binary!(float <- float_min),
                            Op::FloatMax => binary!(float <- float_max),
                            Op::FloatPow => binary!(float <- float_pow),
                            Op::FloatAtan2 => binary!(float <- float_atan2),
                            Op::FloatNeg => unary!(float <- float_neg(float)),
                            Op::FloatAbs => unary!(float <- float_abs(float)),
                            Op::FloatSqrt => unary!(float <- float_sqrt(float)),
                            Op::FloatFloor => unary!(float <- float_floor(float)),
                            Op::FloatCeil => unary!(float <- float_ceil(float)),
                            Op::FloatTrunc => unary!(float <- float_trunc(float)),
                            Op::FloatRound => unary!(float <- float_round(float)),
                            Op::FloatSin => unary!(float <- float_sin(float)),
                            Op::FloatCos => unary!(float <- float_cos(float)),
                            Op::FloatTan => unary!(float <- float_tan(float)),
                            Op::FloatAsin => unary!(float <- float_asin(float)),
                            Op::FloatAcos => unary!(float <- float_acos(float)),
                            Op::FloatAtan => unary!(float <- float_atan(float)),
                            Op::FloatExp => unary!(float <- float_exp(float)),
                            Op::FloatLog => unary!(float <- float_log(float)),
                            Op::FloatLog2 => unary!(float <- float_log2(float)),
                            Op::FloatLog10 => unary!(float <- float_log10(float)),
                            Op::FloatEq => compare!(float ==),
                            Op::FloatNe => compare!(float !=),
                            Op::FloatLt => compare!(float <),
                            Op::FloatLe => compare!(float <=),
                            Op::FloatFromInt => {
                                float!(w.a()) = int!(w.b()) as f64;
                                next!(1)
                            }
                            Op::IntFromFloat => checked!(int, scalar::int_from_float(float!(w.b()))),

                            Op::LoopHeader => {
                                charge!();
                                next!(1)
                            }
                            Op::Jump => jump!(w.wide() as i32),
                            Op::JumpLoop => loop_to!(w.wide() as i32),
                            Op::IfBranch => {
                                if int!(w.a()) != 0 {
                                    jump!(w.wide() as i32)
                                }
                                next!(1)
                            }
                            Op::UnlessBranch => {
                                if int!(w.a()) == 0 {
                                    jump!(w.wide() as i32)
                                }
                                next!(1)
                            }
                            Op::IntEqBranch => branch_if!(int!(w.a()) == int!(w.b())),
                            Op::IntNeBranch => branch_if!(int!(w.a()) != int!(w.b())),
                            Op::IntLtBranch => branch_if!(int!(w.a()) < int!(w.b())),
                            Op::IntLeBranch => branch_if!(int!(w.a()) <= int!(w.b())),
                            Op::IntEqImmBranch => branch_if!(int!(w.a()) == w.b() as i16 as i64),
                            Op::IntNeImmBranch => branch_if!(int!(w.a()) != w.b() as i16 as i64),
                            Op::IntLtImmBranch => branch_if!(int!(w.a()) < w.b() as i16 as i64),
                            Op::IntLeImmBranch => branch_if!(int!(w.a()) <= w.b() as i16 as i64),
                            Op::IntGtImmBranch => branch_if!(int!(w.a()) > w.b() as i16 as i64),
                            Op::IntGeImmBranch => branch_if!(int!(w.a()) >= w.b() as i16 as i64),
                            Op::FloatEqBranch => branch_if!(float!(w.a()) == float!(w.b())),
                            Op::FloatNeBranch => branch_if!(float!(w.a()) != float!(w.b())),
                            Op::FloatLtBranch => branch_if!(float!(w.a()) < float!(w.b())),
                            Op::FloatLeBranch => branch_if!(float!(w.a()) <= float!(w.b())),
                            Op::FloatNotLtBranch => branch_if!(!(float!(w.a()) < float!(w.b()))),
                            Op::FloatNotLeBranch => branch_if!(!(float!(w.a()) <= float!(w.b()))),
                            Op::IfLoop => {
                                if int!(w.a()) != 0 {
                                    loop_to!(w.wide() as i32)
                                }
                                next!(1)
                            }
                            Op::UnlessLoop => {
                                if int!(w.a()) == 0 {
                                    loop_to!(w.wide() as i32)
                                }
                                next!(1)
                            }
                            Op::IntEqLoop => loop_if!(int!(w.a()) == int!(w.b())),
                            Op::IntNeLoop => loop_if!(int!(w.a()) != int!(w.b())),
                            Op::IntLtLoop => loop_if!(int!(w.a()) < int!(w.b())),
                            Op::IntLeLoop => loop_if!(int!(w.a()) <= int!(w.b())),
                            Op::IntEqImmLoop => loop_if!(int!(w.a()) == w.b() as i16 as i64),
                            Op::IntNeImmLoop => loop_if!(int!(w.a()) != w.b() as i16 as i64),
                            Op::IntLtImmLoop => loop_if!(int!(w.a()) < w.b() as i16 as i64),
                            Op::IntLeImmLoop => loop_if!(int!(w.a()) <= w.b() as i16 as i64),
                            Op::IntGtImmLoop => loop_if!(int!(w.a()) > w.b() as i16 as i64),
                            Op::IntGeImmLoop => loop_if!(int!(w.a()) >= w.b() as i16 as i64),
                            Op::FloatEqLoop => loop_if!(float!(w.a()) == float!(w.b())),
                            Op::FloatNeLoop => loop_if!(float!(w.a()) != float!(w.b())),
                            Op::FloatLtLoop => loop_if!(float!(w.a()) < float!(w.b())),
                            Op::FloatLeLoop => loop_if!(float!(w.a()) <= float!(w.b())),
                            Op::FloatNotLtLoop => loop_if!(!(float!(w.a()) < float!(w.b()))),
                            Op::FloatNotLeLoop => loop_if!(!(float!(w.a()) <= float!(w.b()))),
                            Op::IntForLoop => {
                                let i = int!(w.a()).wrapping_add(1);
                                int!(w.a()) = i;
                                loop_if!(i < int!(w.b()))
                            }
                            Op::IntSwitch => {
                                let table = pc.add(w.wide() as usize);
                                let distance = r::int_switch(table, int!(w.a()));
                                jump!(distance)
                            }
                            Op::CellSwitch => {
                                let table = pc.add(w.wide() as usize);
                                let distance = r::hash_switch(table, cell!(w.a()).bits());
                                jump!(distance)
                            }
                            Op::StringSwitch => {
                                let table = pc.add(w.wide() as usize);
                                let distance = r::string_switch(ctx, table, cell!(w.a()));
                                jump!(distance)
                            }
                            Op::WatchBranch => {
                                if *(*ctx).watches.add(w.wide() as usize) != 0 {
                                    jump!((*pc.add(1)).op() as i16)
                                }
                                next!(2)
                            }
                            Op::Trap => {
                                break 'trap TrapCode::from_number(w.a() as u64)
                                    .unwrap_or(TrapCode::Unreachable);
                            }
                            Op::Throw => {
                                break 'leave r::throw(ctx, fp, pc, entry!());
                            }

                            Op::TierEntry => {
                                let entry = entry!().cast_mut();
                                (*entry).heat += 1;
                                if (*entry).heat < (*entry).threshold && (*entry).native == (*ctx).uncompiled
                                {
                                    pc = (*entry).code;
                                    continue;
                                }
                                (*ctx).fp = fp;
                                (*ctx).entry = entry;
                                (*ctx).pc = (*entry).code;
                                break 'leave Status::Switch;
                            }

                            Op::CallInt | Op::CallFloat | Op::CallCell | Op::CallVoid => call!(),
                            Op::CallIntAddImm => {
                                let second = *pc.add(1);
                                match scalar::int_add_checked(int!(w.a()), second.b() as i16 as i64) {
                                    Ok(v) => *window.cast::<i64>() = v,
                                    Err(code) => break 'trap code,
                                }
                                enter!((*ctx).functions.add(w.wide() as usize), 2, |header| ())
                            }
                            Op::CallClosureInt | Op::CallClosureFloat | Op::CallClosureCell => {
                                call_closure!()
                            }
                            Op::CallClosureVoid => call_closure!(),
                            Op::CallHostInt | Op::CallHostFloat | Op::CallHostCell | Op::CallHostVoid => {
                                let status = r::call_host(ctx, fp, pc, entry!());
                                if status != Status::Continue {
                                    break 'leave status;
                                }
                                next!(1)
                            }
                            Op::CallCInt | Op::CallCFloat | Op::CallCVoid => routine!(call_c, 1),
                            Op::CellCall => calling!(cell_call, 2),
                            Op::CellCallSpread => calling!(cell_call_spread, 2),
                            Op::TailCall => calling!(tail_call, 1),
                            Op::TailClosure => calling!(tail_closure, 1),
                            Op::TailCell => calling!(tail_cell, 2),
                            Op::TailCellSpread => calling!(tail_cell_spread, 2),
                            Op::ReturnInt | Op::ReturnFloat => {
                                return_word!(int!(w.a()) as u64, |word| *fp.add((*pc.sub(1)).a() as usize) =
                                    word)
                            }
                            Op::ReturnIntAddChecked => {
                                match scalar::int_add_checked(int!(w.a()), int!(w.b())) {
                                    Ok(v) => {
                                        return_word!(v as u64, |word| *fp.add((*pc.sub(1)).a() as usize) =
                                            word)
                                    }
                                    Err(code) => break 'trap code,
                                }
                            }
                            Op::ReturnCell => {
                                let value = cell!(w.a());
                                if value == Value::NONE || value == Value::MANY {
                                    r::note_results(ctx, fp, entry!(), value);
                                }
                                return_word!(value.bits(), |word| *fp.add((*pc.sub(1)).a() as usize) = word)
                            }
                            Op::ReturnVoid => return_word!(Value::NIL.bits(), |_word| ()),
                            Op::ResultsClear => routine!(results_clear, 1),
                            Op::ResultsPush => routine!(results_push, 1),
                            Op::ResultsLen => {
                                int!(w.a()) = (*ctx.cast::<Instance>()).results.len() as i64;
                                next!(1)
                            }
                            Op::ResultsGet => routine!(results_get, 1),

                            Op::CellAdd => cell_arith!(cell_add, int_add_checked, +),
                            Op::CellSub => cell_arith!(cell_sub, int_sub_checked, -),
                            Op::CellMul => cell_arith!(cell_mul, int_mul_checked, *),
                            Op::CellDiv => cell_quotient!(cell_div, int_div, |x, y| x / y),
                            Op::CellRem => cell_quotient!(cell_rem, int_rem, scalar::float_rem),
                            Op::CellNeg => calling!(cell_neg, 2),
                            Op::CellEq => cell_compare!(cell_eq, ==, false),
                            Op::CellNe => cell_compare!(cell_ne, !=, false),
                            Op::CellLt => cell_compare!(cell_lt, <, true),
                            Op::CellLe => cell_compare!(cell_le, <=, true),
                            Op::CellIdentical => {
                                int!(w.a()) = cell!(w.b()).identical(cell!(w.c())) as i64;
                                next!(1)
                            }
                            Op::CellTruthy => {
                                int!(w.a()) = r::truthy(cell!(w.b()), TruthMask(w.c())) as i64;
                                next!(1)
                            }
                            Op::TruthyBranch => branch_if!(r::truthy(cell!(w.a()), TruthMask(w.b()))),
                            Op::FalsyBranch => branch_if!(!r::truthy(cell!(w.a()), TruthMask(w.b()))),
                            Op::IsBranch => {
                                let what = immediate(w.b());
                                branch_if!(cell!(w.a()) == what)
                            }
                            Op::IsNotBranch => {
                                let what = immediate(w.b());
                                branch_if!(cell!(w.a()) != what)
                            }
                            Op::CellKind => {
                                int!(w.a()) = cell!(w.b()).kind() as i64;
                                next!(1)
                            }
                            Op::CellTest => routine!(cell_test, 2),
                            Op::CellCast => routine!(cell_cast, 2),
                            Op::CellIndexGet => calling!(cell_index_get, 2),
                            Op::CellIndexSet => calling!(cell_index_set, 2),
                            Op::CellFieldGet => calling!(cell_field_get, 2),
                            Op::CellFieldSet => calling!(cell_field_set, 2),

                            Op::BoxInt => {
                                let i = int!(w.b());
                                if Value::is_small(i) {
                                    cell!(w.a()) = Value::small_int_unchecked(i);
                                    next!(1)
                                }
                                routine!(box_int, 1)
                            }
                            Op::BoxFloat => {
                                cell!(w.a()) = Value::float(float!(w.b()));
                                next!(1)
                            }
                            Op::BoxBool => {
                                cell!(w.a()) = Value::bool(int!(w.b()) != 0);
                                next!(1)
                            }
                            Op::UnboxInt => match cell!(w.b()).as_int() {
                                Some(v) => {
                                    int!(w.a()) = v;
                                    next!(1)
                                }
                                None => break 'trap TrapCode::TypeMismatch,
                            },
                            Op::UnboxFloat => match cell!(w.b()).as_float() {
                                Some(v) => {
                                    float!(w.a()) = v;
                                    next!(1)
                                }
                                None => break 'trap TrapCode::TypeMismatch,
                            },
                            Op::UnboxNumber => {
                                let v = cell!(w.b());
                                match v.as_float().or_else(|| v.as_int().map(|i| i as f64)) {
                                    Some(v) => {
                                        float!(w.a()) = v;
                                        next!(1)
                                    }
                                    None => break 'trap TrapCode::TypeMismatch,
                                }
                            }
                            Op::UnboxBool => match cell!(w.b()).as_bool() {
                                Some(v) => {
                                    int!(w.a()) = v as i64;
                                    next!(1)
                                }
                                None => break 'trap TrapCode::TypeMismatch,
                            },

                            Op::StringLen => routine!(string_len, 1),
                            Op::StringByteLen => routine!(string_byte_len, 1),
                            Op::StringConcat => routine!(string_concat, 1),
                            Op::StringAppend => routine!(string_append, 1),
                            Op::StringShare => {
                                cell!(w.a()) = string::share(cell!(w.b()));
                                next!(1)
                            }
                            Op::StringGet => routine!(string_get, 1),
                            Op::StringGetRel => routine!(string_get_rel, 1),
                            Op::StringSlice => routine!(string_slice, 2),
                            Op::StringCodeAt => routine!(string_code_at, 1),
                            Op::StringFromCode => routine!(string_from_code, 1),
                            Op::StringFromInt => routine!(string_from_int, 1),
                            Op::StringCompare => routine!(string_compare, 1),
                            Op::StringEq => {
                                int!(w.a()) = r::string_equal(ctx, cell!(w.b()), cell!(w.c())) as i64;
                                next!(1)
                            }
                            Op::StringNe => {
                                int!(w.a()) = !r::string_equal(ctx, cell!(w.b()), cell!(w.c())) as i64;
                                next!(1)
                            }
                            Op::StringContains => routine!(string_contains, 1),
                            Op::StringIndexOf => routine!(string_index_of, 1),
                            Op::StringEqBranch => {
                                branch_if!(r::string_equal(ctx, cell!(w.a()), cell!(w.b())))
                            }
                            Op::StringNeBranch => {
                                branch_if!(!r::string_equal(ctx, cell!(w.a()), cell!(w.b())))
                            }

                            Op::ListLen => {
                                int!(w.a()) = (*object!(w.b(), List)).len as i64;
                                next!(1)
                            }
                            Op::ListShare => {
                                list::share_value(cell!(w.a()));
                                next!(1)
                            }
                            Op::ListCopy => routine!(list_copy, 1),
                            Op::ListSlice => routine!(list_slice, 2),
                            Op::ListCut => routine!(list_cut, 2),
                            Op::ListExtend => routine!(list_extend, 1),
                            Op::ListConcat => routine!(list_concat, 1),
                            Op::ListIntNew => routine!(list_int_new, 1),
                            Op::ListIntGet => list_get!(int, i64, |v| v),
                            Op::ListIntGetRel => list_get_rel!(int, i64, |v| v),
                            Op::ListIntSet => list_set!(i64, int!(w.c())),
                            Op::ListIntSetRel => list_set_rel!(i64, int!(w.c())),
                            Op::ListIntPush => list_push!(i64, int!(w.b()), list_int_push),
                            Op::ListIntIndexOf => routine!(list_int_index_of, 1),
                            Op::ListIntAppend => list_append!(i64, int!(w.c()), list_int_append),
                            Op::ListFloatNew => routine!(list_float_new, 1),
                            Op::ListFloatGet => list_get!(float, f64, |v| v),
                            Op::ListFloatGetRel => list_get_rel!(float, f64, |v| v),
                            Op::ListFloatSet => list_set!(f64, float!(w.c())),
                            Op::ListFloatSetRel => list_set_rel!(f64, float!(w.c())),
                            Op::ListFloatPush => list_push!(f64, float!(w.b()), list_float_push),
                            Op::ListFloatAppend => list_append!(f64, float!(w.c()), list_float_append),
                            Op::ListBoolNew => routine!(list_bool_new, 1),
                            Op::ListBoolGet => list_get!(int, u8, |v| v as i64),
                            Op::ListBoolGetRel => list_get_rel!(int, u8, |v| v as i64),
                            Op::ListBoolSet => list_set!(u8, (int!(w.c()) != 0) as u8),
                            Op::ListBoolSetRel => list_set_rel!(u8, (int!(w.c()) != 0) as u8),
                            Op::ListBoolPush => list_push!(u8, (int!(w.b()) != 0) as u8, list_bool_push),
                            Op::ListBoolAppend => {
                                list_append!(u8, (int!(w.c()) != 0) as u8, list_bool_append)
                            }
                            Op::ListCellNew => routine!(list_cell_new, 2),
                            Op::ListCellGet => list_get!(cell, Value, |v| v),
                            Op::ListCellGetRel => list_get_rel!(cell, Value, |v| v),
                            Op::ListCellSet => routine!(list_cell_set, 1),
                            Op::ListCellSetRel => routine!(list_cell_set_rel, 1),
                            Op::ListCellPush => routine!(list_cell_push, 1),
                            Op::ListStringIndexOf => routine!(list_string_index_of, 1),
                            Op::ListCellAppend => routine!(list_cell_append, 1),

                            Op::MapNew => routine!(map_new, 2),
                            Op::MapLen => {
                                int!(w.a()) = (*object!(w.b(), MapObject)).len as i64;
                                next!(1)
                            }
                            Op::MapKeys => routine!(map_keys, 1),
                            Op::MapValues => routine!(map_values, 1),
                            Op::MapIntGet => {
                                if let Some(slot) = map::int_slot(object!(w.b(), MapObject), int!(w.c())) {
                                    cell!(w.a()) = *slot;
                                    next!(1)
                                }
                                routine!(map_int_get, 1)
                            }
                            Op::MapIntHas => {
                                if let Some(there) = map::int_known(object!(w.b(), MapObject), int!(w.c())) {
                                    int!(w.a()) = i64::from(there);
                                    next!(1)
                                }
                                routine!(map_int_has, 1)
                            }
                            Op::MapIntSet => {
                                let value = cell!(w.c());
                                // Only objects need a barrier.
                                if !value.is_object()
                                    && let Some(slot) = map::int_slot(object!(w.a(), MapObject), int!(w.b()))
                                {
                                    *slot = value;
                                    next!(1)
                                }
                                routine!(map_int_set, 1)
                            }
                            Op::MapIntRemove => routine!(map_int_remove, 1),
                            Op::MapStringGet => {
                                if let Some(slot) = map::string_slot(object!(w.b(), MapObject), cell!(w.c()))
                                {
                                    cell!(w.a()) = *slot;
                                    next!(1)
                                }
                                routine!(map_string_get, 1)
                            }
                            Op::MapStringHas => routine!(map_string_has, 1),
                            Op::MapStringSet => {
                                let value = cell!(w.c());
                                if !value.is_object()
                                    && let Some(slot) =
                                        map::string_slot(object!(w.a(), MapObject), cell!(w.b()))
                                {
                                    *slot = value;
                                    next!(1)
                                }
                                routine!(map_string_set, 1)
                            }
                            Op::MapStringRemove => routine!(map_string_remove, 1),
                            Op::MapCellGet => calling!(map_cell_get, 2),
                            Op::MapCellHas => calling!(map_cell_has, 2),
                            Op::MapCellSet => calling!(map_cell_set, 2),
                            Op::MapCellRemove => calling!(map_cell_remove, 2),

                            Op::RecordNew => routine!(record_new, 1),
                            Op::RecordIntGet | Op::RecordFloatGet | Op::RecordCellGet => {
                                int!(w.a()) = *Record::field::<i64>(object!(w.b(), Record), w.c() as usize);
                                next!(1)
                            }
                            Op::RecordIntSet | Op::RecordFloatSet => {
                                *Record::field::<i64>(object!(w.a(), Record), w.b() as usize) = int!(w.c());
                                next!(1)
                            }
                            Op::RecordCellSet => routine!(record_cell_set, 1),
                            Op::RecordCopy => routine!(record_copy, 1),
                            Op::RecordTag => {
                                int!(w.a()) = (*object!(w.b(), Header)).bits as i64;
                                next!(1)
                            }

                            Op::ClosureNew => routine!(closure_new, 1),
                            Op::CaptureGet => {
                                // The linker put the closure's slot into the last unit.
                                let closure = object!(w.c(), Closure);
                                cell!(w.a()) = *Closure::captures(closure).add(w.b() as usize);
                                next!(1)
                            }
                            Op::RefIntNew | Op::RefFloatNew => routine!(ref_raw_new, 1),
                            Op::RefIntGet | Op::RefFloatGet | Op::RefCellGet => {
                                int!(w.a()) = (*object!(w.b(), Ref)).content as i64;
                                next!(1)
                            }
                            Op::RefIntSet | Op::RefFloatSet => {
                                (*object!(w.a(), Ref)).content = int!(w.b()) as u64;
                                next!(1)
                            }
                            Op::RefCellNew => routine!(ref_cell_new, 2),
                            Op::RefCellSet => routine!(ref_cell_set, 1),

                            Op::GlobalIntGet | Op::GlobalFloatGet => {
                                int!(w.a()) = *(*ctx).globals.add(w.wide() as usize) as i64;
                                next!(1)
                            }
                            Op::GlobalIntSet | Op::GlobalFloatSet | Op::GlobalCellSet => {
                                *(*ctx).globals.add(w.wide() as usize) = int!(w.a()) as u64;
                                next!(1)
                            }
                            Op::GlobalCellGet => {
                                let value = *(*ctx).globals.add(w.wide() as usize);
                                if value == Value::HOLE.bits() {
                                    break 'trap TrapCode::Uninitialized;
                                }
                                int!(w.a()) = value as i64;
                                next!(1)
                            }

                            Op::TupleNew => routine!(tuple_new, 1),
                            Op::TupleLen => {
                                int!(w.a()) = (*object!(w.b(), Tuple)).len as i64;
                                next!(1)
                            }
                            Op::TupleGet => routine!(tuple_get, 1),
                            Op::TupleSet => routine!(tuple_set, 1),
                            Op::TupleBits => {
                                int!(w.a()) = (*object!(w.b(), Header)).bits as i64;
                                next!(1)
                            }
                            Op::TupleSetBits => {
                                (*object!(w.a(), Header)).bits |= w.b();
                                next!(1)
                            }

                            Op::TrailMark => {
                                int!(w.a()) = (*ctx.cast::<Instance>()).trail_mark() as i64;
                                next!(1)
                            }
                            Op::TrailUndo => routine!(trail_undo, 1),
                            Op::RefCellSetTrailed => routine!(ref_cell_set_trailed, 1),
                            Op::RecordCellSetTrailed => routine!(record_cell_set_trailed, 1),
                            Op::TupleSetTrailed => routine!(tuple_set_trailed, 1),
                        }
                    }
                };
                r::raise(ctx, fp, pc, entry!(), code)
            };
            if status == Status::Exit {
                let instance = ctx.cast::<Instance>();
                return if (*instance).pending.is_some() { RunEnd::Unwound } else { RunEnd::Returned };
            }
            // Machine code takes over wherever a frame begins or goes on outside the loop.
            if status == Status::Switch || (*(*ctx).entry).native != (*ctx).uncompiled {
                return RunEnd::Switch;
            }
            pc = (*ctx).pc;
            fp = (*ctx).fp;
            link = (*(*ctx).entry).link;
            window = fp.byte_add((link >> 32) as usize);
        }
    }
}

/// The instruction at a pc, whose units are read where they are used: one load is less than shift and mask.
#[derive(Clone, Copy)]
struct At(*const Word);

impl At {
    #[inline(always)]
    unsafe fn unit(self, i: usize) -> u16 {
        // SAFETY: units of the instruction's first word.
        unsafe { *self.0.cast::<u16>().add(i) }
    }
    #[inline(always)]
    unsafe fn op(self) -> u16 {
        // SAFETY: as above.
        unsafe { self.unit(0) }
    }
    #[inline(always)]
    unsafe fn a(self) -> u16 {
        // SAFETY: as above.
        unsafe { self.unit(1) }
    }
    #[inline(always)]
    unsafe fn b(self) -> u16 {
        // SAFETY: as above.
        unsafe { self.unit(2) }
    }
    #[inline(always)]
    unsafe fn c(self) -> u16 {
        // SAFETY: as above.
        unsafe { self.unit(3) }
    }
    #[inline(always)]
    unsafe fn wide(self) -> u32 {
        // SAFETY: as above; the upper half of a word is aligned for it.
        unsafe { *self.0.cast::<u32>().add(1) }
    }
}

/// Two floats, or a float and a small int where the policy promotes.
#[inline(always)]
fn numbers(a: Value, b: Value, policy: u16) -> Option<(f64, f64)> {
    if a.is_float() && b.is_float() {
        return Some((a.float_of(), b.float_of()));
    }
    if policy & NumberPolicy::PROMOTE.0 == 0 {
        return None;
    }
    if a.is_float() && b.is_small_int() {
        Some((a.float_of(), b.small_int_of() as f64))
    } else if a.is_small_int() && b.is_float() {
        Some((a.small_int_of() as f64, b.float_of()))
    } else {
        None
    }
}

/// The value of an immediate by its number.
#[inline(always)]
fn immediate(number: u16) -> Value {
    // The numbers are consecutive but for hole, whose bits are 0.
    if number == Immediate::Hole as u16 {
        Value::HOLE
    } else {
        Value::from_bits(Value::NIL.bits() - Immediate::Nil as u64 + u64::from(number))
    }
}
