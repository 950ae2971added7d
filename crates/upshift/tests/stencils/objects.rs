//! Families on objects, globals and cells: what the fast paths do, and exactly when they leave it to the slow path.
//!
//! There is no heap here: a list, its buffer and another object are laid out in the machine's memory, by the layout that
//! stencils are compiled for.

use upshift_baseline::table::{Family, Stencil, family};
use upshift_bytecode::{Immediate, Kind};
use upshift_runtime::feedback::Feedback;
use upshift_runtime::object::{ObjectKind, gc, list_bits, string_bits};
use upshift_runtime::value::{self, Value};

use crate::harness::{
    Bits, CONTEXT, Code, Exit, FEEDBACK, GLOBALS, Holes, Machine, Place, RUBBISH, SLOTS, WATCHES, layout,
};

/// Where operands in slots stand.
const A: usize = 3;
const B: usize = 7;
const D: usize = 12;
const L: usize = 20;

/// Where objects stand in memory.
const LIST: usize = 0;
const BUFFER: usize = 64;
const OBJECT: usize = 192;

/// The families that are tested here.
pub fn names() -> Vec<&'static str> {
    let names = "LIST_LEN LIST_SHARE LIST_INT_GET LIST_INT_GET_END LIST_BOOL_GET LIST_BOOL_GET_END LIST_FLOAT_GET \
        LIST_FLOAT_GET_END LIST_CELL_GET LIST_CELL_GET_END LIST_INT_SET LIST_INT_SET_END LIST_BOOL_SET LIST_BOOL_SET_END \
        LIST_FLOAT_SET LIST_FLOAT_SET_END LIST_CELL_SET LIST_INT_PUSH LIST_FLOAT_PUSH LIST_BOOL_PUSH LIST_CELL_PUSH \
        LIST_INT_APPEND LIST_FLOAT_APPEND LIST_BOOL_APPEND LIST_CELL_APPEND FIELD_INT_GET FIELD_FLOAT_GET \
        FIELD_CELL_GET FIELD_INT_SET FIELD_FLOAT_SET FIELD_CELL_SET FIELD_U16_GET FIELD_U32_GET TUPLE_SET_BITS TUPLE_GET \
        GLOBAL_INT_GET GLOBAL_FLOAT_GET GLOBAL_CELL_GET GLOBAL_INT_SET GLOBAL_FLOAT_SET WATCH_BRANCH BOX_INT BOX_BOOL \
        BOX_FLOAT UNBOX_INT UNBOX_BOOL UNBOX_FLOAT UNBOX_NUMBER CELL_ADD CELL_ADD_P CELL_SUB CELL_SUB_P CELL_MUL \
        CELL_MUL_P CELL_LT CELL_LT_P CELL_LE CELL_LE_P CELL_EQ CELL_NE CELL_EQ_K CELL_NE_K CELL_INDEX_GET CELL_FIELD_GET CHECK_RESULTS IS_BRANCH IS_HOLE_BRANCH \
        IS_NOT_BRANCH IS_NOT_HOLE_BRANCH TRUTHY_BRANCH FALSY_BRANCH ALWAYS_COLD ALLOCATE MAP_INT_GET MAP_INT_SET MAP_INT_HAS MAP_STRING_GET MAP_STRING_SET STRING_LEN STRING_GET STRING_EQ_BRANCH STRING_NE_BRANCH \
        STRING_EQ STRING_NE CLEAR_1 CLEAR_2 CLEAR_4 RESULT ADD_TO_WINDOW CELL_CALL";
    names.split_ascii_whitespace().collect()
}

const INTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    255,
    256,
    1 << 32,
    value::INT_MAX - 1,
    value::INT_MAX,
    value::INT_MAX + 1,
    value::INT_MIN + 1,
    value::INT_MIN,
    value::INT_MIN - 1,
    (1 << 48) - 1,
    1 << 48,
    i64::MAX,
    i64::MIN,
];

const FLOATS: &[u64] = &[
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x3FF8_0000_0000_0000,
    0xC340_0000_0000_0001,
    0x7FF0_0000_0000_0000,
    0xFFF0_0000_0000_0000,
    0x7FEF_FFFF_FFFF_FFFF,
    0xFFEF_FFFF_FFFF_FFFF,
    0x0000_0000_0000_0001,
    0x800F_FFFF_FFFF_FFFF,
    0x7FF8_0000_0000_0000,
    0xFFF8_0000_0000_0000,
    0x7FF0_0000_0000_0001,
    0xFFFF_FFFF_FFFF_FFFF,
];

