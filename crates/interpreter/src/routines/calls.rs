//! Calls that are more than pushing a frame: dynamic callees, host and C functions, tail calls, protocol entries, and
//! returns that convert or leave.

use upshift_bytecode::{CType, Op, Protocol, TrapCode, ValueType, Word};
use upshift_runtime::context::{Context, Status};
use upshift_runtime::feedback::{self, FieldSlot};
use upshift_runtime::frame::{FLAGS, Frame, FunctionEntry, LONG, SPECIAL};
use upshift_runtime::linked::{FunctionMeta, LONG_CALL};
use upshift_runtime::list;
use upshift_runtime::object::{List, ObjectKind};
use upshift_runtime::sampling::{Activity, Running};
use upshift_runtime::trap::Trap;
use upshift_runtime::value::Value;

use super::{Site, attempt, routines};

/// Arguments taken out of a window: few are kept in place.
struct Words {
    few: [u64; 12],
    many: Vec<u64>,
    len: usize,
}

impl Words {
    unsafe fn take(from: *const u64, len: usize) -> Words {
        let mut words = Words { few: [0; 12], many: Vec::new(), len };
        // SAFETY: the caller has `len` words there.
        let source = unsafe { std::slice::from_raw_parts(from, len) };
        if len <= 12 {
            words.few[..len].copy_from_slice(source);
        } else {
            words.many = source.to_vec();
        }
        words
    }
    fn of(values: &[Value]) -> Words {
        // SAFETY: values are words.
        unsafe { Words::take(values.as_ptr().cast(), values.len()) }
    }
    fn get(&self) -> &[Value] {
        let words = if self.len <= 12 { &self.few[..self.len] } else { &self.many };
        // SAFETY: values are transparent words; callers put in valid cells.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
    }
}

/// Charges the budget for a call; with an error the status of the trap.
unsafe fn charge(s: Site, callee: *const FunctionEntry) -> Result<(), Status> {
    // SAFETY: the budget is in the context during routines that may call.
    unsafe {
        (*s.ctx).budget -= 1;
        if (*s.ctx).budget < 0 {
            s.instance().sampling_poll(s.frame(), s.pc, Running::Unknown);
            if let Err(trap) = s.instance().refill() {
                return Err(s.trap(trap));
            }
            s.instance().polled(s.frame(), (*callee).index());
        }
        Ok(())
    }
}

fn is_cell(ty: Option<ValueType>) -> bool {
    matches!(ty, Some(ValueType::Cell(_)))
}

/// Writes the result of a host function that answered for a guest one, as the return of the guest one would.
unsafe fn write_answer(s: Site, bits: u64, result: Option<ValueType>) -> Result<(), Trap> {
    // SAFETY: verified destinations.
    unsafe {
        let Some(op) = Op::from_number(s.word().op()) else { return Ok(()) };
        // The ops without a destination among those that call.
        if !matches!(op, Op::CellIndexSet | Op::CellFieldSet | Op::CallVoid | Op::CallClosureVoid) {
            let word = answer_word(s, op, bits, result)?;
            *s.fp.add(s.word().a() as usize) = word;
        }
        Ok(())
    }
}

/// The word that the destination of a call instruction gets from a callee with this result type.
unsafe fn answer_word(s: Site, op: Op, bits: u64, result: Option<ValueType>) -> Result<u64, Trap> {
    // SAFETY: boxing allocates and does not collect.
    unsafe {
        Ok(match op {
            Op::CellNe => bits ^ 1,
            Op::CellEq | Op::CellLt | Op::CellLe => bits,
            Op::CallInt
            | Op::CallFloat
            | Op::CallCell
            | Op::CallClosureInt
            | Op::CallClosureFloat
            | Op::CallClosureCell
                if !is_cell(result) && !matches!(op, Op::CallCell | Op::CallClosureCell) =>
            {
                bits
            }
            _ => match result {
                Some(ValueType::Cell(_)) => bits,
                Some(ValueType::Int) => s.instance().heap.box_int(bits as i64)?.bits(),
                Some(ValueType::Bool) => Value::bool(bits != 0).bits(),
                Some(ValueType::Float) => Value::float(f64::from_bits(bits)).bits(),
                None => Value::NIL.bits(),
            },
        })
    }
}

