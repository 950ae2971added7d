//! Families on lists and tuples: reads, writes and growth, by all positions around the ends.

use upshift_baseline::table::{Stencil, family};
use upshift_runtime::object::{ObjectKind, gc, list_bits};
use upshift_runtime::value::Value;

use crate::harness::{Bits, Code, Exit, Holes, Machine, Place, layout};
use crate::memory::{
    A, B, BUFFER, D, FLOATS, INTS, L, LIST, OBJECT, cells, element, header, list, positions, resolve,
};

/// The families that are tested here.
pub fn names() -> Vec<&'static str> {
    let names = "LIST_LEN LIST_SHARE LIST_INT_GET LIST_INT_GET_END LIST_BOOL_GET LIST_BOOL_GET_END \
        LIST_FLOAT_GET LIST_FLOAT_GET_END LIST_CELL_GET LIST_CELL_GET_END LIST_INT_SET LIST_INT_SET_END \
        LIST_BOOL_SET LIST_BOOL_SET_END LIST_FLOAT_SET LIST_FLOAT_SET_END LIST_CELL_SET LIST_INT_PUSH \
        LIST_FLOAT_PUSH LIST_BOOL_PUSH LIST_CELL_PUSH LIST_INT_APPEND LIST_FLOAT_APPEND LIST_BOOL_APPEND \
        LIST_CELL_APPEND TUPLE_GET";
    names.split_ascii_whitespace().collect()
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
