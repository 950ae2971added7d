//! What the tests of objects lay out in the machine's memory: a list with its buffer, another object, and cells of all
//! kinds. There is no heap here; where things stand follows from the layout that stencils are compiled for.

use upshift_runtime::object::{ObjectKind, gc, list_bits};
use upshift_runtime::value::{self, Value};

use crate::harness::{Machine, Place, layout};

/// Where operands in slots stand.
pub const A: usize = 3;
pub const B: usize = 7;
pub const D: usize = 12;
pub const L: usize = 20;

/// Where objects stand in memory.
pub const LIST: usize = 0;
pub const BUFFER: usize = 64;
pub const OBJECT: usize = 192;

pub const INTS: &[i64] = &[
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

pub const FLOATS: &[u64] = &[
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
pub fn cells(m: &Machine) -> Vec<u64> {
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
pub fn header(m: &mut Machine, at: usize, kind: ObjectKind, gc: u8, bits: u16) {
    m.base.set(Place::word(at), 0xABCD_1234_0000_0000);
    m.base.set(Place::Memory(at + layout("HEADER_KIND"), 1), kind as u64);
    m.base.set(Place::Memory(at + layout("HEADER_GC"), 1), u64::from(gc));
    m.base.set(Place::Memory(at + layout("HEADER_BITS"), 2), u64::from(bits));
}

/// Lays a list out, which slot L refers to; its elements keep the bits that are in memory.
pub fn list(m: &mut Machine, kind: ObjectKind, len: usize, capacity: usize) {
    header(m, LIST, kind, gc::OLD, !list_bits::SHARED);
    m.base.set(Place::word(LIST + layout("LIST_LEN")), len as u64);
    let (buffer, address) = (m.address(BUFFER), m.address(LIST));
    m.base.set(Place::word(LIST + layout("LIST_BUFFER")), buffer);
    header(m, BUFFER, ObjectKind::RawBuffer, !gc::BARRIER, 0);
    m.base.set(Place::word(BUFFER + layout("BUFFER_CAPACITY")), capacity as u64);
    m.base.set(Place::Slot(L), address);
}

/// Where an element is.
pub fn element(index: usize, size: usize) -> Place {
    Place::Memory(BUFFER + layout("BUFFER_DATA") + index * size, size)
}

/// Positions around the ends of a list, and those whose byte offset is that of others.
pub fn positions(len: usize) -> Vec<i64> {
    let n = len as i64;
    let mut all = vec![-n - 1, -n, 1 - n, -2, -1, 0, 1, n - 1, n, n + 1];
    all.extend([1 << 32, 1 << 61, (1 << 61) + 1, -(1 << 61), i64::MAX, i64::MIN, i64::MIN + n]);
    all.sort_unstable();
    all.dedup();
    all
}

/// Which element a position names: from the front, or, in the companions that the slow path asks, from the end alone.
pub fn resolve(position: i64, len: usize, from_end: bool) -> Option<usize> {
    let at = match (from_end, position < 0) {
        (false, _) => i128::from(position),
        (true, true) => i128::from(position) + len as i128,
        (true, false) => return None,
    };
    usize::try_from(at).ok().filter(|&at| at < len)
}