/// A return that is not just a copy: into Rust, or with a conversion. The collector's mark is of no interest.
///
/// # Safety
/// `fp` is the top frame, of the function of `entry`, and `bits` its result.
#[cold]
#[inline(never)]
pub unsafe fn return_slow(ctx: *mut Context, fp: *mut u64, entry: *const FunctionEntry, bits: u64) -> Status {
    // SAFETY: by the contract.
    unsafe {
        let frame = Frame { fp, entry };
        let word = *frame.header();
        let back = word & !FLAGS;
        let s = Site::new(ctx, fp, std::ptr::null(), entry);
        if back == 0 {
            (*ctx).result = bits;
            s.instance().returned = (*entry).index();
            return Status::Exit;
        }
        let pc: *const Word = std::ptr::with_exposed_provenance(back as usize);
        let result = (*entry).meta().result;
        let Some(caller) = frame.caller(&*ctx) else { return Status::Exit };
        (*ctx).fp = caller.fp;
        (*ctx).entry = caller.entry;
        (*ctx).pc = pc;
        if word & SPECIAL == 0 {
            if result.is_some() {
                *caller.fp.add((*pc.sub(1)).a() as usize) = bits;
            }
            return Status::Reload;
        }
        let call = if word & LONG != 0 { pc.sub(2) } else { pc.sub(1) };
        let s = Site::new(ctx, caller.fp, call, caller.entry);
        attempt!(s, write_answer(s, bits, result));
        Status::Reload
    }
}

/// A return from machine code whose header has flags: converts the result; `Continue` where the return goes to guest code then, with
/// the word for the destination in the context.
///
/// # Safety
/// `fp` is the top frame, of the function of `entry`, and `bits` its result.
pub unsafe extern "C" fn native_return(
    ctx: *mut Context,
    fp: *mut u64,
    entry: *const FunctionEntry,
    bits: u64,
) -> Status {
    // SAFETY: by the contract.
    unsafe {
        let frame = Frame { fp, entry };
        let word = *frame.header();
        (*ctx).result = bits;
        if word & SPECIAL == 0 {
            return Status::Continue;
        }
        let (back, Some(caller)) = (word & !FLAGS, frame.caller(&*ctx)) else {
            return return_slow(ctx, fp, entry, bits);
        };
        if back == 0 {
            return return_slow(ctx, fp, entry, bits);
        }
        let pc: *const Word = std::ptr::with_exposed_provenance(back as usize);
        let call = if word & LONG != 0 { pc.sub(2) } else { pc.sub(1) };
        let s = Site::new(ctx, caller.fp, call, caller.entry);
        attempt!(s, write_answer(s, bits, (*entry).meta().result));
        // Written already; who called from machine code writes it again.
        (*ctx).result = *caller.fp.add((*pc.sub(1)).a() as usize);
        Status::Continue
    }
}

/// Clears the spilled cells of a frame, for `frame.clear`.
///
/// # Safety
/// `fp` is the top frame, of the function of `entry`.
#[cold]
#[inline(never)]
pub unsafe fn clear_spilled(fp: *mut u64, entry: *const FunctionEntry) {
    // SAFETY: the slots are the frame's.
    unsafe {
        let layout = &(*entry).meta().layout;
        let first = fp.add(layout.first_spilled_cell() as usize);
        std::ptr::write_bytes(first, 0, layout.spilled_cells as usize);
    }
}

