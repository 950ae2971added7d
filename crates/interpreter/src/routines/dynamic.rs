//! Dynamic operations on cells: the fast paths that policies allow, and the way to the protocol for everything else.

use std::cmp::Ordering;

use upshift_bytecode::{Kind, NumberPolicy, Protocol, TrapCode, ValueType};
use upshift_runtime::check::{self, Store};
use upshift_runtime::context::Status;
use upshift_runtime::feedback::{Feedback, FieldSlot, MEGAMORPHIC, OVERFLOW, SLOW};
use upshift_runtime::frame::{LONG, SPECIAL};
use upshift_runtime::linked::LONG_CALL;
use upshift_runtime::map::Find;
use upshift_runtime::object::{List, ObjectKind, Record};
use upshift_runtime::value::Value;
use upshift_runtime::{list, record, scalar, string};

use super::data::{search, store};
use super::{Site, attempt, routines};
use crate::routines::protocol;

type P = NumberPolicy;

/// What a fast path came to.
enum Fast {
    Int(i64),
    Float(f64),
    /// The first operand's text, then the second's.
    Joined,
    Overflow,
    Leave,
}

/// An int result under the policy's overflow rule; `exact` is `None` where it left 64 bits, `wrapped` its low bits.
#[inline(always)]
fn int_result(policy: P, exact: Option<i64>, wrapped: i64) -> Fast {
    if policy.has(P::WRAP32) {
        return Fast::Int(i64::from(wrapped as i32));
    }
    match exact {
        Some(v) => Fast::Int(v),
        None if policy.has(P::WRAP64) => Fast::Int(wrapped),
        None => Fast::Overflow,
    }
}

/// Both operands as floats, where the policy allows it.
#[inline(always)]
fn floats(policy: P, a: Value, b: Value) -> Option<(f64, f64)> {
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => Some((x, y)),
        (Some(x), None) if policy.has(P::PROMOTE) => Some((x, b.as_int()? as f64)),
        (None, Some(y)) if policy.has(P::PROMOTE) => Some((a.as_int()? as f64, y)),
        _ => None,
    }
}

fn add(policy: P, a: Value, b: Value) -> Fast {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return int_result(policy, x.checked_add(y), x.wrapping_add(y));
    }
    if are_texts(policy, a, b) {
        return Fast::Joined;
    }
    floats(policy, a, b).map_or(Fast::Leave, |(x, y)| Fast::Float(scalar::float_add(x, y)))
}

/// Whether both are strings that the policy lets be joined and compared at once. Work on longer ones is for the language to charge.
fn are_texts(policy: P, a: Value, b: Value) -> bool {
    const LONGEST: usize = 256;
    // SAFETY: both are live strings.
    let len = |text: Value| unsafe { string::byte_len(text) };
    policy.has(P::TEXTS) && a.is_string() && b.is_string() && len(a).max(len(b)) <= LONGEST
}

fn sub(policy: P, a: Value, b: Value) -> Fast {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return int_result(policy, x.checked_sub(y), x.wrapping_sub(y));
    }
    floats(policy, a, b).map_or(Fast::Leave, |(x, y)| Fast::Float(scalar::float_sub(x, y)))
}

fn mul(policy: P, a: Value, b: Value) -> Fast {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return int_result(policy, x.checked_mul(y), x.wrapping_mul(y));
    }
    floats(policy, a, b).map_or(Fast::Leave, |(x, y)| Fast::Float(scalar::float_mul(x, y)))
}

fn div(policy: P, a: Value, b: Value) -> Fast {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        if y == 0 || !policy.has(P::INT_DIV) {
            return Fast::Leave;
        }
        return int_result(policy, x.checked_div(y), x.wrapping_div(y));
    }
    match floats(policy, a, b) {
        Some((_, y)) if y == 0.0 && policy.has(P::FLOAT_DIV_CHECKED) => Fast::Leave,
        Some((x, y)) => Fast::Float(scalar::float_div(x, y)),
        None => Fast::Leave,
    }
}

