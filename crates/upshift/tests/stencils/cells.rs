//! Families on cells: boxing, the fast paths of dynamic ops and calls, and branches; and exactly when they leave it to the
//! slow path.

use upshift_baseline::table::{Family, Stencil, family};
use upshift_bytecode::{Immediate, Kind};
use upshift_runtime::feedback::Feedback;
use upshift_runtime::object::{ObjectKind, gc};
use upshift_runtime::value::{self, Value};

use crate::harness::{Bits, CONTEXT, Code, Exit, FEEDBACK, Holes, Machine, Place, layout};
use crate::memory::{A, B, D, FLOATS, INTS, L, OBJECT, cells, element, header, list};

/// The families that are tested here.
pub fn names() -> Vec<&'static str> {
    let names = "BOX_INT BOX_BOOL BOX_FLOAT UNBOX_INT UNBOX_BOOL UNBOX_FLOAT UNBOX_NUMBER CELL_ADD CELL_ADD_P \
        CELL_SUB CELL_SUB_P CELL_MUL CELL_MUL_P CELL_DIV CELL_DIV_P CELL_REM CELL_LT CELL_LT_P CELL_LE CELL_LE_P CELL_EQ CELL_NE CELL_EQ_K \
        CELL_NE_K CELL_INDEX_GET CELL_FIELD_GET CHECK_RESULTS IS_BRANCH IS_HOLE_BRANCH IS_NOT_BRANCH \
        IS_NOT_HOLE_BRANCH TRUTHY_BRANCH FALSY_BRANCH ALWAYS_COLD CELL_CALL CAST_KIND CAST_KIND_N CAST_SHAPES \
        CAST_PRESENT CAST_SHAPES_N CAST_STRING CAST_STRING_N CAST_ELEMENTS CAST_ELEMENTS_N CAST_INT \
        CAST_INT_N CAST_FLOAT CAST_FLOAT_N CAST_BOOL CAST_BOOL_N TEST_KIND TEST_KIND_N TEST_SHAPES \
        TEST_SHAPES_N TEST_STRING TEST_STRING_N TEST_ELEMENTS TEST_ELEMENTS_N TEST_INT TEST_INT_N TEST_FLOAT \
        TEST_FLOAT_N TEST_BOOL TEST_BOOL_N";
    names.split_ascii_whitespace().collect()
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
        CELL_DIV false |a, b| small(a.checked_div(b)), |x, y| (y != 0.0).then(|| number(x / y)).flatten();
        CELL_DIV_P true |a, b| small(a.checked_div(b)), |x, y| (y != 0.0).then(|| number(x / y)).flatten();
        CELL_REM false |a, b| small(a.checked_rem(b)), |_, _| None;
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
        branch("IS_BRANCH", family::IS_BRANCH.at([]), q, &|cell| Exit::taken(cell == q));
        branch("IS_NOT_BRANCH", family::IS_NOT_BRANCH.at([]), q, &|cell| Exit::taken(cell != q));
    }
    branch("IS_HOLE_BRANCH", family::IS_HOLE_BRANCH.at([]), 0, &|cell| Exit::taken(cell == 0));
    branch("IS_NOT_HOLE_BRANCH", family::IS_NOT_HOLE_BRANCH.at([]), 0, &|cell| Exit::taken(cell != 0));
    let truth = |cell: u64| Value::from_bits(cell).as_bool();
    let known = |truth: Option<bool>| truth.map_or(Exit::Cold, Exit::taken);
    branch("TRUTHY_BRANCH", family::TRUTHY_BRANCH.at([]), 0, &|cell| known(truth(cell)));
    branch("FALSY_BRANCH", family::FALSY_BRANCH.at([]), 0, &|cell| known(truth(cell).map(|t| !t)));
    branch("ALWAYS_COLD", family::ALWAYS_COLD.at([]), 0, &|_| Exit::Cold);
    branch("CHECK_RESULTS", family::CHECK_RESULTS.at([]), 0, &|cell| {
        if [Value::NONE.bits(), Value::MANY.bits()].contains(&cell) { Exit::Cold } else { Exit::Next }
    });
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

/// What a type is told by, its two holes, whether an object of a kind and with such an upper half of its header is of it, and whether
/// a value that is no object is.
struct Told {
    name: &'static str,
    casts: [Family<0>; 2],
    tests: [Family<1>; 2],
    holes: [i32; 2],
    object: fn(ObjectKind, u32) -> bool,
    inline: fn(Value) -> bool,
}

#[test]
fn what_is_of_a_type_or_nil_is_told_by_nil() {
    let mut m = Machine::new();
    let object = m.address(OBJECT);
    header(&mut m, OBJECT, ObjectKind::Map, gc::OLD, 0);
    let cast = m.place(family::CAST_PRESENT.at([]), &Holes::slots([D, A, D]));
    for cell in cells(&m).into_iter().chain([object]).collect::<Vec<u64>>() {
        let (exit, writes): (_, &[_]) = if cell == Value::NIL.bits() {
            (Exit::Cold, &[])
        } else {
            (Exit::Next, &[(Place::Slot(D), Bits::Are(cell))])
        };
        m.check(cast, &[(Place::Slot(A), cell)], exit, writes, || format!("CAST_PRESENT of {cell:#x}"));
    }
    m.covered("CAST_PRESENT", 1);
}