/// Notes at the dynamic call that the callee gave no result, or several.
///
/// # Safety
/// `fp` is the top frame, of the function of `entry`.
#[cold]
#[inline(never)]
pub unsafe fn note_results(ctx: *mut Context, fp: *mut u64, entry: *const FunctionEntry, value: Value) {
    // SAFETY: by the contract; return pcs lie behind call instructions.
    unsafe {
        let back = *Frame { fp, entry }.header() & !FLAGS;
        if back == 0 {
            return;
        }
        let pc: *const Word = std::ptr::with_exposed_provenance(back as usize);
        let last = *pc.sub(1);
        // Only the second words of dynamic calls, arithmetic, and positions are marked; all have feedback in the same place.
        if last.op() & LONG_CALL != 0 {
            let site = &mut *(*ctx).feedback.add(last.wide() as usize);
            site.flags |= if value == Value::NONE { feedback::RESULT_NONE } else { feedback::RESULT_MANY };
        }
    }
}

/// Enters a guest function, or calls a host one, with converted arguments: `words` in parameter order. The instruction at
/// the site is `size` words long; `flags` are those of the return.
unsafe fn enter_words(
    s: Site,
    callee: *const FunctionEntry,
    closure: Option<Value>,
    words: &[u64],
    size: usize,
    flags: u64,
) -> Status {
    // SAFETY: the words are of the parameters' types, the callee is loaded.
    unsafe {
        let meta = (*callee).meta();
        let fp = s.window();
        if fp.byte_add((*callee).size()) > (*s.ctx).stack_limit {
            return s.code(TrapCode::StackOverflow);
        }
        if let Err(status) = charge(s, callee) {
            return status;
        }
        if let Some(closure) = closure {
            *fp.add(meta.layout.first_cell() as usize) = closure.bits();
        }
        for (param, &word) in meta.params.iter().zip(words) {
            *fp.add(param.slot as usize) = word;
        }
        push(s, callee, fp, size, flags)
    }
}

/// Completes a frame whose arguments are written: the header, and for host functions the call.
unsafe fn push(s: Site, callee: *const FunctionEntry, fp: *mut u64, size: usize, flags: u64) -> Status {
    // SAFETY: the caller checked the stack.
    unsafe {
        let header = fp.byte_add((*callee).header as usize);
        *header = s.pc.add(size).expose_provenance() as u64 | flags;
        *header.add(1) = (*s.entry).link;
        let meta = (*callee).meta();
        if meta.host.is_none() {
            (*s.ctx).fp = fp;
            (*s.ctx).entry = callee;
            (*s.ctx).pc = (*callee).start;
            // Machine code calls the frame from where it is, which takes native stack; such calls do not pass the place that
            // looks after it.
            let room = s.instance().native_room().is_none_or(|room| room >= super::NATIVE_ROOM);
            return if room { Status::Call } else { Status::Reload };
        }
        debug_assert!(Op::from_number(s.word().op()).is_some_and(|op| op.words() == size));
        let index = (*s.entry).index();
        let result = meta.result;
        let answer = s.instance().host_call(Frame { fp, entry: callee });
        // The table may have moved.
        let s = Site { entry: (*s.ctx).functions.add(index as usize), ..s };
        let bits = attempt!(s, answer);
        attempt!(s, write_answer(s, bits, result));
        Status::Continue
    }
}

/// Calls the protocol entry of the site's module with these cells.
pub(crate) unsafe fn protocol(s: Site, what: Protocol, args: &[Value], size: usize, flags: u64) -> Status {
    // SAFETY: parameters of protocol entries are `any`, so cells are their words.
    unsafe {
        let callee = s.instance().protocol(&*s.entry, what);
        if callee.is_null() {
            return s.trap(no_answer(what, args));
        }
        let words = std::slice::from_raw_parts(args.as_ptr().cast(), args.len());
        enter_words(s, callee, None, words, size, flags)
    }
}

#[cold]
fn no_answer(what: Protocol, args: &[Value]) -> Trap {
    let kinds: Vec<&str> = args.iter().map(|a| a.kind().text()).collect();
    match what {
        Protocol::IndexGet | Protocol::IndexSet
            if matches!(args[0].object_kind(), Some(k) if list::is_list_kind(k)) && args[1].is_int() =>
        {
            Trap::of(TrapCode::IndexOutOfRange)
        }
        Protocol::Div | Protocol::Rem if args[1].as_int() == Some(0) => Trap::of(TrapCode::DivisionByZero),
        _ => Trap::new(
            TrapCode::TypeMismatch,
            format!("{} does not know {}", what.text(), kinds.join(" and ")),
        ),
    }
}