/// Cells of all kinds, the ends of the ranges of ints, floats and addresses among them.
fn cells(m: &Machine) -> Vec<u64> {
    let ints =
        [0, 1, -1, 7, 1 << 23, 1 << 24, -(1 << 24), value::INT_MAX, value::INT_MAX - 1, value::INT_MIN];
    let floats =
        [0.0, -0.0, 1.5, -7.0, 1e308, -1e308, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let others = [Value::HOLE, Value::NIL, Value::FALSE, Value::TRUE, Value::NONE, Value::MANY]
        .into_iter()
        .chain([Value::name(0, 3), Value::EMPTY_STRING, Value::short_string(b"abc").expect("short")]);
    let objects = [m.address(OBJECT), m.address(LIST), 8, value::ADDRESS_END - 8];
    let ints = ints.into_iter().map(Value::small_int_unchecked);
    let cells = ints.chain(floats.into_iter().map(Value::float)).chain(others).map(Value::bits);
    cells.chain(objects).collect()
}

/// Lays a header out.
fn header(m: &mut Machine, at: usize, kind: ObjectKind, gc: u8, bits: u16) {
    m.base.set(Place::word(at), 0xABCD_1234_0000_0000);
    m.base.set(Place::Memory(at + layout("HEADER_KIND"), 1), kind as u64);
    m.base.set(Place::Memory(at + layout("HEADER_GC"), 1), u64::from(gc));
    m.base.set(Place::Memory(at + layout("HEADER_BITS"), 2), u64::from(bits));
}

/// Lays a list out, which slot L refers to; its elements keep the bits that are in memory.
fn list(m: &mut Machine, kind: ObjectKind, len: usize, capacity: usize) {
    header(m, LIST, kind, gc::OLD, !list_bits::SHARED);
    m.base.set(Place::word(LIST + layout("LIST_LEN")), len as u64);
    let (buffer, address) = (m.address(BUFFER), m.address(LIST));
    m.base.set(Place::word(LIST + layout("LIST_BUFFER")), buffer);
    header(m, BUFFER, ObjectKind::RawBuffer, !gc::BARRIER, 0);
    m.base.set(Place::word(BUFFER + layout("BUFFER_CAPACITY")), capacity as u64);
    m.base.set(Place::Slot(L), address);
}

/// Where an element is.
fn element(index: usize, size: usize) -> Place {
    Place::Memory(BUFFER + layout("BUFFER_DATA") + index * size, size)
}

/// Positions around the ends of a list, and those whose byte offset is that of others.
fn positions(len: usize) -> Vec<i64> {
    let n = len as i64;
    let mut all = vec![-n - 1, -n, 1 - n, -2, -1, 0, 1, n - 1, n, n + 1];
    all.extend([1 << 32, 1 << 61, (1 << 61) + 1, -(1 << 61), i64::MAX, i64::MIN, i64::MIN + n]);
    all.sort_unstable();
    all.dedup();
    all
}

/// Which element a position names: from the front, or, in the companions that the slow path asks, from the end alone.
fn resolve(position: i64, len: usize, from_end: bool) -> Option<usize> {
    let at = match (from_end, position < 0) {
        (false, _) => i128::from(position),
        (true, true) => i128::from(position) + len as i128,
        (true, false) => return None,
    };
    usize::try_from(at).ok().filter(|&at| at < len)
}

/// What stands in for another stencil in a slow path has no slow path of its own beside the way out: only its hot part is
/// copied there.
fn companion(name: &str, stencil: Stencil) {
    let (code, hot) = stencil.code();
    assert!(!name.ends_with("_END") || hot == code.len(), "{name} has a cold part");
}

/// Reads of elements of a size into a place, by all positions.
fn gets(m: &mut Machine, name: &str, stencil: Stencil, holes: Holes, index: Place, size: usize, dst: Place) {
    companion(name, stencil);
    let code = m.place(stencil, &holes);
    for len in [0, 1, 5] {
        m.base.set(Place::word(LIST + layout("LIST_LEN")), len as u64);
        for position in positions(len) {
            let inputs = [(index, position as u64)];
            let what = || format!("{name} {position} of {len}");
            match resolve(position, len, name.ends_with("_END")) {
                Some(at) => {
                    let value = m.base.get(element(at, size));
                    m.check(code, &inputs, Exit::Next, &[(dst, Bits::Are(value))], what);
                }
                None => m.check(code, &inputs, Exit::Cold, &[], what),
            }
        }
    }
}

#[test]
fn lists_are_read() {
    let mut m = Machine::new();
    list(&mut m, ObjectKind::ListInt, 5, 5);
    for len in [0, 1, 5, 1 << 40] {
        for d in 0..6 {
            let code = m.place(family::LIST_LEN.at([d]), &Holes::slots([D, L, D]));
            m.base.set(Place::word(LIST + layout("LIST_LEN")), len);
            m.check(code, &[], Exit::Next, &[(Place::Int(d), Bits::Are(len))], || "LIST_LEN".into());
        }
    }
    m.covered("LIST_LEN", 6);
    let holes = Holes::slots([D, L, A]);
    let ints = [
        ("LIST_INT_GET", family::LIST_INT_GET, 8),
        ("LIST_INT_GET_END", family::LIST_INT_GET_END, 8),
        ("LIST_BOOL_GET", family::LIST_BOOL_GET, 1),
        ("LIST_BOOL_GET_END", family::LIST_BOOL_GET_END, 1),
    ];
    for (name, family, size) in ints {
        for d in 0..6 {
            for i in 0..7 {
                gets(&mut m, name, family.at([d, i]), holes, Place::int(i, A), size, Place::Int(d));
            }
        }
        m.covered(name, 6 * 7);
    }
    let floats =
        [("LIST_FLOAT_GET", family::LIST_FLOAT_GET), ("LIST_FLOAT_GET_END", family::LIST_FLOAT_GET_END)];
    for (name, family) in floats {
        for e in 0..8 {
            for i in 0..7 {
                gets(&mut m, name, family.at([e, i]), holes, Place::int(i, A), 8, Place::Float(e));
            }
        }
        m.covered(name, 8 * 7);
    }
    for (name, family) in
        [("LIST_CELL_GET", family::LIST_CELL_GET), ("LIST_CELL_GET_END", family::LIST_CELL_GET_END)]
    {
        for i in 0..7 {
            gets(&mut m, name, family.at([i]), holes, Place::int(i, A), 8, Place::Slot(D));
            // The element takes the list's place.
            gets(&mut m, name, family.at([i]), Holes::slots([L, L, A]), Place::int(i, A), 8, Place::Slot(L));
        }
        m.covered(name, 7);
    }
}

#[test]
fn tuples_are_read() {
    let mut m = Machine::new();
    header(&mut m, OBJECT, ObjectKind::Tuple, gc::OLD | gc::BARRIER, 0);
    let address = m.address(OBJECT);
    m.base.set(Place::Slot(L), address);
    for dst in [D, L] {
        for i in 0..7 {
            let code = m.place(family::TUPLE_GET.at([i]), &Holes::slots([dst, L, A]));
            for len in [0, 1, 5] {
                // What stands behind the length is none of it.
                m.base.set(Place::word(OBJECT + layout("TUPLE_LENGTH")), 0xFFFF_FFFF_0000_0000 | len as u64);
                for position in positions(len) {
                    let inputs = [(Place::int(i, A), position as u64)];
                    let what = || format!("TUPLE_GET {position} of {len}");
                    match resolve(position, len, false) {
                        Some(at) => {
                            let value = m.base.get(Place::word(OBJECT + layout("TUPLE_CELLS") + at * 8));
                            let writes = [(Place::Slot(dst), Bits::Are(value))];
                            m.check(code, &inputs, Exit::Next, &writes, what);
                        }
                        None => m.check(code, &inputs, Exit::Cold, &[], what),
                    }
                }
            }
        }
    }
    m.covered("TUPLE_GET", 7);
}

/// Writes of elements of a size: the values to write, and what becomes of them.
struct Sets {
    size: usize,
    values: Vec<u64>,
    stored: fn(u64) -> u64,
}

impl Sets {
    fn ints() -> Sets {
        Sets { size: 8, values: INTS.iter().map(|&i| i as u64).collect(), stored: |v| v }
    }
    fn floats() -> Sets {
        Sets { size: 8, values: FLOATS.to_vec(), stored: |v| v }
    }
    fn bools() -> Sets {
        Sets { size: 1, values: INTS.iter().map(|&i| i as u64).collect(), stored: |v| u64::from(v != 0) }
    }
    fn cells(m: &Machine) -> Sets {
        Sets { size: 8, values: cells(m), stored: |v| v }
    }

    /// Writes at all positions.
    fn set(&self, m: &mut Machine, name: &str, code: Code, index: Place, value: Place) {
        for len in [0, 1, 5] {
            m.base.set(Place::word(LIST + layout("LIST_LEN")), len as u64);
            for position in positions(len) {
                for &v in &self.values {
                    // In one place the value is the position.
                    let v = if index == value { position as u64 } else { v };
                    let inputs = [(index, position as u64), (value, v)];
                    let what = || format!("{name} {position} of {len}");
                    match resolve(position, len, name.ends_with("_END")) {
                        Some(at) => {
                            let writes = [(element(at, self.size), Bits::Are((self.stored)(v)))];
                            m.check(code, &inputs, Exit::Next, &writes, what);
                        }
                        None => m.check(code, &inputs, Exit::Cold, &[], what),
                    }
                }
            }
        }
    }

    /// Appends at all lengths up to the capacity. `result` is where the list goes, for `append`.
    fn grow(&self, m: &mut Machine, name: &str, code: Code, value: Place, result: Option<usize>) {
        let (list, list_bits) = (m.address(LIST), Place::Memory(LIST + layout("HEADER_BITS"), 2));
        for len in 0..=4 {
            m.base.set(Place::word(LIST + layout("LIST_LEN")), len as u64);
            for &v in &self.values {
                let inputs = [(value, v)];
                let what = || format!("{name} to {len} of 4");
                if len == 4 {
                    m.check(code, &inputs, Exit::Cold, &[], what);
                    continue;
                }
                let mut writes = vec![
                    (element(len, self.size), Bits::Are((self.stored)(v))),
                    (Place::word(LIST + layout("LIST_LEN")), Bits::Are(len as u64 + 1)),
                ];
                writes.extend(result.map(|slot| (Place::Slot(slot), Bits::Are(list))));
                m.check(code, &inputs, Exit::Next, &writes, what);
            }
            // A shared list is copied by `append`; `push` does not look.
            if result.is_some() {
                let inputs = [(value, self.values[0]), (list_bits, u64::from(list_bits::SHARED))];
                m.check(code, &inputs, Exit::Cold, &[], || format!("{name} to a shared list"));
            }
        }
    }
}

#[test]
fn lists_are_written() {
    let mut m = Machine::new();
    list(&mut m, ObjectKind::ListInt, 5, 5);
    let ints = [
        ("LIST_INT_SET", family::LIST_INT_SET, Sets::ints()),
        ("LIST_INT_SET_END", family::LIST_INT_SET_END, Sets::ints()),
        ("LIST_BOOL_SET", family::LIST_BOOL_SET, Sets::bools()),
        ("LIST_BOOL_SET_END", family::LIST_BOOL_SET_END, Sets::bools()),
    ];
    for (name, family, sets) in ints {
        for i in 0..7 {
            for v in 0..7 {
                let (index, value) = (Place::int(i, A), Place::int(v, B));
                companion(name, family.at([i, v]));
                let code = m.place(family.at([i, v]), &Holes::slots([L, A, B]));
                sets.set(&mut m, name, code, index, value);
            }
        }
        let code = m.place(family.at([0, 0]), &Holes::slots([L, A, A]));
        sets.set(&mut m, name, code, Place::Slot(A), Place::Slot(A));
        m.covered(name, 7 * 7);
    }
    let floats =
        [("LIST_FLOAT_SET", family::LIST_FLOAT_SET), ("LIST_FLOAT_SET_END", family::LIST_FLOAT_SET_END)];
    for (name, family) in floats {
        for i in 0..7 {
            for x in 0..9 {
                companion(name, family.at([i, x]));
                let code = m.place(family.at([i, x]), &Holes::slots([L, A, B]));
                Sets::floats().set(&mut m, name, code, Place::int(i, A), Place::float(x, B));
            }
        }
        m.covered(name, 7 * 9);
    }
    let sets = Sets::cells(&m);
    for i in 0..7 {
        let code = m.place(family::LIST_CELL_SET.at([i]), &Holes::slots([L, A, B]));
        header(&mut m, BUFFER, ObjectKind::CellBuffer, !gc::BARRIER, 0);
        sets.set(&mut m, "LIST_CELL_SET", code, Place::int(i, A), Place::Slot(B));
        // The barrier's bit: the collector has to hear of it.
        header(&mut m, BUFFER, ObjectKind::CellBuffer, gc::BARRIER, 0);
        for position in positions(5) {
            let inputs = [(Place::int(i, A), position as u64)];
            m.check(code, &inputs, Exit::Cold, &[], || "LIST_CELL_SET with the barrier".into());
        }
    }
    m.covered("LIST_CELL_SET", 7);
}

#[test]
fn lists_grow() {
    let mut m = Machine::new();
    list(&mut m, ObjectKind::ListInt, 0, 4);
    for (name, family, sets) in [
        ("LIST_INT_PUSH", family::LIST_INT_PUSH, Sets::ints()),
        ("LIST_BOOL_PUSH", family::LIST_BOOL_PUSH, Sets::bools()),
    ] {
        for v in 0..7 {
            let code = m.place(family.at([v]), &Holes::slots([L, A, D]));
            sets.grow(&mut m, name, code, Place::int(v, A), None);
        }
        m.covered(name, 7);
    }
    for x in 0..9 {
        let code = m.place(family::LIST_FLOAT_PUSH.at([x]), &Holes::slots([L, A, D]));
        Sets::floats().grow(&mut m, "LIST_FLOAT_PUSH", code, Place::float(x, A), None);
    }
    m.covered("LIST_FLOAT_PUSH", 9);
    for (name, family, sets) in [
        ("LIST_INT_APPEND", family::LIST_INT_APPEND, Sets::ints()),
        ("LIST_BOOL_APPEND", family::LIST_BOOL_APPEND, Sets::bools()),
    ] {
        for v in 0..7 {
            // The result may take the list's place.
            for dst in [D, L] {
                let code = m.place(family.at([v]), &Holes::slots([dst, A, L]));
                sets.grow(&mut m, name, code, Place::int(v, A), Some(dst));
            }
        }
        m.covered(name, 7);
    }
    for x in 0..9 {
        for dst in [D, L] {
            let code = m.place(family::LIST_FLOAT_APPEND.at([x]), &Holes::slots([dst, A, L]));
            Sets::floats().grow(&mut m, "LIST_FLOAT_APPEND", code, Place::float(x, A), Some(dst));
        }
    }
    m.covered("LIST_FLOAT_APPEND", 9);
    let sets = Sets::cells(&m);
    let push = m.place(family::LIST_CELL_PUSH.at([]), &Holes::slots([L, A, D]));
    header(&mut m, BUFFER, ObjectKind::CellBuffer, !gc::BARRIER, 0);
    sets.grow(&mut m, "LIST_CELL_PUSH", push, Place::Slot(A), None);
    for dst in [D, L, A] {
        let append = m.place(family::LIST_CELL_APPEND.at([]), &Holes::slots([dst, L, A]));
        header(&mut m, BUFFER, ObjectKind::CellBuffer, !gc::BARRIER, 0);
        sets.grow(&mut m, "LIST_CELL_APPEND", append, Place::Slot(A), Some(dst));
        header(&mut m, BUFFER, ObjectKind::CellBuffer, gc::BARRIER, 0);
        for len in 0..=4 {
            m.base.set(Place::word(LIST + layout("LIST_LEN")), len);
            m.check(push, &[], Exit::Cold, &[], || "LIST_CELL_PUSH with the barrier".into());
            m.check(append, &[], Exit::Cold, &[], || "LIST_CELL_APPEND with the barrier".into());
        }
    }
    m.covered("LIST_CELL_PUSH", 1);
    m.covered("LIST_CELL_APPEND", 1);
}

#[test]
fn lists_are_marked_as_shared() {
    let mut m = Machine::new();
    let code = m.place(family::LIST_SHARE.at([]), &Holes::slots([L, D, D]));
    let bits = Place::Memory(OBJECT + layout("HEADER_BITS"), 2);
    let address = m.address(OBJECT);
    for &kind in ObjectKind::ALL {
        let is_list = matches!(
            kind,
            ObjectKind::ListInt | ObjectKind::ListFloat | ObjectKind::ListBool | ObjectKind::ListCell
        );
        for before in [0, list_bits::SHARED, !list_bits::SHARED, 0xFFFF] {
            header(&mut m, OBJECT, kind, gc::OLD, before);
            let after = if is_list { before | list_bits::SHARED } else { before };
            let (inputs, writes) = ([(Place::Slot(L), address)], [(bits, Bits::Are(u64::from(after)))]);
            m.check(code, &inputs, Exit::Next, &writes, || format!("LIST_SHARE of a {kind:?}"));
        }
    }
    // What is no object is not looked at.
    for cell in cells(&m).into_iter().filter(|&c| !Value::from_bits(c).is_object()) {
        m.check(code, &[(Place::Slot(L), cell)], Exit::Next, &[], || "LIST_SHARE".into());
    }
    m.covered("LIST_SHARE", 1);
}

#[test]
fn raw_fields() {
    let mut m = Machine::new();
    header(&mut m, OBJECT, ObjectKind::Record, gc::BARRIER, 0x8421);
    let address = m.address(OBJECT);
    m.base.set(Place::Slot(L), address);
    let values: Vec<u64> = INTS.iter().map(|&i| i as u64).chain(FLOATS.iter().copied()).collect();
    for offset in [8, 24, 120] {
        let field = Place::word(OBJECT + offset);
        let get = Holes::slots([D, L, D]).with(2, offset as i32);
        let set = Holes::slots([L, A, D]).with(2, offset as i32);
        let mut moves = |name: &str, stencil: Stencil, holes: &Holes, from: Place, to: Place| {
            let code = m.place(stencil, holes);
            for &value in &values {
                m.check(code, &[(from, value)], Exit::Next, &[(to, Bits::Are(value))], || name.into());
            }
        };
        for d in 0..6 {
            moves("FIELD_INT_GET", family::FIELD_INT_GET.at([d]), &get, field, Place::Int(d));
        }
        for e in 0..8 {
            moves("FIELD_FLOAT_GET", family::FIELD_FLOAT_GET.at([e]), &get, field, Place::Float(e));
        }
        for v in 0..7 {
            moves("FIELD_INT_SET", family::FIELD_INT_SET.at([v]), &set, Place::int(v, A), field);
        }
        for x in 0..9 {
            moves("FIELD_FLOAT_SET", family::FIELD_FLOAT_SET.at([x]), &set, Place::float(x, A), field);
        }
    }
    for (name, variants) in
        [("FIELD_INT_GET", 6), ("FIELD_FLOAT_GET", 8), ("FIELD_INT_SET", 7), ("FIELD_FLOAT_SET", 9)]
    {
        m.covered(name, variants);
    }
    for (name, family, size) in
        [("FIELD_U16_GET", family::FIELD_U16_GET, 2), ("FIELD_U32_GET", family::FIELD_U32_GET, 4)]
    {
        for d in 0..6 {
            for offset in [0, 4, 12] {
                let code = m.place(family.at([d]), &Holes::slots([D, L, D]).with(2, offset));
                for value in [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] {
                    let value = value & ((1 << (8 * size)) - 1);
                    let inputs = [(Place::Memory(OBJECT + offset as usize, size), value)];
                    let writes = [(Place::Int(d), Bits::Are(value))];
                    m.check(code, &inputs, Exit::Next, &writes, || format!("{name} at {offset}"));
                }
            }
        }
        m.covered(name, 6);
    }
}

#[test]
fn cell_fields_and_header_bits() {
    let mut m = Machine::new();
    header(&mut m, OBJECT, ObjectKind::Record, !gc::BARRIER, 0x8421);
    let address = m.address(OBJECT);
    m.base.set(Place::Slot(L), address);
    for offset in [8, 24, 120] {
        let field = Place::word(OBJECT + offset);
        let set = m.place(family::FIELD_CELL_SET.at([]), &Holes::slots([L, A, D]).with(2, offset as i32));
        for cell in cells(&m) {
            for dst in [D, L] {
                let holes = Holes::slots([dst, L, D]).with(2, offset as i32);
                let code = m.place(family::FIELD_CELL_GET.at([]), &holes);
                let writes = [(Place::Slot(dst), Bits::Are(cell))];
                m.check(code, &[(field, cell)], Exit::Next, &writes, || "FIELD_CELL_GET".into());
            }
            let value = (Place::Slot(A), cell);
            m.check(set, &[value], Exit::Next, &[(field, Bits::Are(cell))], || "FIELD_CELL_SET".into());
            let barrier = (Place::Memory(OBJECT + layout("HEADER_GC"), 1), u64::from(gc::BARRIER));
            m.check(set, &[value, barrier], Exit::Cold, &[], || "FIELD_CELL_SET with the barrier".into());
        }
    }
    m.covered("FIELD_CELL_GET", 1);
    m.covered("FIELD_CELL_SET", 1);
    let place = Place::Memory(OBJECT + layout("HEADER_BITS"), 2);
    for set in [0, 1, 0x7FFF, 0x8000, 0xFFFF] {
        let code = m.place(family::TUPLE_SET_BITS.at([]), &Holes::slots([L, D, D]).with(2, set));
        for before in [0, 1, 0x8421, 0xFFFF] {
            let writes = [(place, Bits::Are(before | set as u64))];
            m.check(code, &[(place, before)], Exit::Next, &writes, || format!("TUPLE_SET_BITS {set}"));
        }
    }
    m.covered("TUPLE_SET_BITS", 1);
}

#[test]
fn globals_and_watches() {
    let mut m = Machine::new();
    let global = Place::word(GLOBALS + 16);
    let holes = Holes::slots([D, A, D]).with(2, 16);
    let values: Vec<u64> = INTS.iter().map(|&i| i as u64).chain(FLOATS.iter().copied()).collect();
    let mut moves = |name: &str, stencil: Stencil, from: Place, to: Place| {
        let code = m.place(stencil, &holes);
        for &value in &values {
            m.check(code, &[(from, value)], Exit::Next, &[(to, Bits::Are(value))], || name.into());
        }
    };
    for d in 0..6 {
        moves("GLOBAL_INT_GET", family::GLOBAL_INT_GET.at([d]), global, Place::Int(d));
    }
    for e in 0..8 {
        moves("GLOBAL_FLOAT_GET", family::GLOBAL_FLOAT_GET.at([e]), global, Place::Float(e));
    }
    for v in 0..7 {
        moves("GLOBAL_INT_SET", family::GLOBAL_INT_SET.at([v]), Place::int(v, A), global);
    }
    for x in 0..9 {
        moves("GLOBAL_FLOAT_SET", family::GLOBAL_FLOAT_SET.at([x]), Place::float(x, A), global);
    }
    for (name, variants) in
        [("GLOBAL_INT_GET", 6), ("GLOBAL_FLOAT_GET", 8), ("GLOBAL_INT_SET", 7), ("GLOBAL_FLOAT_SET", 9)]
    {
        m.covered(name, variants);
    }
    let code = m.place(family::GLOBAL_CELL_GET.at([]), &holes);
    for cell in cells(&m) {
        // A hole was never set.
        if cell == Value::HOLE.bits() {
            m.check(code, &[(global, cell)], Exit::Cold, &[], || "GLOBAL_CELL_GET".into());
        } else {
            let writes = [(Place::Slot(D), Bits::Are(cell))];
            m.check(code, &[(global, cell)], Exit::Next, &writes, || "GLOBAL_CELL_GET".into());
        }
    }
    m.covered("GLOBAL_CELL_GET", 1);
    for watch in 0..4 {
        let code = m.place(family::WATCH_BRANCH.at([]), &Holes::default().with(2, watch * 4));
        for value in [0, 1, 0x8000_0000] {
            let inputs = [(Place::Memory(WATCHES + watch as usize * 4, 4), value)];
            let exit = if value == 0 { Exit::Next } else { Exit::Taken };
            m.check(code, &inputs, exit, &[], || format!("WATCH_BRANCH {watch}"));
        }
    }
    m.covered("WATCH_BRANCH", 1);
}

#[test]
fn boxes_are_made() {
    let mut m = Machine::new();
    let dst = Place::Slot(D);
    for v in 0..7 {
        let holes = Holes::slots([D, A, L]);
        let int = m.place(family::BOX_INT.at([v]), &holes);
        let bool = m.place(family::BOX_BOOL.at([v]), &holes);
        for &value in INTS {
            let inputs = [(Place::int(v, A), value as u64)];
            let what = || format!("boxing {value}");
            match Value::small_int(value) {
                Some(cell) => m.check(int, &inputs, Exit::Next, &[(dst, Bits::Are(cell.bits()))], what),
                None => m.check(int, &inputs, Exit::Cold, &[], what),
            }
            let cell = Value::bool(value != 0);
            m.check(bool, &inputs, Exit::Next, &[(dst, Bits::Are(cell.bits()))], what);
        }
    }
    for x in 0..9 {
        let code = m.place(family::BOX_FLOAT.at([x]), &Holes::slots([D, A, L]));
        for &bits in FLOATS {
            let (inputs, value) = ([(Place::float(x, A), bits)], f64::from_bits(bits));
            let what = || format!("BOX_FLOAT {value}");
            // NaN has one pattern among cells, which the slow path makes.
            if value.is_nan() {
                m.check(code, &inputs, Exit::Cold, &[], what);
            } else {
                m.check(code, &inputs, Exit::Next, &[(dst, Bits::Are(Value::float(value).bits()))], what);
            }
        }
    }
    for (name, variants) in [("BOX_INT", 7), ("BOX_BOOL", 7), ("BOX_FLOAT", 9)] {
        m.covered(name, variants);
    }
}

/// What a cell is for a stencil that takes its content out: bits, or nothing where that is the slow path's.
type Unbox = fn(Value) -> Option<u64>;

#[test]
fn boxes_are_opened() {
    let mut m = Machine::new();
    let opens = |m: &mut Machine, name: &str, stencil: Stencil, dst: Place, unbox: Unbox| {
        let code = m.place(stencil, &Holes::slots([D, A, L]));
        for cell in cells(m) {
            let inputs = [(Place::Slot(A), cell)];
            match unbox(Value::from_bits(cell)) {
                Some(bits) => m.check(code, &inputs, Exit::Next, &[(dst, Bits::Are(bits))], || name.into()),
                None => m.check(code, &inputs, Exit::Cold, &[], || name.into()),
            }
        }
    };
    let ints: [(&str, Family<1>, Unbox); 2] = [
        ("UNBOX_INT", family::UNBOX_INT, |v| v.as_small_int().map(|i| i as u64)),
        ("UNBOX_BOOL", family::UNBOX_BOOL, |v| v.as_bool().map(u64::from)),
    ];
    for (name, family, unbox) in ints {
        for d in 0..6 {
            opens(&mut m, name, family.at([d]), Place::Int(d), unbox);
        }
        m.covered(name, 6);
    }
    let floats: [(&str, Family<1>, Unbox); 2] = [
        ("UNBOX_FLOAT", family::UNBOX_FLOAT, |v| v.as_float().map(f64::to_bits)),
        ("UNBOX_NUMBER", family::UNBOX_NUMBER, |v| {
            v.as_float().or(v.as_small_int().map(|i| i as f64)).map(f64::to_bits)
        }),
    ];
    for (name, family, unbox) in floats {
        for e in 0..8 {
            opens(&mut m, name, family.at([e]), Place::Float(e), unbox);
        }
        m.covered(name, 8);
    }
}

/// The meaning of a dynamic op on small ints and on floats; what gives nothing is the slow path's.
struct Dynamic {
    name: &'static str,
    family: Family<0>,
    /// Whether an int may meet a float.
    promotes: bool,
    ints: fn(i64, i64) -> Option<u64>,
    floats: fn(f64, f64) -> Option<u64>,
}

impl Dynamic {
    /// The result, and what the site learns of both operands.
    fn answer(&self, a: Value, b: Value) -> Option<(u64, u32)> {
        const INT: u32 = 1 << Kind::Int as u32;
        const FLOAT: u32 = 1 << Kind::Float as u32;
        if let (Some(a), Some(b)) = (a.as_small_int(), b.as_small_int()) {
            return (self.ints)(a, b).map(|bits| (bits, INT | INT << 16));
        }
        let number = |v: Value| match (v.as_float(), v.as_small_int()) {
            (Some(x), _) => Some((x, FLOAT)),
            (_, Some(i)) if self.promotes => Some((i as f64, INT)),
            _ => None,
        };
        let ((x, left), (y, right)) = (number(a)?, number(b)?);
        (self.floats)(x, y).map(|bits| (bits, left | right << 16))
    }
}

#[test]
fn dynamic_ops() {
    /// An int that fits a cell.
    fn small(value: Option<i64>) -> Option<u64> {
        value.and_then(Value::small_int).map(Value::bits)
    }
    /// A float that is a number: the one NaN there is among cells is the slow path's.
    fn number(value: f64) -> Option<u64> {
        (!value.is_nan()).then(|| Value::float(value).bits())
    }
    fn yes(value: bool) -> Option<u64> {
        Some(u64::from(value))
    }
    macro_rules! ops {
        ($($family:ident $promotes:literal $ints:expr, $floats:expr;)*) => {
            [$(Dynamic {
                name: stringify!($family),
                family: family::$family,
                promotes: $promotes,
                ints: $ints,
                floats: $floats,
            }),*]
        };
    }
    let ops = ops! {
        CELL_ADD false |a, b| small(a.checked_add(b)), |x, y| number(x + y);
        CELL_ADD_P true |a, b| small(a.checked_add(b)), |x, y| number(x + y);
        CELL_SUB false |a, b| small(a.checked_sub(b)), |x, y| number(x - y);
        CELL_SUB_P true |a, b| small(a.checked_sub(b)), |x, y| number(x - y);
        CELL_MUL false |a, b| small(a.checked_mul(b)), |x, y| number(x * y);
        CELL_MUL_P true |a, b| small(a.checked_mul(b)), |x, y| number(x * y);
        CELL_LT false |a, b| yes(a < b), |x, y| yes(x < y);
        CELL_LT_P true |a, b| yes(a < b), |x, y| yes(x < y);
        CELL_LE false |a, b| yes(a <= b), |x, y| yes(x <= y);
        CELL_LE_P true |a, b| yes(a <= b), |x, y| yes(x <= y);
        CELL_EQ false |a, b| yes(a == b), |_, _| None;
        CELL_NE false |a, b| yes(a != b), |_, _| None;
    };
    let mut m = Machine::new();
    let site = Place::Memory(FEEDBACK + 8, 4);
    // Destination and operands in slots of their own, and in all ways in one.
    for [d, a, b] in [[D, A, B], [A, A, B], [B, A, B], [D, A, A], [A, A, A]] {
        for op in &ops {
            let code = m.place(op.family.at([]), &Holes::slots([d, a, b]).with(4, 8));
            for left in cells(&m) {
                for right in cells(&m) {
                    if a == b && left != right {
                        continue;
                    }
                    // The site keeps what it saw before.
                    let seen = if left < right { 0 } else { 0x0010_0020 };
                    let inputs = [(Place::Slot(a), left), (Place::Slot(b), right), (site, seen)];
                    let what = || format!("{} to slot {d}", op.name);
                    match op.answer(Value::from_bits(left), Value::from_bits(right)) {
                        Some((bits, kinds)) => {
                            let learned = (site, Bits::Are(seen | u64::from(kinds)));
                            let writes = [(Place::Slot(d), Bits::Are(bits)), learned];
                            m.check(code, &inputs, Exit::Next, &writes, what);
                        }
                        None => m.check(code, &inputs, Exit::Cold, &[], what),
                    }
                }
            }
        }
    }
    for op in &ops {
        m.covered(op.name, 1);
    }
}

#[test]
fn elements_by_position() {
    let mut m = Machine::new();
    let site = Place::Memory(FEEDBACK + 8, 4);
    let kinds = [
        ObjectKind::ListInt,
        ObjectKind::ListFloat,
        ObjectKind::ListBool,
        ObjectKind::ListCell,
        ObjectKind::Map,
        ObjectKind::Record,
        ObjectKind::String,
    ];
    for [d, o, k] in [[D, L, A], [L, L, A], [A, L, A]] {
        let code = m.place(family::CELL_INDEX_GET.at([]), &Holes::slots([d, o, k]).with(4, 8));
        for kind in kinds {
            list(&mut m, kind, 3, 3);
            let raws = INTS.iter().map(|&i| i as u64).chain(FLOATS.iter().copied());
            for content in raws.chain(cells(&m)) {
                m.base.set(element(2, 8), content);
                let answer = match kind {
                    ObjectKind::ListInt => Value::small_int(content as i64).map(Value::bits),
                    ObjectKind::ListFloat => {
                        Some(f64::from_bits(content)).filter(|x| !x.is_nan()).map(|x| Value::float(x).bits())
                    }
                    ObjectKind::ListCell => Some(content),
                    _ => None,
                };
                let inputs = [(Place::Slot(k), Value::small_int_unchecked(2).bits()), (site, 0x0010_0020)];
                let what = || format!("CELL_INDEX_GET of a {kind:?} with {content:#x}");
                match answer {
                    Some(bits) => {
                        let seen = 0x0010_0020 | 1u64 << Kind::List as u64 | 1 << (Kind::Int as u64 + 16);
                        let writes = [(Place::Slot(d), Bits::Are(bits)), (site, Bits::Are(seen))];
                        m.check(code, &inputs, Exit::Next, &writes, what);
                    }
                    None => m.check(code, &inputs, Exit::Cold, &[], what),
                }
            }
            // Positions that are none, and things that have no elements.
            for position in [-1, 3, 4, value::INT_MAX, value::INT_MIN] {
                let position = Value::small_int_unchecked(position).bits();
                m.check(code, &[(Place::Slot(k), position)], Exit::Cold, &[], || "CELL_INDEX_GET".into());
            }
            let two = Value::small_int_unchecked(2).bits();
            for cell in cells(&m) {
                if !Value::from_bits(cell).is_small_int() {
                    m.check(code, &[(Place::Slot(k), cell)], Exit::Cold, &[], || "CELL_INDEX_GET".into());
                }
                if !Value::from_bits(cell).is_object() {
                    let inputs = [(Place::Slot(o), cell), (Place::Slot(k), two)];
                    m.check(code, &inputs, Exit::Cold, &[], || "CELL_INDEX_GET".into());
                }
            }
        }
    }
    m.covered("CELL_INDEX_GET", 1);
}

#[test]
fn fields_by_shape() {
    const SHAPE: u64 = 0x8000_0017;
    let mut m = Machine::new();
    let address = m.address(OBJECT);
    m.base.set(Place::Slot(L), address);
    let site = FEEDBACK + 8;
    let (id, slot) = (
        Place::Memory(site + std::mem::offset_of!(Feedback, ids), 4),
        Place::Memory(site + std::mem::offset_of!(Feedback, slots), 4),
    );
    m.base.set(id, SHAPE);
    for d in [D, L] {
        let code = m.place(family::CELL_FIELD_GET.at([]), &Holes::slots([d, L, A]).with(4, 8));
        for object in [ObjectKind::Record, ObjectKind::Closure, ObjectKind::Map, ObjectKind::ListCell] {
            header(&mut m, OBJECT, object, gc::OLD, 0xFFFF);
            m.base.set(Place::Memory(OBJECT + layout("HEADER_META"), 4), SHAPE);
            // Kinds of fields: any cell, int, bool, float, another cell.
            for (kind, number) in (0..5u64).flat_map(|kind| [0, 1, 9].map(|number| (kind, number))) {
                let field = Place::word(OBJECT + layout("RECORD_FIELDS") + 8 * number as usize);
                let raws = INTS.iter().map(|&i| i as u64).chain(FLOATS.iter().copied());
                for content in raws.chain(cells(&m)) {
                    let answer = match kind {
                        _ if object != ObjectKind::Record => None,
                        1 => Value::small_int(content as i64).map(Value::bits),
                        2 => None,
                        3 => Some(f64::from_bits(content))
                            .filter(|x| !x.is_nan())
                            .map(|x| Value::float(x).bits()),
                        _ => Some(content),
                    };
                    let inputs = [(slot, kind << 16 | number), (field, content)];
                    let what = || format!("CELL_FIELD_GET of field {number}, kind {kind}, of a {object:?}");
                    match answer {
                        Some(bits) => {
                            m.check(code, &inputs, Exit::Next, &[(Place::Slot(d), Bits::Are(bits))], what);
                        }
                        None => m.check(code, &inputs, Exit::Cold, &[], what),
                    }
                    // The site has seen another shape first.
                    let other = [inputs[0], inputs[1], (id, SHAPE + 1)];
                    m.check(code, &other, Exit::Cold, &[], what);
                }
            }
        }
        for cell in cells(&m) {
            if !Value::from_bits(cell).is_object() {
                m.check(code, &[(Place::Slot(L), cell)], Exit::Cold, &[], || "CELL_FIELD_GET".into());
            }
        }
    }
    m.covered("CELL_FIELD_GET", 1);
}

#[test]
fn equality_where_kinds_differ() {
    let mut m = Machine::new();
    let site = Place::Memory(FEEDBACK + 8, 4);
    // `none` and `many` are no operands of comparisons, and a hole is no value.
    let absent = [Value::NONE, Value::MANY, Value::HOLE];
    let cells: Vec<Value> =
        cells(&m).into_iter().map(Value::from_bits).filter(|v| !absent.contains(v)).collect();
    for [d, a, b] in [[D, A, B], [A, A, B], [B, A, B], [D, A, A], [A, A, A]] {
        let holes = Holes::slots([d, a, b]).with(4, 8);
        let codes = [
            (m.place(family::CELL_EQ_K.at([]), &holes), true),
            (m.place(family::CELL_NE_K.at([]), &holes), false),
        ];
        for &left in &cells {
            for &right in &cells {
                if a == b && left != right {
                    continue;
                }
                let inputs =
                    [(Place::Slot(a), left.bits()), (Place::Slot(b), right.bits()), (site, 0x0010_0020)];
                let mixed =
                    left.is_float() && right.is_small_int() || left.is_small_int() && right.is_float();
                for (code, equal) in codes {
                    let what = || format!("CELL_EQ_K or CELL_NE_K to slot {d}");
                    // What is in the heap and numbers of two kinds are the slow path's.
                    if left.is_object() || right.is_object() || mixed {
                        m.check(code, &inputs, Exit::Cold, &[], what);
                        continue;
                    }
                    let same = match (left.as_float(), right.as_float()) {
                        (Some(x), Some(y)) => x == y,
                        _ => left == right,
                    };
                    let kinds = 1u64 << left.kind() as u64 | 1 << (right.kind() as u64 + 16);
                    let result = (Place::Slot(d), Bits::Are(u64::from(same == equal)));
                    m.check(
                        code,
                        &inputs,
                        Exit::Next,
                        &[result, (site, Bits::Are(0x0010_0020 | kinds))],
                        what,
                    );
                }
            }
        }
    }
    m.covered("CELL_EQ_K", 1);
    m.covered("CELL_NE_K", 1);
}

/// A branch that is taken, or not.
fn taken(yes: bool) -> Exit {
    if yes { Exit::Taken } else { Exit::Next }
}

#[test]
fn branches_on_cells() {
    let mut m = Machine::new();
    let all = cells(&m);
    let mut branch = |name: &str, stencil: Stencil, q: u64, exit: &dyn Fn(u64) -> Exit| {
        let code = m.place(stencil, &Holes { q, ..Holes::slots([D, A, D]) });
        for &cell in &all {
            m.check(code, &[(Place::Slot(A), cell)], exit(cell), &[], || format!("{name} {q:#x}"));
        }
        m.covered(name, 1);
    };
    for what in [Immediate::Nil, Immediate::False, Immediate::True, Immediate::None, Immediate::Many] {
        let q = Value::immediate(what).bits();
        branch("IS_BRANCH", family::IS_BRANCH.at([]), q, &|cell| taken(cell == q));
        branch("IS_NOT_BRANCH", family::IS_NOT_BRANCH.at([]), q, &|cell| taken(cell != q));
    }
    branch("IS_HOLE_BRANCH", family::IS_HOLE_BRANCH.at([]), 0, &|cell| taken(cell == 0));
    branch("IS_NOT_HOLE_BRANCH", family::IS_NOT_HOLE_BRANCH.at([]), 0, &|cell| taken(cell != 0));
    let truth = |cell: u64| Value::from_bits(cell).as_bool();
    let known = |truth: Option<bool>| truth.map_or(Exit::Cold, taken);
    branch("TRUTHY_BRANCH", family::TRUTHY_BRANCH.at([]), 0, &|cell| known(truth(cell)));
    branch("FALSY_BRANCH", family::FALSY_BRANCH.at([]), 0, &|cell| known(truth(cell).map(|t| !t)));
    branch("ALWAYS_COLD", family::ALWAYS_COLD.at([]), 0, &|_| Exit::Cold);
    branch("CHECK_RESULTS", family::CHECK_RESULTS.at([]), 0, &|cell| {
        if [Value::NONE.bits(), Value::MANY.bits()].contains(&cell) { Exit::Cold } else { Exit::Next }
    });
}

#[test]
fn strings_are_compared() {
    let mut m = Machine::new();
    let all = cells(&m);
    for [a, b] in [[A, B], [A, A]] {
        let holes = Holes::slots([D, a, b]);
        let [eq_branch, ne_branch, eq, ne] = [
            family::STRING_EQ_BRANCH.at([]),
            family::STRING_NE_BRANCH.at([]),
            family::STRING_EQ.at([]),
            family::STRING_NE.at([]),
        ]
        .map(|stencil| m.place(stencil, &holes));
        for &left in &all {
            for &right in &all {
                if a == b && left != right {
                    continue;
                }
                let inputs = [(Place::Slot(a), left), (Place::Slot(b), right)];
                let what = || "a comparison of strings".to_owned();
                let [left, right] = [left, right].map(Value::from_bits);
                let same = left == right;
                // Equal bits are equal strings; of two objects only the slow path can tell.
                if !same && left.is_object() && right.is_object() {
                    for code in [eq_branch, ne_branch, eq, ne] {
                        m.check(code, &inputs, Exit::Cold, &[], what);
                    }
                    continue;
                }
                m.check(eq_branch, &inputs, taken(same), &[], what);
                m.check(ne_branch, &inputs, taken(!same), &[], what);
                for (code, value) in [(eq, same), (ne, !same)] {
                    let writes = [(Place::Slot(D), Bits::Are(u64::from(value)))];
                    m.check(code, &inputs, Exit::Next, &writes, what);
                }
            }
        }
    }
    for name in ["STRING_EQ_BRANCH", "STRING_NE_BRANCH", "STRING_EQ", "STRING_NE"] {
        m.covered(name, 1);
    }
}

/// A string object at OBJECT, as slot L: so many bytes and so many characters, the bytes behind `at`.
fn string(m: &mut Machine, bytes: usize, characters: usize, buffered: bool) -> usize {
    header(
        m,
        OBJECT,
        ObjectKind::String,
        gc::OLD,
        if buffered { string_bits::BUFFERED } else { !string_bits::BUFFERED },
    );
    m.base.set(Place::Memory(OBJECT + layout("HEADER_META"), 4), characters as u64);
    m.base.set(Place::Memory(OBJECT + layout("STRING_LEN"), 4), bytes as u64);
    let (buffer, address) = (m.address(BUFFER), m.address(OBJECT));
    m.base.set(Place::Slot(L), address);
    let payload = OBJECT + layout("STRING_PAYLOAD");
    if !buffered {
        return payload;
    }
    m.base.set(Place::word(payload), buffer);
    BUFFER + layout("STRING_BUFFER_DATA")
}

#[test]
fn strings_have_lengths_and_characters() {
    let mut m = Machine::new();
    for d in 0..6 {
        let code = m.place(family::STRING_LEN.at([d]), &Holes::slots([D, L, D]));
        // Inside a value only ASCII is counted by bytes; in an object the number of characters stands.
        for text in ["", "a", "\u{7f}\0", "abcde", "é", "aé", "日", "é123"] {
            let value = Value::short_string(text.as_bytes()).expect("a short string").bits();
            let inputs = [(Place::Slot(L), value)];
            let what = || format!("STRING_LEN of {text:?}");
            if text.is_ascii() {
                let writes = [(Place::Int(d), Bits::Are(text.len() as u64))];
                m.check(code, &inputs, Exit::Next, &writes, what);
            } else {
                m.check(code, &inputs, Exit::Cold, &[], what);
            }
        }
        for characters in [6, 0x7FFF_FFFF, 0xFFFF_FFFF] {
            string(&mut m, 6, characters, false);
            let writes = [(Place::Int(d), Bits::Are(characters as u64))];
            m.check(code, &[], Exit::Next, &writes, || format!("STRING_LEN of {characters}"));
        }
    }
    m.covered("STRING_LEN", 6);
    for dst in [D, L] {
        for i in 0..7 {
            let code = m.place(family::STRING_GET.at([i]), &Holes::slots([dst, L, A]));
            for buffered in [false, true] {
                let data = string(&mut m, 7, 7, buffered);
                for (at, byte) in b"q\0z\x7f9 !".iter().enumerate() {
                    m.base.set(Place::Memory(data + at, 1), u64::from(*byte));
                }
                for position in positions(7) {
                    let inputs = [(Place::int(i, A), position as u64)];
                    let what = || format!("STRING_GET {position}");
                    match resolve(position, 7, false) {
                        Some(at) => {
                            let byte = m.base.get(Place::Memory(data + at, 1)) as u8;
                            let text = Value::short_string(&[byte]).expect("a short string");
                            let writes = [(Place::Slot(dst), Bits::Are(text.bits()))];
                            m.check(code, &inputs, Exit::Next, &writes, what);
                        }
                        None => m.check(code, &inputs, Exit::Cold, &[], what),
                    }
                }
                // Text that is not ASCII, and text inside a value.
                string(&mut m, 7, 6, buffered);
                m.check(code, &[(Place::int(i, A), 0)], Exit::Cold, &[], || "STRING_GET beyond ASCII".into());
                let inside = (Place::Slot(L), Value::short_string(b"abc").expect("a short string").bits());
                m.check(code, &[(Place::int(i, A), 0), inside], Exit::Cold, &[], || {
                    "STRING_GET inside".into()
                });
            }
        }
    }
    m.covered("STRING_GET", 7);
}

/// What an entry of a map is to a key.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Entry {
    Here,
    Removed,
    Other,
}

