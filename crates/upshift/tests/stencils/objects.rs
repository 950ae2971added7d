//! Families on fields, globals, strings and maps, new objects, and what is left.

use upshift_baseline::table::{Stencil, family};
use upshift_runtime::object::{ObjectKind, gc, string_bits};
use upshift_runtime::value::Value;

use crate::harness::{Bits, Exit, GLOBALS, Holes, Machine, Place, RUBBISH, SLOTS, WATCHES, layout};
use crate::memory::{A, B, BUFFER, D, FLOATS, INTS, L, OBJECT, cells, header, positions, resolve};

/// The families that are tested here.
pub fn names() -> Vec<&'static str> {
    let names = "FIELD_INT_GET FIELD_FLOAT_GET FIELD_CELL_GET FIELD_INT_SET FIELD_FLOAT_SET FIELD_CELL_SET \
        FIELD_U16_GET FIELD_U32_GET TUPLE_SET_BITS GLOBAL_INT_GET GLOBAL_FLOAT_GET GLOBAL_CELL_GET \
        GLOBAL_INT_SET GLOBAL_FLOAT_SET WATCH_BRANCH ALLOCATE MAP_INT_GET MAP_INT_SET MAP_INT_HAS \
        MAP_STRING_GET MAP_STRING_SET STRING_LEN STRING_GET STRING_APPEND STRING_SHARE STRING_EQ_BRANCH STRING_NE_BRANCH STRING_EQ \
        STRING_NE CLEAR_1 CLEAR_2 CLEAR_4 RESULT ADD_TO_WINDOW";
    names.split_ascii_whitespace().collect()
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
                m.check(eq_branch, &inputs, Exit::taken(same), &[], what);
                m.check(ne_branch, &inputs, Exit::taken(!same), &[], what);
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

#[test]
fn strings_are_extended_and_shared() {
    let mut m = Machine::new();
    let short = |text: &str| Value::short_string(text.as_bytes()).expect("a short string").bits();
    let field = |name: &str| Place::Memory(OBJECT + layout(name), 4);
    let used = Place::Memory(BUFFER + layout("STRING_BUFFER_USED"), 4);
    let append = m.place(family::STRING_APPEND.at([]), &Holes::slots([L, L, A]));
    let share = m.place(family::STRING_SHARE.at([]), &Holes::slots([D, L, D]));
    let bits = Place::Memory(OBJECT + layout("HEADER_BITS"), 2);
    for buffered in [false, true] {
        for extensible in [false, true] {
            let data = string(&mut m, 7, 6, buffered);
            let mut flags = string_bits::APPENDED;
            flags |= if buffered { string_bits::BUFFERED } else { 0 };
            flags |= if extensible { string_bits::EXTENSIBLE } else { 0 };
            m.base.set(bits, flags.into());
            m.base.set(field("STRING_HASH"), 10);
            m.base.set(used, u64::from(u32::MAX));
            for text in ["", "a", "b\0c", "abcd", "abcde", "é"] {
                let inputs = [(Place::Slot(A), short(text))];
                let what = || format!("STRING_APPEND of {text:?}");
                if !extensible || 7 + text.len() > 10 || !text.is_ascii() {
                    m.check(append, &inputs, Exit::Cold, &[], what);
                    continue;
                }
                let mut word = [0; 8];
                word[..text.len()].copy_from_slice(text.as_bytes());
                let object = m.base.get(Place::Slot(L));
                let mut writes = vec![
                    (field("STRING_LEN"), Bits::Are(7 + text.len() as u64)),
                    (field("HEADER_META"), Bits::Are(6 + text.len() as u64)),
                    (Place::Slot(L), Bits::Are(object)),
                ];
                // The word is written whole.
                for (i, byte) in word.into_iter().enumerate() {
                    writes.push((Place::Memory(data + 7 + i, 1), Bits::Are(byte.into())));
                }
                m.check(append, &inputs, Exit::Next, &writes, what);
            }
            let long = m.base.get(Place::Slot(L));
            m.check(append, &[(Place::Slot(A), long)], Exit::Cold, &[], || {
                "STRING_APPEND of an object".into()
            });
            m.check(
                append,
                &[(Place::Slot(L), short("ab")), (Place::Slot(A), short("c"))],
                Exit::Cold,
                &[],
                || "STRING_APPEND to a short string".into(),
            );
            let mut writes = vec![(Place::Slot(D), Bits::Are(long))];
            if extensible {
                writes.push((bits, Bits::Are((flags & !string_bits::EXTENSIBLE).into())));
                writes.push((field("STRING_HASH"), Bits::Are(0)));
                if buffered {
                    writes.push((used, Bits::Are(7)));
                }
            }
            m.check(share, &[], Exit::Next, &writes, || "STRING_SHARE".into());
            let writes = [(Place::Slot(D), Bits::Are(short("xyz")))];
            m.check(share, &[(Place::Slot(L), short("xyz"))], Exit::Next, &writes, || "STRING_SHARE".into());
        }
    }
    m.covered("STRING_APPEND", 1);
    m.covered("STRING_SHARE", 1);
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
                    m.check(code, &[(end, start + room as u64)], Exit::Next, &writes, what);
                }
                // A collection is due.
                m.check(code, &[(end, 0)], Exit::Cold, &[], what);
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