fn rem(policy: P, a: Value, b: Value) -> Fast {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return if y == 0 {
            Fast::Leave
        } else {
            int_result(policy, Some(x.wrapping_rem(y)), x.wrapping_rem(y))
        };
    }
    match floats(policy, a, b) {
        Some((_, y)) if y == 0.0 && policy.has(P::FLOAT_DIV_CHECKED) => Fast::Leave,
        Some((x, y)) => Fast::Float(scalar::float_rem(x, y)),
        None => Fast::Leave,
    }
}

/// Whether both are equal; `None` leaves the fast path.
fn equal(policy: P, a: Value, b: Value) -> Option<bool> {
    let (ka, kb) = (a.kind(), b.kind());
    match (ka, kb) {
        (Kind::Int, Kind::Int) => Some(a.identical(b)),
        (Kind::Float, Kind::Float) => Some(a.float_of() == b.float_of()),
        (Kind::Int, Kind::Float) | (Kind::Float, Kind::Int) => {
            if !policy.has(P::NUMERIC_EQUAL) {
                return Some(false);
            }
            let (i, x) =
                if ka == Kind::Int { (a.as_int()?, b.float_of()) } else { (b.as_int()?, a.float_of()) };
            Some(scalar::int_cmp_float(i, x) == Some(Ordering::Equal))
        }
        // SAFETY: both are live strings.
        (Kind::String, Kind::String) => Some(unsafe { string::equal(a, b) }),
        (Kind::Nil | Kind::Bool | Kind::Name, Kind::Nil | Kind::Bool | Kind::Name) => Some(a == b),
        _ if policy.has(P::KINDS_DIFFER) && ka != kb && is_plain(ka) && is_plain(kb) => Some(false),
        _ => None,
    }
}

/// Whether values of the kind are told apart from those of other kinds by the policy alone.
fn is_plain(kind: Kind) -> bool {
    matches!(kind, Kind::Nil | Kind::Bool | Kind::Int | Kind::Float | Kind::Name | Kind::String)
}

fn less(policy: P, a: Value, b: Value, or_equal: bool) -> Option<bool> {
    let holds = |order: Option<Ordering>| {
        order.is_some_and(|order| if or_equal { order.is_le() } else { order.is_lt() })
    };
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return Some(if or_equal { x <= y } else { x < y });
    }
    if are_texts(policy, a, b) {
        // SAFETY: both are live strings.
        return Some(holds(Some(unsafe { string::compare(a, b) })));
    }
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => Some(if or_equal { x <= y } else { x < y }),
        (Some(x), None) if policy.has(P::PROMOTE) => {
            Some(holds(scalar::int_cmp_float(b.as_int()?, x).map(Ordering::reverse)))
        }
        (None, Some(y)) if policy.has(P::PROMOTE) => Some(holds(scalar::int_cmp_float(a.as_int()?, y))),
        _ => None,
    }
}

unsafe fn feedback_at<'a>(s: Site, site: u32) -> &'a mut Feedback {
    // SAFETY: the linker numbered the site, and the instance has it.
    unsafe { &mut *(*s.ctx).feedback.add(site as usize) }
}

/// Stores a fast result, or goes to the protocol.
unsafe fn finish(
    s: Site,
    fast: Fast,
    policy: P,
    site: u32,
    what: Protocol,
    args: &[Value],
    flags: u64,
) -> Status {
    // SAFETY: verified destinations.
    unsafe {
        let dst = s.word().a();
        match fast {
            Fast::Int(i) => {
                let value = attempt!(s, s.instance().heap.box_int(i));
                s.set_cell(dst, value);
                return Status::Continue;
            }
            Fast::Float(x) => {
                s.set_cell(dst, Value::float(x));
                return Status::Continue;
            }
            Fast::Joined => {
                let value = attempt!(s, string::concat(&mut s.instance().heap, args[0], args[1]));
                s.set_cell(dst, value);
                return Status::Continue;
            }
            Fast::Overflow => {
                feedback_at(s, site).flags |= OVERFLOW;
                if policy.has(P::OVERFLOW_TRAPS) {
                    return s.code(TrapCode::IntegerOverflow);
                }
            }
            Fast::Leave => {}
        }
        feedback_at(s, site).flags |= SLOW;
        protocol(s, what, args, 2, flags)
    }
}