#[test]
fn maps_find_what_is_where_they_expect_it() {
    let mut m = Machine::new();
    let address = m.address(OBJECT);
    m.base.set(Place::Slot(L), address);
    let entries = [Entry::Here, Entry::Removed, Entry::Other, Entry::Here];
    let dense = layout("MAP_DENSE") as u16;
    for (bits, base) in
        [(dense, 0), (0, 0), (dense, -2), (!dense, 1 << 40), (0xFFFF, i64::MAX - 1), (0, i64::MIN)]
    {
        header(&mut m, OBJECT, ObjectKind::Map, gc::OLD, bits);
        m.base.set(Place::Memory(OBJECT + layout("MAP_USED"), 4), entries.len() as u64);
        let buffer = m.address(BUFFER);
        m.base.set(Place::word(OBJECT + layout("MAP_ENTRIES")), buffer);
        m.base.set(Place::word(OBJECT + layout("MAP_BASE")), base as u64);
        let key_of = |e: usize| Place::word(BUFFER + layout("BUFFER_DATA") + 16 * e);
        let value_of = |e: usize| Place::word(BUFFER + layout("BUFFER_DATA") + 16 * e + 8);
        for (e, entry) in entries.into_iter().enumerate() {
            let key = base.wrapping_add(e as i64);
            m.base.set(key_of(e), if entry == Entry::Other { !key } else { key } as u64);
            let value =
                if entry == Entry::Removed { layout("VALUE_TOMBSTONE") as u64 } else { 0x77 + e as u64 };
            m.base.set(value_of(e), value);
        }
        let distances = [0, 1, 2, 3, 4, 5, -1, 1 << 32, 1 << 60, i64::MIN, i64::MAX];
        for k in 0..7 {
            let get = m.place(family::MAP_INT_GET.at([k]), &Holes::slots([D, L, A]));
            let get_here = m.place(family::MAP_INT_GET.at([k]), &Holes::slots([L, L, A]));
            let has = m.place(family::MAP_INT_HAS.at([k]), &Holes::slots([D, L, A]));
            let has_here = m.place(family::MAP_INT_HAS.at([k]), &Holes::slots([A, L, A]));
            let set = m.place(family::MAP_INT_SET.at([k]), &Holes::slots([B, L, A]));
            for distance in distances {
                let key = base.wrapping_add(distance) as u64;
                let inputs = [(Place::int(k, A), key)];
                let what = || format!("the key {} of a map from {base}, bits {bits:#x}", key as i64);
                let e = usize::try_from(distance).ok().filter(|&e| entries.get(e) == Some(&Entry::Here));
                for (code, dst) in [(has, D), (has_here, A)] {
                    let known = e.is_some() || bits & dense != 0;
                    let exit = if known { Exit::Next } else { Exit::Cold };
                    let found = (Place::Slot(dst), Bits::Are(u64::from(e.is_some())));
                    m.check(
                        code,
                        &inputs,
                        exit,
                        if known { std::slice::from_ref(&found) } else { &[] },
                        what,
                    );
                }
                let Some(e) = e else {
                    for code in [get, get_here, set] {
                        m.check(code, &inputs, Exit::Cold, &[], what);
                    }
                    continue;
                };
                for (code, dst) in [(get, D), (get_here, L)] {
                    let writes = [(Place::Slot(dst), Bits::Are(m.base.get(value_of(e))))];
                    m.check(code, &inputs, Exit::Next, &writes, what);
                }
                for cell in cells(&m) {
                    let inputs = [inputs[0], (Place::Slot(B), cell)];
                    // The collector has to hear of objects.
                    if Value::from_bits(cell).is_object() {
                        m.check(set, &inputs, Exit::Cold, &[], what);
                    } else {
                        m.check(set, &inputs, Exit::Next, &[(value_of(e), Bits::Are(cell))], what);
                    }
                }
            }
        }
    }
    for name in ["MAP_INT_GET", "MAP_INT_HAS", "MAP_INT_SET"] {
        m.covered(name, 7);
    }
}

