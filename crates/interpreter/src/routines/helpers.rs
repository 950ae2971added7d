//! Helpers: what optimized code calls with values in registers. They neither collect, nor trap, nor leave. The list, with types
//! and effects, is `upshift_optimizer::helper`; the order there is that of the engine's table.

use upshift_bytecode::{TruthMask, Word};
use upshift_runtime::context::Context;
use upshift_runtime::heap::Heap;
use upshift_runtime::instance::Instance;
use upshift_runtime::linked::type_of_code;
use upshift_runtime::list;
use upshift_runtime::map;
use upshift_runtime::object::Buffer;
use upshift_runtime::scalar;
use upshift_runtime::string;
use upshift_runtime::value::Value;

/// Defines helpers, with the one contract.
macro_rules! helpers {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ty),*) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// A live context of an instance that this thread runs; cells are live and of the kind that the name says.
        pub unsafe extern "C" fn $name($($param: $ty),*) $(-> $result)? {
            // SAFETY: by the contract; references to the instance end with the call.
            #[allow(unused_unsafe, reason = "some bodies need none")]
            unsafe { $body }
        }
    )*};
}

/// The instance of a context.
macro_rules! instance {
    ($ctx:ident) => {
        (&mut *$ctx.cast::<Instance>())
    };
}

/// What is made without the long way; hole where a collection is due, or that way is needed.
#[inline(always)]
fn quick(heap: &mut Heap, make: impl FnOnce(&mut Heap) -> Option<Value>) -> Value {
    if heap.collection_due() { Value::HOLE } else { make(heap).unwrap_or(Value::HOLE) }
}

