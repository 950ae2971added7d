//! Strings, lists, maps, records, closures, boxes, tuples and the trail.

use upshift_bytecode::{HeapType, KeyPolicy, Protocol, TrapCode};
use upshift_runtime::check::ANY_CODE;
use upshift_runtime::context::{Context, Status};
use upshift_runtime::instance::Instance;
use upshift_runtime::linked::{STRING_CODE, type_of_code};
use upshift_runtime::map::{self, Find};
use upshift_runtime::object::{List, MapObject, ObjectKind, Record, Ref, Tuple};
use upshift_runtime::trap::Trap;
use upshift_runtime::value::Value;
use upshift_runtime::{closure, list, record, string, tuple};

use super::{Site, attempt, routines};

/// Whether two strings have the same bytes.
///
/// # Safety
/// Both are strings with live objects of the context's instance, which this thread runs; the budget is in the context.
#[inline(always)]
pub unsafe fn string_equal(ctx: *mut Context, a: Value, b: Value) -> bool {
    // Inline strings are equal to nothing but themselves.
    // SAFETY: by the contract.
    a == b || (a.is_object() && b.is_object() && unsafe { long_equal(ctx, a, b) })
}

/// As [`string_equal`], of two strings with objects.
///
/// # Safety
/// See there.
#[inline(never)]
pub unsafe fn long_equal(ctx: *mut Context, a: Value, b: Value) -> bool {
    // SAFETY: by the contract; the reference to the instance ends here.
    unsafe {
        let len = string::byte_len(a);
        if len == string::byte_len(b) {
            (*ctx.cast::<Instance>()).passed(len);
        }
        string::equal(a, b)
    }
}

/// Tells the instance of a search through a string, or of a comparison.
///
/// # Safety
/// As for [`string_equal`], of one string.
#[inline(always)]
pub unsafe fn passed(ctx: *mut Context, s: Value) {
    // SAFETY: by the contract; the reference to the instance ends here.
    unsafe { (*ctx.cast::<Instance>()).passed(string::byte_len(s)) }
}

/// Notes that a list was searched, which takes as long as the list is.
///
/// # Safety
/// The context is live, and so is the list.
pub unsafe fn searched(ctx: *mut Context, list: *mut List) {
    // SAFETY: by the contract; the reference to the instance ends here.
    unsafe { (*ctx.cast::<Instance>()).passed((*list).len * size_of::<Value>()) }
}

/// The site has just made an object: stores it under the element type of the object that it came from.
unsafe fn set_like(s: Site, dst: u16, new: *mut List, from: *mut List) -> Status {
    // SAFETY: live lists of the same storage; copies of elements have the type that the elements had.
    unsafe {
        (*new).header.meta = (*from).header.meta;
        s.set_cell(dst, Value::object(new));
        Status::Continue
    }
}