/// The words of boxed arguments under the callee's parameter types; `Err` names the first that does not fit.
unsafe fn adapt(s: Site, meta: &FunctionMeta, args: &[Value], out: &mut [u64]) -> Result<(), Trap> {
    // SAFETY: values are live.
    let instance = unsafe { s.instance() };
    for (i, (param, &arg)) in meta.params.iter().zip(args).enumerate() {
        let word = instance.argument(param.ty, arg);
        out[i] = word.ok_or_else(|| instance.wrong_argument(meta, i, arg))?;
    }
    Ok(())
}

/// How a dynamic call leaves its site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Call,
    Tail,
}

/// A dynamic call with boxed arguments.
unsafe fn call_values(s: Site, callee: Value, args: &[Value], site: u32, mode: Mode) -> Status {
    // SAFETY: values are live; the safepoint is behind us, so nothing moves until a frame is entered.
    unsafe {
        let function = callee.is_object_of(ObjectKind::Closure).then(|| (*callee.as_object_unchecked()).meta);
        let feedback = &mut *(*s.ctx).feedback.add(site as usize);
        let odd = |what: Protocol| {
            let feedback = &mut *(*s.ctx).feedback.add(site as usize);
            feedback.flags |= feedback::SLOW;
            let list = attempt!(s, list::from_slice(&mut s.instance().heap, args));
            let pair = [callee, Value::object(list)];
            match mode {
                Mode::Call => protocol(s, what, &pair, 2, SPECIAL | LONG),
                Mode::Tail => {
                    let entry = s.instance().protocol(&*s.entry, what);
                    if entry.is_null() {
                        return s.trap(no_answer(what, &pair));
                    }
                    tail_words(s, entry, None, &[pair[0].bits(), pair[1].bits()])
                }
            }
        };
        let Some(index) = function else {
            feedback.left |= 1 << callee.kind() as u16;
            return odd(Protocol::Call);
        };
        if feedback.find(index).is_none() {
            feedback.remember(index, FieldSlot::default());
        }
        let Some(answering) = (*(*s.ctx).functions.add(index as usize)).meta().answering(args.len()) else {
            return odd(Protocol::Arity);
        };
        let target = (*s.ctx).functions.add(answering as usize);
        let meta = (*target).meta();
        let arity = meta.params.len();
        let mut few = [0u64; 12];
        let mut many = Vec::new();
        let words: &mut [u64] = if arity <= 12 {
            &mut few[..arity]
        } else {
            many.resize(arity, 0);
            &mut many
        };
        let fixed = if meta.rest { arity - 1 } else { arity };
        if let Err(trap) = adapt(s, meta, &args[..fixed], words) {
            // The language may convert what is not of the parameter's type.
            if s.instance().protocol(&*s.entry, Protocol::Call).is_null() {
                return s.trap(trap);
            }
            return odd(Protocol::Call);
        }
        if meta.rest {
            let list = attempt!(s, list::from_slice(&mut s.instance().heap, &args[fixed..]));
            match s.instance().unbox(meta.params[fixed].ty, Value::object(list)) {
                Some(word) => words[fixed] = word,
                None => return s.code(TrapCode::TypeMismatch),
            }
        }
        let closure = meta.environment.then_some(callee);
        match mode {
            Mode::Call => {
                let flags = if is_cell(meta.result) { 0 } else { SPECIAL | LONG };
                enter_words(s, target, closure, words, 2, flags)
            }
            Mode::Tail => tail_words(s, target, closure, words),
        }
    }
}

/// Whether the instruction before a return pc has two words.
unsafe fn is_long(back: u64) -> bool {
    let pc: *const Word = std::ptr::with_exposed_provenance(back as usize);
    // SAFETY: return pcs lie behind a call instruction; only second words have the mark.
    unsafe { (*pc.sub(1)).op() & LONG_CALL != 0 }
}