helpers! {
    /// fmod.
    float_rem(a: f64, b: f64) -> f64 { scalar::float_rem(a, b) }
    /// Power.
    float_pow(a: f64, b: f64) -> f64 { scalar::float_pow(a, b) }
    /// The angle of the point (b, a).
    float_atan2(a: f64, b: f64) -> f64 { scalar::float_atan2(a, b) }
    /// To the nearest integral value, halves away from zero.
    float_round(a: f64) -> f64 { scalar::float_round(a) }
    /// Sine.
    float_sin(a: f64) -> f64 { scalar::float_sin(a) }
    /// Cosine.
    float_cos(a: f64) -> f64 { scalar::float_cos(a) }
    /// Tangent.
    float_tan(a: f64) -> f64 { scalar::float_tan(a) }
    /// Arcsine.
    float_asin(a: f64) -> f64 { scalar::float_asin(a) }
    /// Arccosine.
    float_acos(a: f64) -> f64 { scalar::float_acos(a) }
    /// Arctangent.
    float_atan(a: f64) -> f64 { scalar::float_atan(a) }
    /// Exponential.
    float_exp(a: f64) -> f64 { scalar::float_exp(a) }
    /// Natural logarithm.
    float_log(a: f64) -> f64 { scalar::float_log(a) }
    /// Binary logarithm.
    float_log2(a: f64) -> f64 { scalar::float_log2(a) }
    /// Decimal logarithm.
    float_log10(a: f64) -> f64 { scalar::float_log10(a) }

    /// The write barrier behind the test of the bit.
    write_barrier(ctx: *mut Context, object: Value) { instance!(ctx).heap.write_barrier_slow(object.as_ptr()) }
    /// The write barrier of a buffer's slot, behind the test of the bit.
    write_barrier_slot(ctx: *mut Context, buffer: *mut Buffer, slot: *mut Value) {
        instance!(ctx).heap.write_barrier_slot_slow(buffer, slot)
    }

    /// Writes the address of a new object with this first word and this size to a place. Does not collect, and does not fail.
    make_object(ctx: *mut Context, header: u64, size: usize, place: *mut Value) {
        *place = Value::object(instance!(ctx).heap.alloc_owed(header, size));
    }
    /// Whether two strings have the same bytes.
    string_equal(ctx: *mut Context, a: Value, b: Value) -> i64 { i64::from(super::long_equal(ctx, a, b)) }
    /// The order of two strings: -1, 0 or 1.
    string_compare(ctx: *mut Context, a: Value, b: Value) -> i64 {
        super::passed(ctx, a);
        string::compare(a, b) as i64
    }
    /// Where a string occurs first in another, or -1.
    string_index_of(ctx: *mut Context, s: Value, part: Value) -> i64 {
        super::passed(ctx, s);
        string::index_of(s, part)
    }
    /// Where an int comes first in a list of ints, or -1.
    list_int_index_of(ctx: *mut Context, l: Value, i: i64) -> i64 {
        super::searched(ctx, l.as_ptr());
        list::index_of_int(l.as_ptr(), i)
    }
    /// Where a string comes first in a list of cells, or -1.
    list_string_index_of(ctx: *mut Context, l: Value, text: Value) -> i64 {
        super::searched(ctx, l.as_ptr());
        list::index_of_text(l.as_ptr(), text)
    }
    /// Makes room in a list for so many more elements, where no collection is due and the nursery has that much; else nothing happens.
    list_reserve(ctx: *mut Context, l: Value, more: i64) {
        let heap = &mut instance!(ctx).heap;
        if !heap.collection_due() {
            list::reserve_quick(heap, l.as_ptr(), usize::try_from(more).unwrap_or(0));
        }
    }
    /// The number of bytes.
    string_byte_len(s: Value) -> i64 { string::byte_len(s) as i64 }
    /// A scalar by its position, or -1.
    string_code_at(ctx: *mut Context, s: Value, i: i64) -> i64 {
        string::code_at(&mut instance!(ctx).heap, s, i).unwrap_or(-1)
    }
    /// A scalar as a string, or hole where there is none.
    string_char(ctx: *mut Context, s: Value, i: i64) -> Value {
        string::get(&mut instance!(ctx).heap, s, i).unwrap_or(Value::HOLE)
    }

    /// One string followed by another, where that needs little and no collection is due; else hole.
    string_join(ctx: *mut Context, a: Value, b: Value) -> Value {
        quick(&mut instance!(ctx).heap, |heap| string::concat_quick(heap, a, b))
    }
    /// One string with another behind it, in its own object where that is extensible and has room, or in a new one, where that needs
    /// little and no collection is due; else hole.
    string_extend(ctx: *mut Context, a: Value, b: Value) -> Value {
        quick(&mut instance!(ctx).heap, |heap| string::append_quick(heap, a, b))
    }
    /// Makes an extensible string an ordinary one.
    string_share(s: Value) { string::share(s); }
    /// A slice of a string, where no collection is due and the nursery has room; else hole.
    string_part(ctx: *mut Context, s: Value, from: i64, to: i64) -> Value {
        quick(&mut instance!(ctx).heap, |heap| string::slice_quick(heap, s, from, to))
    }
    /// An int in decimal, where no collection is due and the nursery has room; else hole.
    string_decimal(ctx: *mut Context, i: i64) -> Value {
        quick(&mut instance!(ctx).heap, |heap| string::from_int_quick(heap, i))
    }

    /// A new map with these bits and this about its values in its header, where it is small, no collection is due and the nursery has
    /// room; else hole.
    map_new_quick(ctx: *mut Context, bits: i64, element: i64, capacity: i64) -> Value {
        quick(&mut instance!(ctx).heap, |heap| {
            let map = map::new_quick(heap, bits as u16, capacity as usize)?;
            (*map).header.meta = element as u32;
            Some(Value::object(map))
        })
    }
    /// The number of a key's entry, or -1.
    map_int_find(m: Value, key: i64) -> i64 { map::int_find(m.as_ptr(), key).map_or(-1, |e| e as i64) }
    /// The number of a key's entry, or -1.
    map_string_find(m: Value, key: Value, _at: i64) -> i64 { map::string_find(m.as_ptr(), key).map_or(-1, |e| e as i64) }
    /// The number of the entry of a key of a map with keys of any kind, -1 where it has none, or -2 where that takes more than a look.
    map_cell_find(m: Value, key: Value, _at: i64) -> i64 {
        map::text_find(m.as_ptr(), key).map_or(-2, |found| found.map_or(-1, |e| e as i64))
    }
    /// The value at a string of a map that finds keys by text, nil where there is none, or hole for other maps.
    map_text_get(m: Value, key: Value, _at: i64) -> Value { map::at_text(m.as_ptr(), key).unwrap_or(Value::HOLE) }
    /// The value of the entry that is a map's field of a name, nil where there is none, or hole where the language says.
    map_field(m: Value, name: Value, _at: i64) -> Value { map::field(m.as_ptr(), name).unwrap_or(Value::HOLE) }

    /// Whether a cell is true under a mask.
    cell_truthy(a: Value, mask: i64) -> i64 { i64::from(super::truthy(a, TruthMask(mask as u16))) }
    /// The number of a cell's kind.
    cell_kind(a: Value) -> i64 { a.kind() as i64 }
    /// Whether two cells are the same value.
    cell_identical(a: Value, b: Value) -> i64 { i64::from(a.identical(b)) }
    /// Whether a cell is of a type.
    cell_test(ctx: *mut Context, a: Value, ty: i64) -> i64 { i64::from((*ctx.cast::<Instance>()).is(a, type_of_code(ty as u32))) }

    /// The distance that a switch over strings continues at.
    switch_string_at(ctx: *mut Context, table: *const Word, key: Value) -> i64 { super::string_switch(ctx, table, key) }
    /// The distance that a switch over words continues at.
    switch_hash_at(table: *const Word, key: i64) -> i64 { super::hash_switch(table, key as u64) }
    /// The distance that a switch over ints continues at.
    switch_int_at(table: *const Word, key: i64) -> i64 { super::int_switch(table, key) }

    /// Charges turns of a loop that are skipped, of so many units each; gives how many were charged.
    skip_turns(ctx: *mut Context, turns: i64, units: i64) -> i64 { instance!(ctx).charge_turns(turns, units) }
    /// What an int is after turns of an affine map that is reduced.
    affine_rest(x: i64, factor: i64, modulus: i64, turns: i64, added: i64, step: i64) -> i64 {
        scalar::affine_rest(x, factor, modulus, turns, added, step)
    }
    /// Likewise of two ints that update each other.
    affine_pair(state: i64, for_x: i64, for_y: i64, added: i64, step: i64, turns: i64) -> i64 {
        scalar::affine_pair(state, for_x, for_y, added, step, turns)
    }
}