#[test]
fn maps_know_the_string_that_was_found_last() {
    let mut m = Machine::new();
    header(&mut m, OBJECT, ObjectKind::Map, gc::OLD, 0);
    let (address, buffer) = (m.address(OBJECT), m.address(BUFFER));
    m.base.set(Place::Slot(L), address);
    m.base.set(Place::word(OBJECT + layout("MAP_ENTRIES")), buffer);
    let keys = [m.address(8), Value::short_string(b"key").expect("a short string").bits(), 0, m.address(16)];
    let value_of = |e: usize| Place::word(BUFFER + layout("BUFFER_DATA") + 16 * e + 8);
    for (e, key) in keys.into_iter().enumerate() {
        m.base.set(Place::word(BUFFER + layout("BUFFER_DATA") + 16 * e), key);
        m.base.set(value_of(e), 0x77 + e as u64);
    }
    let get = [D, L, A].map(|dst| (m.place(family::MAP_STRING_GET.at([]), &Holes::slots([dst, L, A])), dst));
    let set = m.place(family::MAP_STRING_SET.at([]), &Holes::slots([B, L, A]));
    for used in [0, 1, 4] {
        m.base.set(Place::Memory(OBJECT + layout("MAP_USED"), 4), used);
        for last in [0, 1, 2, 3, 4, 1 << 32, u64::MAX] {
            m.base.set(Place::word(OBJECT + layout("MAP_BASE")), last);
            // Strings: equal ones elsewhere in the heap are the slow path's, and so is the hole of a removed entry.
            for key in [keys[0], keys[1], keys[3], m.address(24)] {
                let inputs = [(Place::Slot(A), key)];
                let what = || format!("the key {key:#x} of a map that found entry {last} of {used}");
                let here = last < used && keys[last as usize] == key;
                for (code, dst) in get {
                    if here {
                        let writes = [(Place::Slot(dst), Bits::Are(m.base.get(value_of(last as usize))))];
                        m.check(code, &inputs, Exit::Next, &writes, what);
                    } else {
                        m.check(code, &inputs, Exit::Cold, &[], what);
                    }
                }
                for cell in cells(&m) {
                    let inputs = [inputs[0], (Place::Slot(B), cell)];
                    if here && !Value::from_bits(cell).is_object() {
                        let writes = [(value_of(last as usize), Bits::Are(cell))];
                        m.check(set, &inputs, Exit::Next, &writes, what);
                    } else {
                        m.check(set, &inputs, Exit::Cold, &[], what);
                    }
                }
            }
        }
    }
    m.covered("MAP_STRING_GET", 1);
    m.covered("MAP_STRING_SET", 1);
}

