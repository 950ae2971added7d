//! The places that machine code touches, as one list of names and numbers.
//!
//! The C sources of the stencils see the list as `stencils/layout.h`, which `cargo xtask stencils` writes from here; the
//! table of stencils carries its [`HASH`], so that a table made for other offsets does not compile.

use std::mem::offset_of;

use crate::context::{Context, Status};
use crate::feedback::Feedback;
use crate::frame::FunctionEntry;
use crate::heap::{HEAP_END, HEAP_REQUESTED, HEAP_TOP};
use crate::instance::Instance;
use crate::object::{
    Buffer, Closure, Header, List, MapObject, ObjectKind, Record, Ref, StringBuffer, StringObject, Tuple, gc,
    list_bits, string_bits,
};
use crate::value::{self, Value};

macro_rules! layout {
    ($($name:ident = $value:expr;)*) => {
        /// Names and numbers, in order.
        pub const LAYOUT: &[(&str, u64)] = &[$((stringify!($name), $value as u64)),*];
    };
}

layout! {
    CTX_BUDGET = offset_of!(Context, budget);
    CTX_STACK_LIMIT = offset_of!(Context, stack_limit);
    CTX_FUNCTIONS = offset_of!(Context, functions);
    CTX_GLOBALS = offset_of!(Context, globals);
    CTX_CONSTANTS = offset_of!(Context, constants);
    CTX_FEEDBACK = offset_of!(Context, feedback);
    CTX_WATCHES = offset_of!(Context, watches);
    CTX_PC = offset_of!(Context, pc);
    CTX_FP = offset_of!(Context, fp);
    CTX_ENTRY = offset_of!(Context, entry);
    CTX_RESULT = offset_of!(Context, result);
    CTX_NATIVE_BASE = offset_of!(Context, native_base);
    CTX_ENTERED = offset_of!(Context, entered);
    CTX_ROUTINES = offset_of!(Context, routines);
    CTX_NATIVE_LIMIT = offset_of!(Context, native_limit);
    CTX_FAST = offset_of!(Context, fast);
    HEAP_TOP = offset_of!(Instance, heap) + HEAP_TOP;
    HEAP_END = offset_of!(Instance, heap) + HEAP_END;
    HEAP_REQUESTED = offset_of!(Instance, heap) + HEAP_REQUESTED;
    FUNCTION_SHIFT = FunctionEntry::SHIFT;
    FUNCTION_CODE = offset_of!(FunctionEntry, code);
    FUNCTION_LINK = offset_of!(FunctionEntry, link);
    FUNCTION_HEADER = offset_of!(FunctionEntry, header);
    FUNCTION_START = offset_of!(FunctionEntry, start);
    FUNCTION_NATIVE = offset_of!(FunctionEntry, native);
    FUNCTION_SIMPLE = offset_of!(FunctionEntry, simple);
    STATUS_CONTINUE = Status::Continue;
    STATUS_RELOAD = Status::Reload;
    STATUS_EXIT = Status::Exit;
    STATUS_BRANCH = Status::Branch;
    STATUS_INTERPRET = Status::Interpret;
    STATUS_RETURNED = Status::Returned;
    STATUS_CALL = Status::Call;
    STATUS_DEOPT = Status::Deopt;
    ROUTINE_RETURN = 0;
    HEADER_KIND = offset_of!(Header, kind);
    HEADER_GC = offset_of!(Header, gc);
    HEADER_BITS = offset_of!(Header, bits);
    HEADER_META = offset_of!(Header, meta);
    GC_BARRIER = gc::BARRIER;
    LIST_LEN = offset_of!(List, len);
    LIST_BUFFER = offset_of!(List, buffer);
    LIST_SHARED = list_bits::SHARED;
    KIND_LIST_FIRST = ObjectKind::ListInt;
    KIND_LIST_LAST = ObjectKind::ListCell;
    KIND_RECORD = ObjectKind::Record;
    KIND_CLOSURE = ObjectKind::Closure;
    BUFFER_CAPACITY = offset_of!(Buffer, capacity);
    BUFFER_DATA = Buffer::DATA;
    KIND_STRING = ObjectKind::String;
    KIND_WIDE_INT = ObjectKind::WideInt;
    STRING_LEN = offset_of!(StringObject, len);
    STRING_PAYLOAD = StringObject::PAYLOAD;
    STRING_HASH = offset_of!(StringObject, hash);
    STRING_BUFFERED = string_bits::BUFFERED;
    STRING_EXTENSIBLE = string_bits::EXTENSIBLE;
    STRING_BUFFER_DATA = StringBuffer::DATA;
    STRING_BUFFER_USED = offset_of!(StringBuffer, used);
    MAP_USED = offset_of!(MapObject, used);
    MAP_ENTRIES = offset_of!(MapObject, entries);
    MAP_BASE = offset_of!(MapObject, base);
    MAP_DENSE = crate::map::DENSE;
    VALUE_TOMBSTONE = Value::TOMBSTONE.bits();
    VALUE_SHORT_TAG = value::TAG_SHORT_STRING << 48;
    MAP_LEN = offset_of!(MapObject, len);
    RECORD_FIELDS = Record::FIELDS;
    CLOSURE_CAPTURES = Closure::CAPTURES;
    REF_CONTENT = offset_of!(Ref, content);
    TUPLE_LENGTH = offset_of!(Tuple, len);
    TUPLE_CELLS = Tuple::CELLS;
    VALUE_NIL = Value::NIL.bits();
    VALUE_FALSE = Value::FALSE.bits();
    VALUE_TRUE = Value::TRUE.bits();
    VALUE_NONE = Value::NONE.bits();
    VALUE_MANY = Value::MANY.bits();
    VALUE_ADDRESS_END = value::ADDRESS_END;
    VALUE_FLOAT_OFFSET = value::FLOAT_OFFSET;
    VALUE_FLOAT_LAST = value::FLOAT_LAST;
    VALUE_INT_TAG = value::TAG_INT << 48;
    KIND_INT = upshift_bytecode::Kind::Int;
    KIND_FLOAT = upshift_bytecode::Kind::Float;
    KIND_LIST = upshift_bytecode::Kind::List;
    FEEDBACK_IDS = offset_of!(Feedback, ids);
    FEEDBACK_SLOTS = offset_of!(Feedback, slots);
    KIND_NIL_VALUE = upshift_bytecode::Kind::Nil;
    KIND_BOOL = upshift_bytecode::Kind::Bool;
    KIND_NAME = upshift_bytecode::Kind::Name;
    KIND_TEXT = upshift_bytecode::Kind::String;
    VALUE_NAME_TAG = value::TAG_NAME << 48;
}

const _: () = assert!(ObjectKind::ListCell as u8 - ObjectKind::ListInt as u8 == 3);

/// A hash of [`LAYOUT`].
pub const HASH: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < LAYOUT.len() {
        let (name, number) = LAYOUT[i];
        let name = name.as_bytes();
        let mut j = 0;
        while j < name.len() {
            hash = (hash ^ name[j] as u64).wrapping_mul(0x0100_0000_01b3);
            j += 1;
        }
        let mut rest = number;
        let mut k = 0;
        while k < 8 {
            hash = (hash ^ (rest & 0xFF)).wrapping_mul(0x0100_0000_01b3);
            rest >>= 8;
            k += 1;
        }
        i += 1;
    }
    hash
};

/// The list as a C header.
pub fn header() -> String {
    use std::fmt::Write;
    let mut text = String::from(
        "/* Generated from the list in crates/runtime/src/layout.rs by `cargo xtask stencils`. */\n#pragma once\n\n",
    );
    for (name, number) in LAYOUT {
        let _ = if *number < 1 << 31 {
            writeln!(text, "#define {name} {number}")
        } else {
            writeln!(text, "#define {name} {number:#x}")
        };
    }
    text
}