macro_rules! arithmetic {
    ($($(#[$doc:meta])* $name:ident $f:ident $what:ident;)*) => {routines! {$(
        $(#[$doc])*
        $name |s| {
            s.safepoint();
            let (w, second) = (s.word(), s.second());
            let policy = NumberPolicy(second.op() & !LONG_CALL);
            let (a, b) = (s.cell(w.b()), s.cell(w.c()));
            feedback_at(s, second.wide()).see(a, b);
            finish(s, $f(policy, a, b), policy, second.wide(), Protocol::$what, &[a, b], 0)
        }
    )*}};
}
arithmetic! {
    /// `cell.add`.
    cell_add add Add;
    /// `cell.sub`.
    cell_sub sub Sub;
    /// `cell.mul`.
    cell_mul mul Mul;
    /// `cell.div`.
    cell_div div Div;
    /// `cell.rem`.
    cell_rem rem Rem;
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $what:ident $flags:expr, $negate:literal, |$policy:ident, $a:ident, $b:ident| $e:expr;)*) => {routines! {$(
        $(#[$doc])*
        $name |s| {
            let (w, second) = (s.word(), s.second());
            let $policy = NumberPolicy(second.op() & !LONG_CALL);
            let ($a, $b) = (s.cell(w.b()), s.cell(w.c()));
            feedback_at(s, second.wide()).see($a, $b);
            match $e {
                Some(yes) => {
                    s.set_int(w.a(), i64::from(yes != $negate));
                    Status::Continue
                }
                None => {
                    feedback_at(s, second.wide()).flags |= SLOW;
                    protocol(s, Protocol::$what, &[$a, $b], 2, $flags)
                }
            }
        }
    )*}};
}
comparisons! {
    /// `cell.eq`.
    cell_eq Equal 0, false, |policy, a, b| equal(policy, a, b);
    /// `cell.ne`: the answer to `equal` is turned around by the return.
    cell_ne Equal SPECIAL | LONG, true, |policy, a, b| equal(policy, a, b);
    /// `cell.lt`.
    cell_lt Less 0, false, |policy, a, b| less(policy, a, b, false);
    /// `cell.le`.
    cell_le LessEqual 0, false, |policy, a, b| less(policy, a, b, true);
}

/// Where an element stands; `None` leaves the fast path.
fn position(policy: P, i: i64, len: usize) -> Option<i64> {
    let i = if i < 0 && policy.has(P::RELATIVE_INDEX) { i.wrapping_add(len as i64) } else { i };
    (i >= 0 && (i as u64) < len as u64).then_some(i)
}

/// How field access of a shape goes: the slot and what is there.
fn field_slot(instance: &upshift_runtime::instance::Instance, shape: u32, name: Value) -> Option<FieldSlot> {
    // SAFETY: names of fields are string constants.
    let name = unsafe { string::text(&name) };
    let field = instance.heap.shapes.get(shape)?.field(name)?;
    let kind = match field.ty {
        ValueType::Cell(c) if c.id.0 == 0 => 0,
        ValueType::Int => 1,
        ValueType::Bool => 2,
        ValueType::Float => 3,
        ValueType::Cell(_) => 4,
    };
    Some(FieldSlot { slot: field.slot as u16, kind })
}

/// The field of a record at a site: from the cache, or looked up and cached.
unsafe fn cached_field(s: Site, object: Value, name: u32, site: u32) -> Option<FieldSlot> {
    // SAFETY: the object is a live record, the site exists.
    unsafe {
        let shape = (*object.as_object_unchecked()).meta;
        let feedback = feedback_at(s, site);
        if let Some(i) = feedback.find(shape) {
            return Some(feedback.slots[i]);
        }
        let slot = field_slot(s.instance(), shape, *(*s.ctx).constants.add(name as usize))?;
        if feedback.flags & MEGAMORPHIC == 0 {
            feedback.remember(shape, slot);
        }
        Some(slot)
    }
}