#[test]
fn small_objects_are_made() {
    /// Where the room is, and where the cells and the raw words of a new object stand.
    const ROOM: usize = BUFFER;
    const CELLS: usize = 2;
    const RAWS: usize = 10;
    let mut m = Machine::new();
    let (top, end) = (Place::context("HEAP_TOP"), Place::context("HEAP_END"));
    let requested = Place::Memory(CONTEXT + layout("HEAP_REQUESTED"), 1);
    m.base.set(requested, 0);
    let start = m.address(ROOM);
    m.base.set(top, start);
    let q = 0x8765_4321_0FED_CB0C;
    for cells in 0..5 {
        for raws in 0..5 {
            let size = (8 + 8 * (cells + raws)).max(16);
            // The object may take the place of one of its fields.
            for dst in [D, L, CELLS, RAWS] {
                let holes = Holes { q, ..Holes::slots([dst, CELLS, RAWS]) };
                let code = m.place(family::ALLOCATE.at([cells, raws]), &holes);
                let what = || format!("an object of {cells} cells and {raws} raw words");
                let slots = (CELLS..CELLS + cells).chain(RAWS..RAWS + raws);
                let mut writes = vec![
                    (Place::word(ROOM), Bits::Are(q)),
                    (Place::Slot(dst), Bits::Are(start)),
                    (top, Bits::Are(start + size as u64)),
                ];
                for (i, slot) in slots.enumerate() {
                    writes.push((Place::word(ROOM + 8 + 8 * i), Bits::Are(m.base.get(Place::Slot(slot)))));
                }
                for room in [size, size + 8, 1 << 20] {
                    let inputs = [(end, start + room as u64)];
                    m.check(code, &inputs, Exit::Next, &writes, what);
                    let inputs = [inputs[0], (requested, 1)];
                    m.check(code, &inputs, Exit::Cold, &[], what);
                }
                for room in (0..size).step_by(8) {
                    m.check(code, &[(end, start + room as u64)], Exit::Cold, &[], what);
                }
            }
        }
    }
    m.covered("ALLOCATE", 5 * 5);
}