/// Replaces the site's frame by one of the callee, with words in parameter order.
unsafe fn tail_words(s: Site, callee: *const FunctionEntry, closure: Option<Value>, words: &[u64]) -> Status {
    // SAFETY: the site's frame is the top one and dies here; words are copies.
    unsafe {
        let meta = (*callee).meta();
        if s.fp.byte_add((*callee).size()) > (*s.ctx).stack_limit {
            return s.code(TrapCode::StackOverflow);
        }
        if let Err(status) = charge(s, callee) {
            return status;
        }
        let header = s.frame().header();
        let (mut back, link) = (*header, *header.add(1));
        if !is_cell(meta.result)
            && is_cell((*s.entry).meta().result)
            && back & !FLAGS != 0
            && back & SPECIAL == 0
        {
            back = back & !LONG | SPECIAL | if is_long(back & !FLAGS) { LONG } else { 0 };
        }
        if let Some(closure) = closure {
            *s.fp.add(meta.layout.first_cell() as usize) = closure.bits();
        }
        for (param, &word) in meta.params.iter().zip(words) {
            *s.fp.add(param.slot as usize) = word;
        }
        finish_tail(s, callee, back, link)
    }
}

/// Writes the header of a frame that replaces another and continues in it.
unsafe fn finish_tail(s: Site, callee: *const FunctionEntry, back: u64, link: u64) -> Status {
    // SAFETY: arguments are in place.
    unsafe {
        let header = s.fp.byte_add((*callee).header as usize);
        *header = back;
        *header.add(1) = link;
        let meta = (*callee).meta();
        if meta.host.is_none() {
            (*s.ctx).fp = s.fp;
            (*s.ctx).entry = callee;
            (*s.ctx).pc = (*callee).start;
            return Status::Call;
        }
        let frame = Frame { fp: s.fp, entry: callee };
        let index = (*callee).index();
        let answer = s.instance().host_call(frame);
        let callee = (*s.ctx).functions.add(index as usize);
        match answer {
            Ok(bits) => return_slow(s.ctx, s.fp, callee, bits),
            Err(trap) => {
                // The host frame has no handlers: unwinding starts at it.
                let instance = s.instance();
                instance.set_pending(trap);
                instance.unwind(Frame { fp: s.fp, entry: callee }, std::ptr::null())
            }
        }
    }
}

/// A tail call of a known function whose arguments stand in the window as its parameters.
unsafe fn tail_window(s: Site, callee: *const FunctionEntry, closure: Option<Value>) -> Status {
    // SAFETY: verified windows.
    unsafe {
        let meta = (*callee).meta();
        if s.fp.byte_add((*callee).size()) > (*s.ctx).stack_limit {
            return s.code(TrapCode::StackOverflow);
        }
        if let Err(status) = charge(s, callee) {
            return status;
        }
        let header = s.frame().header();
        let (back, link) = (*header, *header.add(1));
        let window = s.window();
        let layout = &meta.layout;
        // Both copies go downwards in memory, and the second starts behind the first: nothing is overwritten early.
        std::ptr::copy(window, s.fp, layout.raw_params as usize);
        let first = layout.first_cell() as usize;
        std::ptr::copy(window.add(first), s.fp.add(first), layout.cell_params as usize);
        if let Some(closure) = closure {
            *s.fp.add(first) = closure.bits();
        }
        finish_tail(s, callee, back, link)
    }
}