#[test]
fn types_are_told() {
    const META: u32 = 1000;
    let told = [
        Told {
            name: "KIND",
            casts: [family::CAST_KIND, family::CAST_KIND_N],
            tests: [family::TEST_KIND, family::TEST_KIND_N],
            holes: [ObjectKind::ListInt as i32, 0],
            object: |kind, _| kind == ObjectKind::ListInt,
            inline: |_| false,
        },
        Told {
            name: "SHAPES",
            casts: [family::CAST_SHAPES, family::CAST_SHAPES_N],
            tests: [family::TEST_SHAPES, family::TEST_SHAPES_N],
            holes: [META as i32, 2],
            object: |kind, meta| kind == ObjectKind::Record && (META..=META + 2).contains(&meta),
            inline: |_| false,
        },
        Told {
            name: "STRING",
            casts: [family::CAST_STRING, family::CAST_STRING_N],
            tests: [family::TEST_STRING, family::TEST_STRING_N],
            holes: [0, 0],
            object: |kind, _| kind == ObjectKind::String,
            inline: |v| v.is_string(),
        },
        Told {
            name: "ELEMENTS",
            casts: [family::CAST_ELEMENTS, family::CAST_ELEMENTS_N],
            tests: [family::TEST_ELEMENTS, family::TEST_ELEMENTS_N],
            holes: [META as i32, 0],
            object: |kind, meta| kind == ObjectKind::ListCell && meta == META,
            inline: |_| false,
        },
        Told {
            name: "INT",
            casts: [family::CAST_INT, family::CAST_INT_N],
            tests: [family::TEST_INT, family::TEST_INT_N],
            holes: [0, 0],
            object: |kind, _| kind == ObjectKind::WideInt,
            inline: |v| v.is_int(),
        },
        Told {
            name: "FLOAT",
            casts: [family::CAST_FLOAT, family::CAST_FLOAT_N],
            tests: [family::TEST_FLOAT, family::TEST_FLOAT_N],
            holes: [0, 0],
            object: |_, _| false,
            inline: |v| v.is_float(),
        },
        Told {
            name: "BOOL",
            casts: [family::CAST_BOOL, family::CAST_BOOL_N],
            tests: [family::TEST_BOOL, family::TEST_BOOL_N],
            holes: [0, 0],
            object: |_, _| false,
            inline: |v| v.is_bool(),
        },
    ];
    let kinds = [
        ObjectKind::ListInt,
        ObjectKind::ListCell,
        ObjectKind::Record,
        ObjectKind::String,
        ObjectKind::WideInt,
    ];
    let metas = [0, META - 1, META, META + 2, META + 3, u32::MAX];
    let mut m = Machine::new();
    let object = m.address(OBJECT);
    for t in told {
        for nullable in [false, true] {
            let suffix = if nullable { "_N" } else { "" };
            let holes = Holes::slots([D, A, D]).with(2, t.holes[0]).with(3, t.holes[1]);
            let cast = m.place(t.casts[usize::from(nullable)].at([]), &holes);
            let tests: Vec<Code> =
                (0..6).map(|d| m.place(t.tests[usize::from(nullable)].at([d]), &holes)).collect();
            for (kind, meta) in kinds.iter().flat_map(|&k| metas.map(|meta| (k, meta))) {
                header(&mut m, OBJECT, kind, gc::OLD, 0);
                m.base.set(Place::Memory(OBJECT + layout("HEADER_META"), 4), u64::from(meta));
                let inline = cells(&m).into_iter().filter(|&c| !Value::from_bits(c).is_object());
                for cell in inline.chain([object]).collect::<Vec<u64>>() {
                    let v = Value::from_bits(cell);
                    let of_type = if v.is_object() { (t.object)(kind, meta) } else { (t.inline)(v) };
                    let is = nullable && v == Value::NIL || of_type;
                    // The header of a list does not tell all that it may be.
                    let open = t.name == "ELEMENTS" && v.is_object() && kind == ObjectKind::ListCell && !is;
                    let inputs = [(Place::Slot(A), cell)];
                    let what = || format!("{}{suffix} of {cell:#x}, {kind:?} {meta}", t.name);
                    if is {
                        m.check(cast, &inputs, Exit::Next, &[(Place::Slot(D), Bits::Are(cell))], what);
                    } else {
                        m.check(cast, &inputs, Exit::Cold, &[], what);
                    }
                    for (d, &test) in tests.iter().enumerate() {
                        let writes = [(Place::Int(d), Bits::Are(u64::from(is)))];
                        if open {
                            m.check(test, &inputs, Exit::Cold, &[], what);
                        } else {
                            m.check(test, &inputs, Exit::Next, &writes, what);
                        }
                    }
                }
            }
            m.covered(&format!("CAST_{}{suffix}", t.name), 1);
            m.covered(&format!("TEST_{}{suffix}", t.name), 6);
        }
    }
}