#[test]
fn sums_become_arguments() {
    let mut m = Machine::new();
    for add in [-32_768, -1, 0, 1, 255, 32_767] {
        let code = m.place(family::ADD_TO_WINDOW.at([]), &Holes::slots([A, D, L]).with(3, add));
        for &value in INTS {
            let inputs = [(Place::Slot(A), value as u64)];
            let what = || format!("ADD_TO_WINDOW {add}");
            match value.checked_add(i64::from(add)) {
                Some(sum) => {
                    m.check(code, &inputs, Exit::Next, &[(Place::Slot(D), Bits::Are(sum as u64))], what);
                }
                None => m.check(code, &inputs, Exit::Cold, &[], what),
            }
        }
    }
    m.covered("ADD_TO_WINDOW", 1);
}

#[test]
fn slots_are_cleared_and_results_taken() {
    let mut m = Machine::new();
    let clears =
        [("CLEAR_1", family::CLEAR_1, 1), ("CLEAR_2", family::CLEAR_2, 2), ("CLEAR_4", family::CLEAR_4, 4)];
    for (name, family, count) in clears {
        for first in 0..=SLOTS - count {
            let code = m.place(family.at([]), &Holes::slots([first, L, L]));
            let writes: Vec<_> = (first..first + count).map(|s| (Place::Slot(s), Bits::Are(0))).collect();
            m.check(code, &[], Exit::Next, &writes, || format!("{name} from {first}"));
        }
        m.covered(name, 1);
    }
    // A callee leaves its result in rax.
    let code = m.place(family::RESULT.at([]), &Holes::slots([D, L, L]));
    m.check(code, &[], Exit::Next, &[(Place::Slot(D), Bits::Are(RUBBISH))], || "RESULT".into());
    m.covered("RESULT", 1);
}