unsafe fn spread(s: Site, argc: usize) -> Result<Words, Trap> {
    // SAFETY: the verifier saw `argc` cells in the window.
    unsafe {
        let window = s.window().add(2);
        let fixed = argc.saturating_sub(1);
        let mut args: Vec<Value> = std::slice::from_raw_parts(window.cast(), fixed).to_vec();
        if argc > 0 {
            let last = Value::from_bits(*window.add(fixed));
            if !last.object_kind().is_some_and(list::is_list_kind) {
                let found = last.kind().text();
                return Err(Trap::new(TrapCode::TypeMismatch, format!("only lists are spread, not {found}")));
            }
            let l = last.as_ptr::<List>();
            args.reserve((*l).len);
            for i in 0..(*l).len as i64 {
                if let Some(v) = list::get_boxed(&mut s.instance().heap, l, i)? {
                    args.push(v);
                }
            }
        }
        Ok(Words::of(&args))
    }
}

routines! {
    /// `cell.call`.
    cell_call |s| {
        let (w, second) = (s.word(), s.second());
        let argc = w.c() as usize;
        s.safepoint_window(2, argc);
        let callee = s.cell(w.b());
        if callee.is_object_of(ObjectKind::Closure) {
            // The common case: as many parameters, all `any`, no environment: the window is the frame already.
            let index = (*callee.as_object_unchecked()).meta;
            let mut target = (*s.ctx).functions.add(index as usize);
            let mut meta = (*target).meta();
            if meta.params.len() != argc && let Some(other) = meta.answering(argc) {
                target = (*s.ctx).functions.add(other as usize);
                meta = (*target).meta();
            }
            if meta.plain && meta.params.len() == argc {
                let site = &mut *(*s.ctx).feedback.add(second.wide() as usize);
                if site.ids[0] != index && site.find(index).is_none() {
                    site.remember(index, FieldSlot::default());
                }
                let fp = s.window();
                if fp.byte_add((*target).size()) > (*s.ctx).stack_limit {
                    return s.code(TrapCode::StackOverflow);
                }
                if let Err(status) = charge(s, target) {
                    return status;
                }
                if meta.environment {
                    std::ptr::copy(fp.add(2), fp.add(3), argc);
                    *fp.add(2) = callee.bits();
                }
                return push(s, target, fp, 2, if is_cell(meta.result) { 0 } else { SPECIAL | LONG });
            }
        }
        let args = Words::take(s.window().add(2), argc);
        call_values(s, callee, args.get(), second.wide(), Mode::Call)
    }

    /// `cell.call_spread`.
    cell_call_spread |s| {
        let (w, second) = (s.word(), s.second());
        s.safepoint_window(2, w.c() as usize);
        let args = attempt!(s, spread(s, w.c() as usize));
        call_values(s, s.cell(w.b()), args.get(), second.wide(), Mode::Call)
    }

    /// `tail.cell`.
    tail_cell |s| {
        let (w, second) = (s.word(), s.second());
        s.safepoint_window(2, w.b() as usize);
        let args = Words::take(s.window().add(2), w.b() as usize);
        call_values(s, s.cell(w.a()), args.get(), second.low(), Mode::Tail)
    }

    /// `tail.cell_spread`.
    tail_cell_spread |s| {
        let (w, second) = (s.word(), s.second());
        s.safepoint_window(2, w.b() as usize);
        let args = attempt!(s, spread(s, w.b() as usize));
        call_values(s, s.cell(w.a()), args.get(), second.low(), Mode::Tail)
    }

    /// `tail.call`.
    tail_call |s| {
        let callee = (*s.ctx).functions.add(s.word().wide() as usize);
        tail_window(s, callee, None)
    }

    /// `tail.closure`.
    tail_closure |s| {
        let closure = s.cell(s.word().a());
        let callee = (*s.ctx).functions.add((*closure.as_object_unchecked()).meta as usize);
        let environment = (*callee).meta().environment;
        tail_window(s, callee, environment.then_some(closure))
    }

    /// `call.host.*`.
    call_host |s| {
        let w = s.word();
        let callee = (*s.ctx).functions.add(w.wide() as usize);
        let fp = s.window();
        if fp.byte_add((*callee).size()) > (*s.ctx).stack_limit {
            return s.code(TrapCode::StackOverflow);
        }
        let header = fp.byte_add((*callee).header as usize);
        *header = s.pc.add(1).expose_provenance() as u64;
        *header.add(1) = (*s.entry).link;
        let index = (*s.entry).index();
        // A host function may run for long and allocate without a collection in between.
        let params = &(*callee).meta().layout;
        s.safepoint_window(params.first_cell() as usize, params.cell_params as usize);
        let has_result = w.op() != Op::CallHostVoid as u16 && (*callee).meta().result.is_some();
        match s.instance().host_call(Frame { fp, entry: callee }) {
            Ok(bits) => {
                if has_result {
                    *s.fp.add(w.a() as usize) = bits;
                }
                Status::Continue
            }
            Err(trap) => {
                let s = Site { entry: (*s.ctx).functions.add(index as usize), ..s };
                s.trap(trap)
            }
        }
    }

    /// `call.c.*`.
    call_c |s| {
        let w = s.word();
        let (address, module, import) = attempt!(s, s.instance().c_function(w.wide()));
        let import = &module.c_functions[import as usize];
        let mut ints = [0i64; 6];
        let mut floats = [0f64; 8];
        let mut texts = Vec::new();
        let (mut raw, mut cell, mut ni, mut nf) = (0, 0, 0, 0);
        let raws = import.params.iter().filter(|p| **p != CType::CString).count();
        let window = s.window();
        for param in &import.params {
            if *param == CType::CString {
                let value = Value::from_bits(*window.add(raws + 2 + cell));
                cell += 1;
                match std::ffi::CString::new(upshift_runtime::string::bytes(&value)) {
                    Ok(text) => {
                        ints[ni.min(5)] = text.as_ptr().expose_provenance() as i64;
                        ni += 1;
                        texts.push(text);
                    }
                    Err(_) => {
                        let message = "a string with a zero byte cannot be passed to C";
                        return s.trap(Trap::new(TrapCode::InvalidArgument, message));
                    }
                }
            } else {
                let bits = *window.add(raw);
                raw += 1;
                if *param == CType::Double {
                    floats[nf.min(7)] = f64::from_bits(bits);
                    nf += 1;
                } else {
                    ints[ni.min(5)] = if *param == CType::Int32 { bits as i32 as i64 } else { bits as i64 };
                    ni += 1;
                }
            }
        }
        if ni > 6 || nf > 8 || !cfg!(all(not(windows), any(target_arch = "x86_64", target_arch = "aarch64"))) {
            let message = "this call of a C function is not supported on this platform";
            return s.trap(Trap::new(TrapCode::HostError, message));
        }
        let [a, b, c, d, e, f] = ints;
        let [p, q, r, t, u, v, x, y] = floats;
        // Under both conventions the first six integer and the first eight float arguments have registers of their own,
        // whatever their order, and a callee ignores registers that it takes no argument from.
        type Ints = unsafe extern "C" fn(i64, i64, i64, i64, i64, i64, f64, f64, f64, f64, f64, f64, f64, f64) -> i64;
        type Floats = unsafe extern "C" fn(i64, i64, i64, i64, i64, i64, f64, f64, f64, f64, f64, f64, f64, f64) -> f64;
        let address = std::ptr::with_exposed_provenance::<()>(address);
        s.instance().sampling_enters(s.frame(), s.pc);
        match import.result {
            CType::Double if w.op() == Op::CallCFloat as u16 => {
                let function: Floats = std::mem::transmute(address);
                let result = function(a, b, c, d, e, f, p, q, r, t, u, v, x, y);
                *s.fp.cast::<f64>().add(w.a() as usize) = result;
            }
            other => {
                let function: Ints = std::mem::transmute(address);
                let result = function(a, b, c, d, e, f, p, q, r, t, u, v, x, y);
                match other {
                    _ if w.op() != Op::CallCInt as u16 => {}
                    CType::Void => {}
                    CType::Int32 => s.set_int(w.a(), i64::from(result as i32)),
                    _ => s.set_int(w.a(), result),
                }
            }
        }
        s.instance().sampling_leaves(s.frame(), s.pc, Some(Activity::Foreign));
        drop(texts);
        Status::Continue
    }
}