routines! {
    /// `box.int`, where the int is wide.
    box_int |s| {
        s.safepoint();
        let w = s.word();
        let value = attempt!(s, s.instance().heap.box_int(s.int(w.b())));
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `results.push`.
    results_push |s| {
        let value = s.cell(s.word().a());
        let results = &mut s.instance().results;
        if results.len() == results.capacity() && results.try_reserve(results.len().max(16)).is_err() {
            return s.code(TrapCode::MemoryLimit);
        }
        results.push(value);
        Status::Continue
    }

    /// `cell.test`.
    cell_test |s| {
        let w = s.word();
        let yes = s.instance().is(s.cell(w.b()), type_of_code(s.second().low()));
        s.set_int(w.a(), i64::from(yes));
        Status::Continue
    }

    /// `cell.cast`.
    cell_cast |s| {
        let w = s.word();
        let value = s.cell(w.b());
        if !s.instance().is(value, type_of_code(s.second().low())) {
            return s.code(TrapCode::BadCast);
        }
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `results.clear`.
    results_clear |s| {
        s.instance().results.clear();
        Status::Continue
    }

    /// `results.get`.
    results_get |s| {
        let w = s.word();
        match usize::try_from(s.int(w.b())).ok().and_then(|i| s.instance().results.get(i).copied()) {
            Some(value) => {
                s.set_cell(w.a(), value);
                Status::Continue
            }
            None => s.code(TrapCode::IndexOutOfRange),
        }
    }

    /// `trail.undo`.
    trail_undo |s| {
        let mark = usize::try_from(s.int(s.word().a())).unwrap_or(usize::MAX);
        if s.instance().trail_undo(mark) { Status::Continue } else { s.code(TrapCode::InvalidArgument) }
    }

    /// `list.cell.set`.
    list_cell_set |s| {
        let w = s.word();
        let l = s.cell(w.a()).as_ptr::<List>();
        if list::set_cell(&mut s.instance().heap, l, s.int(w.b()), s.cell(w.c())) {
            Status::Continue
        } else {
            s.code(TrapCode::IndexOutOfRange)
        }
    }

    /// `list.cell.set_rel`.
    list_cell_set_rel |s| {
        let w = s.word();
        let l = s.cell(w.a()).as_ptr::<List>();
        let i = list::relative(l, s.int(w.b()));
        if list::set_cell(&mut s.instance().heap, l, i, s.cell(w.c())) {
            Status::Continue
        } else {
            s.code(TrapCode::IndexOutOfRange)
        }
    }

    /// `record.cell.set`.
    record_cell_set |s| {
        let w = s.word();
        record::set_cell(&mut s.instance().heap, s.cell(w.a()).as_ptr(), w.b() as usize, s.cell(w.c()));
        Status::Continue
    }

    /// `ref.cell.set`.
    ref_cell_set |s| {
        let w = s.word();
        closure::set_ref_cell(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.cell(w.b()));
        Status::Continue
    }

    /// `tuple.get`.
    tuple_get |s| {
        let w = s.word();
        match tuple::get(s.cell(w.b()).as_ptr(), s.int(w.c())) {
            Some(value) => {
                s.set_cell(w.a(), value);
                Status::Continue
            }
            None => s.code(TrapCode::IndexOutOfRange),
        }
    }

    /// `tuple.set`.
    tuple_set |s| {
        let w = s.word();
        let heap = &mut s.instance().heap;
        if tuple::set(heap, s.cell(w.a()).as_ptr(), s.int(w.b()), s.cell(w.c())) {
            Status::Continue
        } else {
            s.code(TrapCode::IndexOutOfRange)
        }
    }

    // ---- Strings ----

    /// `string.len`.
    string_len |s| {
        let w = s.word();
        s.set_int(w.a(), string::len(s.cell(w.b())) as i64);
        Status::Continue
    }

    /// `string.byte_len`.
    string_byte_len |s| {
        let w = s.word();
        s.set_int(w.a(), string::byte_len(s.cell(w.b())) as i64);
        Status::Continue
    }

    /// `string.concat`.
    string_concat |s| {
        s.safepoint();
        let w = s.word();
        let value = attempt!(s, string::concat(&mut s.instance().heap, s.cell(w.b()), s.cell(w.c())));
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `string.append`.
    string_append |s| {
        s.safepoint();
        let w = s.word();
        let value = attempt!(s, string::append(&mut s.instance().heap, s.cell(w.b()), s.cell(w.c())));
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `string.share`.
    string_share |s| {
        let w = s.word();
        let value = string::share(s.cell(w.b()));
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `string.get`.
    string_get |s| {
        let w = s.word();
        match string::get(&mut s.instance().heap, s.cell(w.b()), s.int(w.c())) {
            Some(value) => {
                s.set_cell(w.a(), value);
                Status::Continue
            }
            None => s.code(TrapCode::IndexOutOfRange),
        }
    }

    /// `string.get_rel`.
    string_get_rel |s| {
        let w = s.word();
        let text = s.cell(w.b());
        let i = s.int(w.c());
        let i = if i < 0 { i.wrapping_add(string::len(text) as i64) } else { i };
        match string::get(&mut s.instance().heap, text, i) {
            Some(value) => {
                s.set_cell(w.a(), value);
                Status::Continue
            }
            None => s.code(TrapCode::IndexOutOfRange),
        }
    }

    /// `string.slice`.
    string_slice |s| {
        s.safepoint();
        let w = s.word();
        let (from, to) = (s.int(w.c()), s.int(s.second().op()));
        let value = attempt!(s, string::slice(&mut s.instance().heap, s.cell(w.b()), from, to));
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `string.code_at`.
    string_code_at |s| {
        let w = s.word();
        match string::code_at(&mut s.instance().heap, s.cell(w.b()), s.int(w.c())) {
            Some(code) => {
                s.set_int(w.a(), code);
                Status::Continue
            }
            None => s.code(TrapCode::IndexOutOfRange),
        }
    }

    /// `string.from_code`.
    string_from_code |s| {
        let w = s.word();
        match string::from_code(s.int(w.b())) {
            Some(value) => {
                s.set_cell(w.a(), value);
                Status::Continue
            }
            None => {
                let message = format!("{} is no Unicode scalar", s.int(w.b()));
                s.trap(Trap::new(TrapCode::InvalidArgument, message))
            }
        }
    }

    /// `string.from_int`.
    string_from_int |s| {
        s.safepoint();
        let w = s.word();
        let value = attempt!(s, string::from_int(&mut s.instance().heap, s.int(w.b())));
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `string.compare`.
    string_compare |s| {
        let w = s.word();
        passed(s.ctx, s.cell(w.b()));
        s.set_int(w.a(), string::compare(s.cell(w.b()), s.cell(w.c())) as i64);
        Status::Continue
    }

    /// `string.contains`.
    string_contains |s| {
        let w = s.word();
        passed(s.ctx, s.cell(w.b()));
        s.set_int(w.a(), i64::from(string::contains(s.cell(w.b()), s.cell(w.c()))));
        Status::Continue
    }

    /// `string.index_of`.
    string_index_of |s| {
        let w = s.word();
        passed(s.ctx, s.cell(w.b()));
        s.set_int(w.a(), string::index_of(s.cell(w.b()), s.cell(w.c())));
        Status::Continue
    }

    // ---- Lists ----

    /// `list.copy`.
    list_copy |s| {
        s.safepoint();
        let w = s.word();
        let from = s.cell(w.b()).as_ptr::<List>();
        let new = attempt!(s, list::copy(&mut s.instance().heap, from, w.c() as usize));
        set_like(s, w.a(), new, from)
    }

    /// `list.slice`.
    list_slice |s| {
        s.safepoint();
        let w = s.word();
        let from = s.cell(w.b()).as_ptr::<List>();
        let (start, end) = (s.int(w.c()), s.int(s.second().op()));
        let new = attempt!(s, list::slice(&mut s.instance().heap, from, start, end));
        set_like(s, w.a(), new, from)
    }

    /// `list.cut`.
    list_cut |s| {
        s.safepoint();
        let w = s.word();
        let from = s.cell(w.b()).as_ptr::<List>();
        let (start, end) = (s.int(w.c()), s.int(s.second().op()));
        let cut = attempt!(s, list::cut(&mut s.instance().heap, from, start, end));
        set_like(s, w.a(), cut, from)
    }

    /// `list.extend`.
    list_extend |s| {
        s.safepoint();
        let w = s.word();
        let (list, other) = (s.cell(w.b()).as_ptr::<List>(), s.cell(w.c()).as_ptr::<List>());
        let new = attempt!(s, list::append_all(&mut s.instance().heap, list, other));
        set_like(s, w.a(), new, list)
    }

    /// `list.concat`.
    list_concat |s| {
        s.safepoint();
        let w = s.word();
        let (a, b) = (s.cell(w.b()).as_ptr::<List>(), s.cell(w.c()).as_ptr::<List>());
        let new = attempt!(s, list::concat(&mut s.instance().heap, a, b));
        set_like(s, w.a(), new, a)
    }

    /// `list.int.new`.
    list_int_new |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, list::new_of(&mut s.instance().heap, ObjectKind::ListInt, w.wide() as usize));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.float.new`.
    list_float_new |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, list::new_of(&mut s.instance().heap, ObjectKind::ListFloat, w.wide() as usize));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.bool.new`.
    list_bool_new |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, list::new_of(&mut s.instance().heap, ObjectKind::ListBool, w.wide() as usize));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.cell.new`.
    list_cell_new |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, list::new_of(&mut s.instance().heap, ObjectKind::ListCell, w.b() as usize));
        (*new).header.meta = element_code(s, s.second().low());
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.int.push`, where the buffer is full.
    list_int_push |s| {
        s.safepoint();
        let w = s.word();
        attempt!(s, list::push(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.int(w.b())));
        Status::Continue
    }

    /// `list.float.push`, where the buffer is full.
    list_float_push |s| {
        s.safepoint();
        let w = s.word();
        let value = f64::from_bits(s.int(w.b()) as u64);
        attempt!(s, list::push(&mut s.instance().heap, s.cell(w.a()).as_ptr(), value));
        Status::Continue
    }

    /// `list.bool.push`, where the buffer is full.
    list_bool_push |s| {
        s.safepoint();
        let w = s.word();
        attempt!(s, list::push(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.int(w.b()) != 0));
        Status::Continue
    }

    /// `list.cell.push`.
    list_cell_push |s| {
        s.safepoint();
        let w = s.word();
        attempt!(s, list::push(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.cell(w.b())));
        Status::Continue
    }

    /// `list.int.index_of`.
    list_int_index_of |s| {
        let w = s.word();
        let list = s.cell(w.b()).as_ptr::<List>();
        searched(s.ctx, list);
        s.set_int(w.a(), list::index_of_int(list, s.int(w.c())));
        Status::Continue
    }

    /// `list.string.index_of`.
    list_string_index_of |s| {
        let w = s.word();
        let list = s.cell(w.b()).as_ptr::<List>();
        searched(s.ctx, list);
        s.set_int(w.a(), list::index_of_text(list, s.cell(w.c())));
        Status::Continue
    }

    /// `list.int.append`.
    list_int_append |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, list::append(&mut s.instance().heap, s.cell(w.b()).as_ptr(), s.int(w.c())));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.float.append`.
    list_float_append |s| {
        s.safepoint();
        let w = s.word();
        let value = f64::from_bits(s.int(w.c()) as u64);
        let new = attempt!(s, list::append(&mut s.instance().heap, s.cell(w.b()).as_ptr(), value));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.bool.append`.
    list_bool_append |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, list::append(&mut s.instance().heap, s.cell(w.b()).as_ptr(), s.int(w.c()) != 0));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `list.cell.append`.
    list_cell_append |s| {
        s.safepoint();
        let w = s.word();
        let from = s.cell(w.b()).as_ptr::<List>();
        let code = (*from).header.meta;
        let new = attempt!(s, list::append(&mut s.instance().heap, from, s.cell(w.c())));
        (*new).header.meta = code;
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    // ---- Maps ----

    /// `map.new`.
    map_new |s| {
        s.safepoint();
        let w = s.word();
        let code = s.second().low();
        let instance = s.instance();
        let Some(&HeapType::Map { key, order, .. }) = instance.type_at(type_of_code(code).id) else {
            return s.code(TrapCode::Unreachable);
        };
        let element = element_code(s, code);
        let new = attempt!(s, map::new(&mut s.instance().heap, key, order, w.b() as usize));
        (*new).header.meta = element;
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `map.len`.
    map_len |s| {
        let w = s.word();
        s.set_int(w.a(), (*s.cell(w.b()).as_ptr::<MapObject>()).len as i64);
        Status::Continue
    }

    /// `map.keys`.
    map_keys |s| {
        s.safepoint();
        let w = s.word();
        let from = s.cell(w.b()).as_ptr::<MapObject>();
        let new = attempt!(s, map::keys(&mut s.instance().heap, from));
        // Typed at once: the register's type must not hang on which view comes first.
        (*new).header.meta = match map::key_policy(from) {
            KeyPolicy::Int => 0,
            KeyPolicy::String => STRING_CODE,
            KeyPolicy::Value | KeyPolicy::Text | KeyPolicy::Protocol => ANY_CODE,
        };
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `map.values`.
    map_values |s| {
        s.safepoint();
        let w = s.word();
        let from = s.cell(w.b()).as_ptr::<MapObject>();
        let code = (*from).header.meta;
        let new = attempt!(s, map::values(&mut s.instance().heap, from));
        (*new).header.meta = code;
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `map.int.get`.
    map_int_get |s| {
        let w = s.word();
        let value = map::int_get(s.cell(w.b()).as_ptr(), s.int(w.c())).unwrap_or(Value::NIL);
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `map.int.has`.
    map_int_has |s| {
        let w = s.word();
        s.set_int(w.a(), i64::from(map::int_get(s.cell(w.b()).as_ptr(), s.int(w.c())).is_some()));
        Status::Continue
    }

    /// `map.int.set`.
    map_int_set |s| {
        s.safepoint();
        let w = s.word();
        attempt!(s, map::int_set(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.int(w.b()), s.cell(w.c())));
        Status::Continue
    }

    /// `map.int.remove`.
    map_int_remove |s| {
        let w = s.word();
        map::int_remove(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.int(w.b()));
        Status::Continue
    }

    /// `map.string.get`.
    map_string_get |s| {
        let w = s.word();
        let value = map::string_get(s.cell(w.b()).as_ptr(), s.cell(w.c())).unwrap_or(Value::NIL);
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `map.string.has`.
    map_string_has |s| {
        let w = s.word();
        s.set_int(w.a(), i64::from(map::string_get(s.cell(w.b()).as_ptr(), s.cell(w.c())).is_some()));
        Status::Continue
    }

    /// `map.string.set`.
    map_string_set |s| {
        s.safepoint();
        let w = s.word();
        attempt!(s, map::string_set(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.cell(w.b()), s.cell(w.c())));
        Status::Continue
    }

    /// `map.string.remove`.
    map_string_remove |s| {
        let w = s.word();
        map::string_remove(&mut s.instance().heap, s.cell(w.a()).as_ptr(), s.cell(w.b()));
        Status::Continue
    }

    /// `map.cell.get`.
    map_cell_get |s| {
        s.safepoint();
        let w = s.word();
        let (found, s) = attempt!(s, search(s, w.b(), w.c()));
        let value = match found {
            Find::Entry(entry) => map::value_at(s.cell(w.b()).as_ptr(), entry),
            _ => Value::NIL,
        };
        s.set_cell(w.a(), value);
        Status::Continue
    }

    /// `map.cell.has`.
    map_cell_has |s| {
        s.safepoint();
        let w = s.word();
        let (found, s) = attempt!(s, search(s, w.b(), w.c()));
        s.set_int(w.a(), i64::from(matches!(found, Find::Entry(_))));
        Status::Continue
    }

    /// `map.cell.set`.
    map_cell_set |s| {
        s.safepoint();
        let w = s.word();
        match store(s, w.a(), w.b(), s.cell(w.c())) {
            Ok(()) => Status::Continue,
            Err(trap) => s.trap(trap),
        }
    }

    /// `map.cell.remove`.
    map_cell_remove |s| {
        s.safepoint();
        let w = s.word();
        match remove(s, w.a(), w.b()) {
            Ok(()) => Status::Continue,
            Err(trap) => s.trap(trap),
        }
    }

    // ---- Records, closures, boxes, tuples ----

    /// `record.new`.
    record_new |s| {
        let w = s.word();
        let shape = w.wide();
        let (cells, raws, tag) = match s.instance().heap.shapes.get(shape) {
            Some(shape) => (shape.cells as usize, shape.raws as usize, shape.tag),
            None => return s.code(TrapCode::Unreachable),
        };
        s.safepoint_window(raws + 2, cells);
        let window = s.window();
        let heap = &mut s.instance().heap;
        let new = attempt!(s, record::from_window(heap, shape, tag, window, window.add(raws + 2).cast()));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `record.copy`.
    record_copy |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, record::copy(&mut s.instance().heap, s.cell(w.b()).as_ptr()));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `closure.new`.
    closure_new |s| {
        let w = s.word();
        let captures = (*(*s.ctx).functions.add(w.wide() as usize)).meta().captures.len();
        s.safepoint_window(2, captures);
        let from = s.window().add(2).cast();
        let new = attempt!(s, closure::new(&mut s.instance().heap, w.wide(), from, captures as u16));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `ref.int.new` and `ref.float.new`.
    ref_raw_new |s| {
        s.safepoint();
        let w = s.word();
        let heap = &mut s.instance().heap;
        let bits = s.int(w.b());
        let new = if w.op() == upshift_bytecode::Op::RefIntNew as u16 {
            closure::new_ref_int(heap, bits)
        } else {
            closure::new_ref_float(heap, f64::from_bits(bits as u64))
        };
        let new = attempt!(s, new);
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `ref.cell.new`.
    ref_cell_new |s| {
        s.safepoint();
        let w = s.word();
        let new = attempt!(s, closure::new_ref_cell(&mut s.instance().heap, s.cell(w.b())));
        (*new).header.meta = element_code(s, s.second().low());
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `tuple.new`.
    tuple_new |s| {
        let w = s.word();
        let count = w.b() as usize;
        s.safepoint_window(2, count);
        let new = attempt!(s, tuple::new(&mut s.instance().heap, w.c(), s.window().add(2).cast(), count));
        s.set_cell(w.a(), Value::object(new));
        Status::Continue
    }

    /// `ref.cell.set_trailed`.
    ref_cell_set_trailed |s| {
        let w = s.word();
        let object = s.cell(w.a());
        let old = closure::ref_cell(object.as_ptr::<Ref>());
        attempt!(s, s.instance().trail_push(object, std::mem::offset_of!(Ref, content), old));
        closure::set_ref_cell(&mut s.instance().heap, object.as_ptr(), s.cell(w.b()));
        Status::Continue
    }

    /// `record.cell.set_trailed`.
    record_cell_set_trailed |s| {
        let w = s.word();
        let object = s.cell(w.a());
        let slot = w.b() as usize;
        let old = record::get_cell(object.as_ptr::<Record>(), slot);
        attempt!(s, s.instance().trail_push(object, Record::FIELDS + 8 * slot, old));
        record::set_cell(&mut s.instance().heap, object.as_ptr(), slot, s.cell(w.c()));
        Status::Continue
    }

    /// `tuple.set_trailed`.
    tuple_set_trailed |s| {
        let w = s.word();
        let object = s.cell(w.a());
        let i = s.int(w.b());
        let Some(old) = tuple::get(object.as_ptr::<Tuple>(), i) else { return s.code(TrapCode::IndexOutOfRange) };
        attempt!(s, s.instance().trail_push(object, Tuple::CELLS + 8 * i as usize, old));
        tuple::set(&mut s.instance().heap, object.as_ptr(), i, s.cell(w.c()));
        Status::Continue
    }
}

/// The code of what a list, map or box of this type holds.
unsafe fn element_code(s: Site, code: u32) -> u32 {
    // SAFETY: the instance is live.
    let ty = unsafe { s.instance() }.type_at(type_of_code(code).id);
    match ty {
        Some(HeapType::ListCell(e) | HeapType::RefCell(e) | HeapType::Map { value: e, .. }) => {
            upshift_runtime::linked::type_code(*e)
        }
        _ => 0,
    }
}

/// Refreshes a site after guest code ran inside a routine.
unsafe fn refreshed(s: Site, index: u32) -> Site {
    // SAFETY: the function is still loaded.
    Site { entry: unsafe { (*s.ctx).functions.add(index as usize) }, ..s }
}

/// Calls a protocol entry from inside a routine; the frame stays the top one.
unsafe fn ask(s: Site, what: Protocol, args: &[Value]) -> Result<(Value, Site), Trap> {
    // SAFETY: the site is the top frame.
    unsafe {
        let index = (*s.entry).index();
        let value = s.instance().call_protocol_inside(s.frame(), what, args)?;
        Ok((value, refreshed(s, index)))
    }
}

/// The text of a key, where the map wants it.
unsafe fn key_text(s: Site, map_slot: u16, key_slot: u16) -> Result<(Option<Value>, Site), Trap> {
    // SAFETY: operands are live; they are read again after calls.
    unsafe {
        if !map::needs_text(s.cell(map_slot).as_ptr(), s.cell(key_slot)) {
            return Ok((None, s));
        }
        let (text, s) = ask(s, Protocol::Text, &[s.cell(key_slot)])?;
        Ok((Some(text), s))
    }
}

/// A search by the protocol: the entry, and the hash of the key.
unsafe fn search_protocol(s: Site, map_slot: u16, key_slot: u16) -> Result<(Option<usize>, u32, Site), Trap> {
    // SAFETY: operands are live; they are read again after each call.
    unsafe {
        let (hash, mut s) = ask(s, Protocol::Hash, &[s.cell(key_slot)])?;
        let hash = hash.as_int().unwrap_or(0);
        let hash = (hash ^ hash >> 32) as u32;
        let mut n = 0;
        while let Some((entry, candidate)) = map::candidate(s.cell(map_slot).as_ptr(), hash, n) {
            let key = s.cell(key_slot);
            if key.identical(candidate) {
                return Ok((Some(entry), hash, s));
            }
            let (same, fresh) = ask(s, Protocol::Equal, &[key, candidate])?;
            s = fresh;
            if same == Value::TRUE {
                // The entry that stands there now: the protocol may have changed the map.
                let entry = map::candidate(s.cell(map_slot).as_ptr(), hash, n).map(|c| c.0);
                return Ok((entry, hash, s));
            }
            n += 1;
        }
        Ok((None, hash, s))
    }
}

fn wrong_key() -> Trap {
    Trap::new(TrapCode::TypeMismatch, "the map has keys of another kind")
}

/// Finds the entry of a key, asking the protocol where the map's policy wants it.
pub(super) unsafe fn search(s: Site, map_slot: u16, key_slot: u16) -> Result<(Find, Site), Trap> {
    // SAFETY: operands are live; they are read again after calls.
    unsafe {
        match map::find(&mut s.instance().heap, s.cell(map_slot).as_ptr(), s.cell(key_slot), None) {
            Find::NeedsText => {
                let (text, s) = key_text(s, map_slot, key_slot)?;
                Ok((map::find(&mut s.instance().heap, s.cell(map_slot).as_ptr(), s.cell(key_slot), text), s))
            }
            Find::NeedsProtocol => {
                let (entry, _, s) = search_protocol(s, map_slot, key_slot)?;
                Ok((entry.map_or(Find::Absent, Find::Entry), s))
            }
            found => Ok((found, s)),
        }
    }
}

/// Inserts or replaces. The value must be in a slot or otherwise rooted: it is read before anything can move only where no
/// protocol is asked.
pub(super) unsafe fn store(s: Site, map_slot: u16, key_slot: u16, value: Value) -> Result<(), Trap> {
    // SAFETY: operands are live; after calls they are read again.
    unsafe {
        let m = s.cell(map_slot).as_ptr::<MapObject>();
        match map::set(&mut s.instance().heap, m, s.cell(key_slot), None, value)? {
            Find::Entry(_) | Find::Absent => Ok(()),
            Find::WrongKind => Err(wrong_key()),
            Find::NeedsText => {
                let root = s.instance().keep(value);
                let (text, s) = key_text(s, map_slot, key_slot)?;
                let value = s.instance().release(root);
                let m = s.cell(map_slot).as_ptr::<MapObject>();
                map::set(&mut s.instance().heap, m, s.cell(key_slot), text, value)?;
                Ok(())
            }
            Find::NeedsProtocol => {
                let root = s.instance().keep(value);
                let (entry, hash, s) = search_protocol(s, map_slot, key_slot)?;
                let (text, s) = if entry.is_none() { key_text(s, map_slot, key_slot)? } else { (None, s) };
                let value = s.instance().release(root);
                let heap = &mut s.instance().heap;
                let m = s.cell(map_slot).as_ptr::<MapObject>();
                match entry {
                    Some(entry) => map::set_value_at(heap, m, entry, value),
                    None => {
                        map::insert_hashed(heap, m, s.cell(key_slot), hash, value, text)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Removes a key where it is present.
unsafe fn remove(s: Site, map_slot: u16, key_slot: u16) -> Result<(), Trap> {
    // SAFETY: operands are live; after calls they are read again.
    unsafe {
        match map::remove(&mut s.instance().heap, s.cell(map_slot).as_ptr(), s.cell(key_slot), None) {
            Find::NeedsText => {
                let (text, s) = key_text(s, map_slot, key_slot)?;
                map::remove(&mut s.instance().heap, s.cell(map_slot).as_ptr(), s.cell(key_slot), text);
            }
            Find::NeedsProtocol => {
                let (entry, hash, s) = search_protocol(s, map_slot, key_slot)?;
                if let Some(entry) = entry {
                    map::remove_hashed(&mut s.instance().heap, s.cell(map_slot).as_ptr(), entry, hash);
                }
            }
            Find::Entry(_) | Find::Absent | Find::WrongKind => {}
        }
        Ok(())
    }
}