#[test]
fn dynamic_calls() {
    /// The size of the frame of the caller, as a slot: where the callee's frame begins.
    const FRAME: usize = 8;
    const META: u64 = 1;
    /// Where the result goes.
    const R: usize = 28;
    let mut m = Machine::new();
    let closure = m.address(OBJECT);
    header(&mut m, OBJECT, ObjectKind::Closure, gc::OLD, 0);
    m.base.set(Place::Memory(OBJECT + layout("HEADER_META"), 4), META);
    m.base.set(Place::Slot(L), closure);
    // The table of functions begins at the start of memory, so the function's entry is where buffers stand elsewhere.
    let entry = (META as usize) << layout("FUNCTION_SHIFT");
    let (functions, native) = (m.address(0), m.callee());
    m.base.set(Place::context("CTX_FUNCTIONS"), functions);
    m.base.set(Place::word(entry + layout("FUNCTION_NATIVE")), native);
    let simple = Place::Memory(entry + layout("FUNCTION_SIMPLE"), 4);
    let id = Place::Memory(FEEDBACK + 8 + std::mem::offset_of!(Feedback, ids), 4);
    m.base.set(id, META);
    let requested = Place::Memory(CONTEXT + layout("HEAP_REQUESTED"), 1);
    m.base.set(requested, 0);
    let (limit, frame) = (Place::context("CTX_STACK_LIMIT"), m.slot_address(FRAME));
    // There has to be room for all of the callee's frame.
    m.base.set(Place::Memory(entry + layout("FUNCTION_LINK") + 4, 4), 64);
    m.base.set(limit, frame + 64);
    let call = [0x7FFF_0123_4560, 0x0000_0100_0000_0003];
    for arguments in 0..4 {
        // The size of a frame is the distance of the next one, which begins in a slot here.
        let holes = Holes { call, u: [arguments + 1, 0], ..Holes::slots([L, FRAME, R]) }.with(4, 8);
        let arguments = arguments as usize;
        let code = m.place(family::CELL_CALL.at([arguments]), &holes);
        m.base.set(simple, arguments as u64 + 1);
        let what = || format!("CELL_CALL with {arguments} arguments");
        // The header, then the closure in front of the arguments; registers are anybody's.
        let mut writes = vec![
            (Place::Slot(FRAME), Bits::Are(call[0])),
            (Place::Slot(FRAME + 1), Bits::Are(call[1])),
            (Place::Slot(FRAME + 2), Bits::Are(closure)),
            (Place::Slot(R), Bits::Are(frame)),
        ];
        for argument in 0..arguments {
            let value = m.base.get(Place::Slot(FRAME + 2 + argument));
            writes.push((Place::Slot(FRAME + 3 + argument), Bits::Are(value)));
        }
        writes.extend((0..6).map(|r| (Place::Int(r), Bits::Any)));
        writes.extend((0..8).map(|r| (Place::Float(r), Bits::Any)));
        for budget in [1, 2, 1 << 40] {
            let writes = [&writes[..], &[(Place::Budget, Bits::Are(budget - 1))]].concat();
            m.check(code, &[(Place::Budget, budget)], Exit::Next, &writes, what);
        }
        // No budget, no room, a collection that is due, another function than the site saw, one whose arguments need
        // more than to be moved, and what is no function.
        let cold = [
            (Place::Budget, 0),
            (Place::Budget, u64::MAX),
            (limit, frame + 56),
            (limit, 0),
            (requested, 1),
            (id, META + 1),
            (simple, 0),
            (simple, arguments as u64),
            (simple, arguments as u64 + 2),
            (Place::Memory(OBJECT + layout("HEADER_KIND"), 1), ObjectKind::Record as u64),
        ];
        for input in cold {
            m.check(code, &[input], Exit::Cold, &[], what);
        }
        for cell in cells(&m).into_iter().filter(|&c| !Value::from_bits(c).is_object()) {
            m.check(code, &[(Place::Slot(L), cell)], Exit::Cold, &[], what);
        }
    }
    m.covered("CELL_CALL", 4);
}