routines! {
    /// `cell.neg`.
    cell_neg |s| {
        s.safepoint();
        let (w, second) = (s.word(), s.second());
        let policy = NumberPolicy(w.c());
        let a = s.cell(w.b());
        let site = second.low();
        feedback_at(s, site).see_one(a);
        let fast = if let Some(i) = a.as_int() {
            int_result(policy, i.checked_neg(), i.wrapping_neg())
        } else if let Some(x) = a.as_float() {
            Fast::Float(scalar::float_neg(x))
        } else {
            Fast::Leave
        };
        finish(s, fast, policy, site, Protocol::Neg, &[a], SPECIAL | LONG)
    }

    /// `cell.index_get`.
    cell_index_get |s| {
        s.safepoint();
        let (w, second) = (s.word(), s.second());
        let policy = NumberPolicy(second.op() & !LONG_CALL);
        let (object, key) = (s.cell(w.b()), s.cell(w.c()));
        let site = second.wide();
        feedback_at(s, site).see(object, key);
        match object.object_kind() {
            Some(kind) if list::is_list_kind(kind) => {
                let l = object.as_ptr::<List>();
                if let Some(i) = key.as_int().and_then(|i| position(policy, i, (*l).len)) {
                    let heap = &mut s.instance().heap;
                    if let Some(value) = attempt!(s, list::get_boxed(heap, l, i)) {
                        s.set_cell(w.a(), value);
                        return Status::Continue;
                    }
                }
            }
            Some(ObjectKind::Map) if matches!(key.kind(), Kind::Int | Kind::String | Kind::Name | Kind::Bool) => {
                match upshift_runtime::map::get(&mut s.instance().heap, object.as_ptr(), key, None) {
                    (Find::Entry(_), value) => {
                        s.set_cell(w.a(), value);
                        return Status::Continue;
                    }
                    (Find::Absent, _) if policy.has(P::ABSENT_IS_NIL) => {
                        s.set_cell(w.a(), Value::NIL);
                        return Status::Continue;
                    }
                    _ => {}
                }
            }
            Some(ObjectKind::Map)
                if policy.has(P::ABSENT_IS_NIL) || s.instance().protocol(&*s.entry, Protocol::IndexGet).is_null() =>
            {
                let (found, s) = attempt!(s, search(s, w.b(), w.c()));
                match found {
                    Find::Entry(entry) => {
                        s.set_cell(w.a(), upshift_runtime::map::value_at(s.cell(w.b()).as_ptr(), entry));
                        return Status::Continue;
                    }
                    Find::Absent if policy.has(P::ABSENT_IS_NIL) => {
                        s.set_cell(w.a(), Value::NIL);
                        return Status::Continue;
                    }
                    Find::Absent => return s.code(TrapCode::MissingKey),
                    _ => {}
                }
            }
            _ if object.is_string() => {
                if let Some(i) = key.as_int().and_then(|i| position(policy, i, string::len(object)))
                    && let Some(value) = string::get(&mut s.instance().heap, object, i)
                {
                    s.set_cell(w.a(), value);
                    return Status::Continue;
                }
            }
            _ => {}
        }
        feedback_at(s, site).flags |= SLOW;
        protocol(s, Protocol::IndexGet, &[object, key], 2, 0)
    }

    /// `cell.index_set`.
    cell_index_set |s| {
        s.safepoint();
        let (w, second) = (s.word(), s.second());
        let policy = NumberPolicy(second.op() & !LONG_CALL);
        let (object, key, value) = (s.cell(w.a()), s.cell(w.b()), s.cell(w.c()));
        let site = second.wide();
        feedback_at(s, site).see(object, key);
        match object.object_kind() {
            Some(kind) if list::is_list_kind(kind) => {
                let l = object.as_ptr::<List>();
                if let Some(i) = key.as_int().and_then(|i| position(policy, i, (*l).len)) {
                    let instance = s.instance();
                    let heap = instance.heap.shared();
                    if check::list_set(instance, heap, object, i, value) == Store::Done {
                        return Status::Continue;
                    }
                }
            }
            Some(ObjectKind::Map)
                if matches!(key.kind(), Kind::Int | Kind::String | Kind::Name | Kind::Bool)
                    && check::element_fits(s.instance(), object, value) =>
            {
                let heap = &mut s.instance().heap;
                let set = upshift_runtime::map::set(heap, object.as_ptr(), key, None, value);
                if let Find::Entry(_) | Find::Absent = attempt!(s, set) {
                    return Status::Continue;
                }
            }
            Some(ObjectKind::Map)
                if s.instance().protocol(&*s.entry, Protocol::IndexSet).is_null()
                    && check::element_fits(s.instance(), object, value) =>
            {
                return match store(s, w.a(), w.b(), value) {
                    Ok(()) => Status::Continue,
                    Err(trap) => s.trap(trap),
                };
            }
            _ => {}
        }
        feedback_at(s, site).flags |= SLOW;
        protocol(s, Protocol::IndexSet, &[object, key, value], 2, 0)
    }

    /// `cell.field_get`.
    cell_field_get |s| {
        s.safepoint();
        let (w, second) = (s.word(), s.second());
        let object = s.cell(w.b());
        let (name, site) = (second.low(), second.wide());
        feedback_at(s, site).see_one(object);
        if object.is_object_of(ObjectKind::Record)
            && let Some(field) = cached_field(s, object, name, site)
        {
            let bits = *Record::field::<u64>(object.as_ptr(), field.slot as usize);
            let value = match field.kind {
                1 => attempt!(s, s.instance().heap.box_int(bits as i64)),
                2 => Value::bool(bits != 0),
                3 => Value::float(f64::from_bits(bits)),
                _ => Value::from_bits(bits),
            };
            s.set_cell(w.a(), value);
            return Status::Continue;
        }
        let (policy, name) = (NumberPolicy(w.c()), *(*s.ctx).constants.add(name as usize));
        if object.is_object_of(ObjectKind::Map)
            && policy.has(P::FIELDS_ARE_ENTRIES)
            && let Some(value) = upshift_runtime::map::field(object.as_ptr(), name)
            && (!value.is_nil() || policy.has(P::ABSENT_IS_NIL))
        {
            s.set_cell(w.a(), value);
            return Status::Continue;
        }
        feedback_at(s, site).flags |= SLOW;
        protocol(s, Protocol::FieldGet, &[object, name], 2, SPECIAL | LONG)
    }

    /// `cell.field_set`.
    cell_field_set |s| {
        s.safepoint();
        let (w, second) = (s.word(), s.second());
        let (object, value) = (s.cell(w.a()), s.cell(w.b()));
        let (name, site) = (second.low(), second.wide());
        feedback_at(s, site).see(object, value);
        if object.is_object_of(ObjectKind::Record)
            && let Some(field) = cached_field(s, object, name, site)
        {
            let r = object.as_ptr::<Record>();
            let slot = field.slot as usize;
            let raw = match field.kind {
                0 => {
                    record::set_cell(&mut s.instance().heap, r, slot, value);
                    return Status::Continue;
                }
                1 => value.as_int().map(|i| i as u64),
                2 => value.as_bool().map(u64::from),
                3 => value.as_float().map(f64::to_bits),
                _ => {
                    let instance = s.instance();
                    let shape = (*object.as_object_unchecked()).meta;
                    let ty = instance.heap.shapes.get(shape).and_then(|s| Some(s.field_at(field.slot)?.ty));
                    if ty.is_some_and(|ty| instance.unbox(ty, value).is_some()) {
                        record::set_cell(&mut instance.heap, r, slot, value);
                        return Status::Continue;
                    }
                    None
                }
            };
            if let Some(bits) = raw {
                *Record::field::<u64>(r, slot) = bits;
                return Status::Continue;
            }
        }
        let name = *(*s.ctx).constants.add(name as usize);
        if object.is_object_of(ObjectKind::Map)
            && NumberPolicy(w.c()).has(P::FIELDS_ARE_ENTRIES)
            && upshift_runtime::map::finds_by_text(object.as_ptr())
            && check::element_fits(s.instance(), object, value)
        {
            let set = upshift_runtime::map::set(&mut s.instance().heap, object.as_ptr(), name, None, value);
            if let Find::Entry(_) | Find::Absent = attempt!(s, set) {
                return Status::Continue;
            }
        }
        feedback_at(s, site).flags |= SLOW;
        protocol(s, Protocol::FieldSet, &[object, name, value], 2, SPECIAL | LONG)
    }
}
