//! Host functions: how Rust code reads and makes guest values, calls guest functions, and does input and output.
//!
//! The rule that makes this safe without a handle per value: **nothing collects while a [`HostContext`] is borrowed
//! shared.** Allocation takes `&self` and never moves anything, so [`Val`]s, which borrow the context, stay valid.
//! Calling guest code takes `&mut self`, may collect, and so ends the life of every `Val`; what must survive is kept in a
//! [`Root`].
//!
//! ```ignore
//! registry.function("text.repeat", |ctx: &mut HostContext<'_>, text: String, times: i64| Ok(text.repeat(times as usize)));
//! registry.dynamic("list.first", |ctx, args| {
//!     let list = args.val(ctx, 0)?;
//!     let first = list.as_list().and_then(|l| l.get(0)).unwrap_or(ctx.nil());
//!     Ok(first.into())
//! });
//! ```
//!
//! What this file does not do: mangle values for C (`call.c`), or give out pointers into frames.

use std::any::Any;
use std::cell::{Cell, RefMut};
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use upshift_bytecode::{
    HeapType, KeyPolicy, Kind, OrderPolicy, Protocol, RecordId, Signature, TrapCode, TypeId, ValueType,
};

use crate::instance::Instance;
use crate::io::Io;
use crate::linked::{FunctionMeta, LinkError, STRING_CODE, ShapeId, type_code};
use crate::object::{self, ObjectKind};
use crate::trap::Trap;
use crate::value::Value;

/// A slot of the instance that keeps a value alive and follows it when it moves.
///
/// A root made inside a host function lives until that function returns; one made by the embedder's
/// [`Instance::enter`] lives until that scope ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root(pub(crate) u32);

/// What a host function works with: the instance, and the call that it answers.
pub struct HostContext<'a> {
    instance: *mut Instance,
    /// The function that is being called: its module is the caller's module.
    function: *const FunctionMeta,
    marker: PhantomData<&'a mut Instance>,
}

/// A guest value, valid until the context is borrowed mutably.
#[derive(Clone, Copy)]
pub struct Val<'h> {
    value: Value,
    instance: *const Instance,
    marker: PhantomData<&'h ()>,
}

/// The text of a string value. Short strings are inside, long ones are borrowed from the heap.
#[derive(Clone, Copy)]
pub struct Text<'h>(TextInner<'h>);

#[derive(Clone, Copy)]
enum TextInner<'h> {
    Short(Value),
    /// The text, and the number of its characters.
    Long(&'h str, usize),
}

/// The hash that a string with this text has.
#[inline]
pub fn text_hash(text: &str) -> u32 {
    crate::string::hash_of_bytes(text.as_bytes())
}

impl<'h> Text<'h> {
    /// The number of characters, which strings know.
    #[inline]
    pub fn char_count(self) -> usize {
        match self.0 {
            // SAFETY: a short string has no object.
            TextInner::Short(value) => unsafe { crate::string::len(value) },
            TextInner::Long(_, count) => count,
        }
    }

    /// Whether the text is ASCII, so that positions of characters are those of bytes; without a look at it.
    #[inline]
    pub fn is_ascii(self) -> bool {
        self.char_count() == self.len()
    }
}

impl Deref for Text<'_> {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        match &self.0 {
            // SAFETY: short strings are made of whole UTF-8 sequences only.
            TextInner::Short(value) => unsafe { std::str::from_utf8_unchecked(value.short_bytes()) },
            TextInner::Long(text, _) => text,
        }
    }
}
impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}
impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What the elements of a list are stored as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Storage {
    /// Raw ints.
    Int,
    /// Raw floats.
    Float,
    /// Booleans, a byte each.
    Bool,
    /// Cells.
    Cell,
}

impl<'h> Val<'h> {
    fn with(self, value: Value) -> Val<'h> {
        Val { value, ..self }
    }

    fn instance(self) -> &'h Instance {
        // SAFETY: a `Val` borrows its context, whose instance outlives it; nobody has it mutably in the meantime, except
        // for allocation, which touches fields that shared access does not hold references into.
        unsafe { &*self.instance }
    }

    /// The kind.
    #[inline]
    pub fn kind(self) -> Kind {
        self.value.kind()
    }

    /// Whether it is nil (or another value that stands for nothing).
    #[inline]
    pub fn is_nil(self) -> bool {
        self.kind() == Kind::Nil
    }

    /// The int of any width.
    #[inline]
    pub fn as_int(self) -> Option<i64> {
        self.value.as_int()
    }

    /// The float; ints are not converted.
    #[inline]
    pub fn as_float(self) -> Option<f64> {
        self.value.as_float()
    }

    /// The float, or the int as one.
    #[inline]
    pub fn as_number(self) -> Option<f64> {
        self.value.as_float().or_else(|| self.value.as_int().map(|i| i as f64))
    }

    /// The boolean.
    #[inline]
    pub fn as_bool(self) -> Option<bool> {
        self.value.as_bool()
    }

    /// The text of a string.
    #[inline]
    pub fn as_str(self) -> Option<Text<'h>> {
        if self.value.is_short_string() {
            return Some(Text(TextInner::Short(self.value)));
        }
        if !self.value.is_object_of(ObjectKind::String) {
            return None;
        }
        // SAFETY: it is a live string object; its bytes do not move or change while the context is not borrowed mutably.
        let (text, scalars) =
            unsafe { (crate::string::object_text(self.value.as_ptr()), crate::string::len(self.value)) };
        Some(Text(TextInner::Long(text, scalars)))
    }

    /// The hash of a string's bytes, which long strings keep: the one of [`text_hash`]. `None` for other values.
    #[inline]
    pub fn text_hash(self) -> Option<u32> {
        // SAFETY: a string, whose object, if any, is live.
        self.value.is_string().then(|| unsafe { crate::string::hash_of(self.value) })
    }

    /// Whether two strings have the same text; `None` where one is no string.
    #[inline]
    pub fn same_text(self, other: Val<'_>) -> Option<bool> {
        let strings = self.value.is_string() && other.value.is_string();
        // SAFETY: two strings, whose objects, if any, are live.
        strings.then(|| unsafe { crate::string::equal(self.value, other.value) })
    }

    /// The kind and text of an interned name.
    pub fn as_name(self) -> Option<(u8, Arc<str>)> {
        let (kind, id) = self.value.as_name()?;
        Some((kind, self.instance().tables().name_text(id)?))
    }

    /// The list.
    #[inline]
    pub fn as_list(self) -> Option<ListView<'h>> {
        let storage = match self.value.object_kind()? {
            ObjectKind::ListInt => Storage::Int,
            ObjectKind::ListFloat => Storage::Float,
            ObjectKind::ListBool => Storage::Bool,
            ObjectKind::ListCell => Storage::Cell,
            _ => return None,
        };
        Some(ListView { val: self, storage })
    }

    /// The map.
    #[inline]
    pub fn as_map(self) -> Option<MapView<'h>> {
        self.value.is_object_of(ObjectKind::Map).then_some(MapView { val: self })
    }

    /// The record.
    #[inline]
    pub fn as_record(self) -> Option<RecordView<'h>> {
        self.value.is_object_of(ObjectKind::Record).then_some(RecordView { val: self })
    }

    /// The tuple.
    #[inline]
    pub fn as_tuple(self) -> Option<TupleView<'h>> {
        self.value.is_object_of(ObjectKind::Tuple).then_some(TupleView { val: self })
    }

    /// The kind and bytes of a byte object.
    #[inline]
    pub fn as_bytes(self) -> Option<(u16, &'h [u8])> {
        if !self.value.is_object_of(ObjectKind::Bytes) {
            return None;
        }
        let bytes = self.value.as_ptr::<object::Bytes>();
        // SAFETY: a live byte object; byte objects are never written after they were made.
        unsafe {
            let data = std::slice::from_raw_parts(object::Bytes::data(bytes), (*bytes).len as usize);
            Some(((*bytes).header.meta as u16, data))
        }
    }

    /// The function.
    pub fn as_function(self) -> Option<FunctionView<'h>> {
        if !self.value.is_object_of(ObjectKind::Closure) {
            return None;
        }
        // SAFETY: a live closure.
        let index = unsafe { (*self.value.as_object_unchecked()).meta };
        Some(FunctionView { meta: self.instance().function(index)? })
    }

    /// Whether both are the same value: the same object, or equal ints, floats, strings of at most five bytes, names.
    #[inline]
    pub fn identical(self, other: Val<'_>) -> bool {
        self.value.identical(other.value)
    }

    /// A number that no other object has while no guest code runs; `None` for values that are no objects. For finding
    /// cycles.
    #[inline]
    pub fn address(self) -> Option<usize> {
        self.value.as_object().map(|o| o as usize)
    }
}

impl fmt::Debug for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "{:?} {:?}", self.kind(), self.value),
        }
    }
}

/// A list.
#[derive(Clone, Copy)]
pub struct ListView<'h> {
    val: Val<'h>,
    storage: Storage,
}

impl<'h> ListView<'h> {
    fn list(self) -> *mut object::List {
        self.val.value.as_ptr()
    }

    fn data<T>(self) -> &'h [Cell<T>] {
        // SAFETY: the list is live and its first `len` elements are initialised `T`s of the storage that the caller
        // checked. A buffer that is replaced stays readable until the next collection.
        unsafe {
            let list = self.list();
            std::slice::from_raw_parts(object::Buffer::data::<Cell<T>>((*list).buffer), (*list).len)
        }
    }

    /// What the elements are stored as.
    #[inline]
    pub fn storage(self) -> Storage {
        self.storage
    }

    /// The number of elements.
    #[inline]
    pub fn len(self) -> usize {
        // SAFETY: a live list.
        unsafe { (*self.list()).len }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value itself.
    #[inline]
    pub fn val(self) -> Val<'h> {
        self.val
    }

    /// An element. Raw elements become values; ints beyond 48 bits are boxed, which can only fail at the memory limit:
    /// then nil. Use [`ListView::ints`] where that matters.
    #[inline]
    pub fn get(self, i: usize) -> Option<Val<'h>> {
        let value = match self.storage {
            Storage::Int => {
                self.val.instance().box_int_shared(self.data::<i64>().get(i)?.get()).unwrap_or(Value::NIL)
            }
            Storage::Float => Value::float(self.data::<f64>().get(i)?.get()),
            Storage::Bool => Value::bool(self.data::<u8>().get(i)?.get() != 0),
            Storage::Cell => self.data::<Value>().get(i)?.get(),
        };
        Some(self.val.with(value))
    }

    /// Whether the elements are cells of any type, or of one that nobody has decided yet.
    pub fn holds_any(self) -> bool {
        // SAFETY: a live list.
        self.storage == Storage::Cell && unsafe { (*self.list()).header.meta } <= crate::check::ANY_CODE
    }

    /// Where in `from..to` a string with the same text comes first; no other elements equal a string.
    pub fn find_text(self, from: usize, to: usize, text: Val<'_>) -> Option<usize> {
        if self.storage != Storage::Cell || !text.value.is_string() {
            return None;
        }
        let cells = self.data::<Value>().get(from..to.min(self.len()))?;
        // SAFETY: live strings, where both are strings at all.
        let same = |cell: &Cell<Value>| unsafe { crate::string::is_text(cell.get(), text.value) };
        cells.iter().position(same).map(|at| from + at)
    }

    /// Where in `from..to` a record comes first that equals this one, or would have to be looked into for that.
    pub fn find_record(self, from: usize, to: usize, record: RecordView<'_>) -> Option<usize> {
        if self.storage != Storage::Cell {
            return None;
        }
        let (shape, id, wanted) = (record.shape(), record.shape_id(), record.val.value.as_ptr());
        let cells = self.data::<Value>().get(from..to.min(self.len()))?;
        let may_be = |cell: &Cell<Value>| {
            let cell = cell.get();
            // SAFETY: an object is a live one, and what is compared are records of one shape.
            cell.is_object_of(ObjectKind::Record)
                && unsafe {
                    cell.bits() == record.val.value.bits()
                        || (*cell.as_object_unchecked()).meta != id
                        || equal_fields(shape, cell.as_ptr(), wanted) != Some(false)
                }
        };
        cells.iter().position(may_be).map(|at| from + at)
    }

    /// How many elements from a position on, at most so many, are in both lists the same cell but no float, or the same small int:
    /// such are equal whatever equality says of parts of them. Others may be equal, too.
    pub fn same_from(self, other: ListView<'_>, from: usize, most: usize) -> usize {
        let to = (from + most).min(self.len()).min(other.len());
        let part = from.min(to)..to;
        let common = |cells: &[Cell<Value>], ints: &[Cell<i64>]| {
            let differ =
                |(cell, int): (&Cell<Value>, &Cell<i64>)| cell.get().as_small_int() != Some(int.get());
            cells.iter().zip(ints).position(differ)
        };
        let differs = match (self.storage, other.storage) {
            (Storage::Cell, Storage::Cell) => {
                let pairs =
                    self.data::<Value>()[part.clone()].iter().zip(&other.data::<Value>()[part.clone()]);
                pairs.map(|(a, b)| (a.get(), b.get())).position(|(a, b)| a.bits() != b.bits() || a.is_float())
            }
            (Storage::Cell, Storage::Int) => common(&self.data()[part.clone()], &other.data()[part.clone()]),
            (Storage::Int, Storage::Cell) => common(&other.data()[part.clone()], &self.data()[part.clone()]),
            _ => Some(0),
        };
        differs.unwrap_or(part.len())
    }

    /// All elements in order.
    pub fn iter(self) -> impl Iterator<Item = Val<'h>> {
        (0..).map_while(move |i| self.get(i))
    }

    /// The raw ints.
    #[inline]
    pub fn ints(self) -> Option<&'h [Cell<i64>]> {
        (self.storage == Storage::Int).then(|| self.data())
    }

    /// The raw floats.
    #[inline]
    pub fn floats(self) -> Option<&'h [Cell<f64>]> {
        (self.storage == Storage::Float).then(|| self.data())
    }

    /// The booleans as bytes, 0 or 1.
    #[inline]
    pub fn bools(self) -> Option<&'h [Cell<u8>]> {
        (self.storage == Storage::Bool).then(|| self.data())
    }
}

/// A map.
#[derive(Clone, Copy)]
pub struct MapView<'h> {
    val: Val<'h>,
}

impl<'h> MapView<'h> {
    /// The number of entries.
    #[inline]
    pub fn len(self) -> usize {
        // SAFETY: a live map.
        unsafe { (*self.val.value.as_ptr::<object::MapObject>()).len as usize }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value itself.
    #[inline]
    pub fn val(self) -> Val<'h> {
        self.val
    }

    /// How keys are held and compared.
    pub fn key_policy(self) -> KeyPolicy {
        // SAFETY: a live map.
        unsafe { crate::map::key_policy(self.val.value.as_ptr()) }
    }

    /// The order in which entries are shown.
    pub fn order_policy(self) -> OrderPolicy {
        // SAFETY: a live map.
        unsafe { crate::map::order_policy(self.val.value.as_ptr()) }
    }

    /// How the map was marked with [`HostContext::map_mark`]; 0 if it was not.
    pub fn mark(self) -> u8 {
        // SAFETY: a live map.
        unsafe { crate::map::mark(self.val.value.as_ptr()) }
    }

    /// The entries in the order of their insertion. Nothing is sorted for it; ints beyond 48 bits are boxed, as in [`ListView::get`].
    pub fn inserted(self) -> impl Iterator<Item = (Val<'h>, Val<'h>)> {
        let map = self.val.value.as_ptr::<object::MapObject>();
        // SAFETY: a live map.
        let used = unsafe { (*map).used as usize };
        (0..used).filter_map(move |entry| {
            // SAFETY: a live map, which nothing removes entries from while the view is used; entries below `used` are initialised.
            unsafe {
                let value = crate::map::value_at(map, entry);
                let heap = self.val.instance().heap_shared();
                let live = entry < (*map).used as usize && value != Value::TOMBSTONE;
                let mut key = || crate::map::key_at(heap, map, entry).unwrap_or(Value::NIL);
                live.then(|| (self.val.with(key()), self.val.with(value)))
            }
        })
    }

    /// The value at a string key (also where keys are compared by value or text).
    pub fn get_str(self, key: &str) -> Option<Val<'h>> {
        let instance = self.val.instance();
        let heap = instance.heap_shared();
        let key = crate::string::from_str(heap, key).ok()?;
        instance.map_get(heap, self.val.value, key).ok()?.map(|v| self.val.with(v))
    }

    /// The value at an int key.
    pub fn get_int(self, key: i64) -> Option<Val<'h>> {
        let instance = self.val.instance();
        let key = instance.box_int_shared(key).ok()?;
        instance.map_get(instance.heap_shared(), self.val.value, key).ok()?.map(|v| self.val.with(v))
    }
}

/// A record.
#[derive(Clone, Copy)]
pub struct RecordView<'h> {
    val: Val<'h>,
}

impl<'h> RecordView<'h> {
    /// The number of the record's shape: equal for records of one declaration.
    #[inline]
    pub fn shape_id(self) -> ShapeId {
        // SAFETY: a live record.
        unsafe { (*self.val.value.as_object_unchecked()).meta }
    }

    fn shape(self) -> &'h crate::record::Shape {
        self.val.instance().shape(self.shape_id())
    }

    /// The value itself.
    pub fn val(self) -> Val<'h> {
        self.val
    }

    /// The name that the language gave the record.
    pub fn name(self) -> &'h str {
        &self.shape().name
    }

    /// The number of the variant in its union.
    pub fn tag(self) -> u16 {
        self.shape().tag
    }

    /// The number of fields.
    pub fn len(self) -> usize {
        self.shape().fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name of a field, in declaration order.
    pub fn field_name(self, i: usize) -> Option<&'h str> {
        self.shape().fields.get(i).map(|f| &*f.name)
    }

    /// The position of a field by name.
    pub fn field_index(self, name: &str) -> Option<usize> {
        self.shape().fields.iter().position(|f| &*f.name == name)
    }

    /// A field in declaration order. Ints beyond 48 bits are boxed, as in [`ListView::get`].
    pub fn get(self, i: usize) -> Option<Val<'h>> {
        let field = self.shape().fields.get(i)?;
        let record = self.val.value.as_ptr::<object::Record>();
        // SAFETY: a live record of this shape, so the slot is inside.
        let bits = unsafe { *object::Record::field::<u64>(record, field.slot as usize) };
        let value = self.val.instance().box_raw_shared(field.ty, bits).unwrap_or(Value::NIL);
        Some(self.val.with(value))
    }

    /// Whether all fields are equal, of two records of one shape, where that follows from what is in the fields and from texts of
    /// moderate length; `None` where other objects would have to be looked into.
    #[inline]
    pub fn equal_fields(self, other: RecordView<'_>) -> Option<bool> {
        // SAFETY: live records of this shape.
        unsafe { equal_fields(self.shape(), self.val.value.as_ptr(), other.val.value.as_ptr()) }
    }

    /// A field by name.
    pub fn get_named(self, name: &str) -> Option<Val<'h>> {
        self.get(self.field_index(name)?)
    }
}

/// See [`RecordView::equal_fields`].
///
/// # Safety
/// Both are live records of the shape.
unsafe fn equal_fields(
    shape: &crate::record::Shape,
    a: *mut object::Record,
    b: *mut object::Record,
) -> Option<bool> {
    let mut all = Some(true);
    for field in &shape.fields {
        let slot = field.slot as usize;
        // SAFETY: by the contract the slot is inside.
        let (a, b) =
            unsafe { (*object::Record::field::<u64>(a, slot), *object::Record::field::<u64>(b, slot)) };
        let equal = match field.ty {
            ValueType::Int | ValueType::Bool => Some(a == b),
            ValueType::Float => Some(f64::from_bits(a) == f64::from_bits(b)),
            ValueType::Cell(_) => equal_cells(Value::from_bits(a), Value::from_bits(b)),
        };
        match equal {
            Some(true) => {}
            Some(false) => return equal,
            None => all = None,
        }
    }
    all
}

/// Whether two valid cells are equal, where that takes no more than a look at them and at texts of moderate length.
fn equal_cells(a: Value, b: Value) -> Option<bool> {
    /// So many bytes of text are compared without anybody being asked.
    const TEXT: usize = 4096;
    if a.bits() == b.bits() {
        return Some(a.as_float().is_none_or(|x| !x.is_nan()));
    }
    if a.is_string() && b.is_string() {
        // SAFETY: valid cells of live objects.
        unsafe {
            let len = crate::string::byte_len(a);
            if len != crate::string::byte_len(b) {
                return Some(false);
            }
            return (len <= TEXT).then(|| crate::string::equal(a, b));
        }
    }
    let plain = |v: Value| v.is_nil() || v.is_bool() || v.is_small_int();
    (plain(a) && plain(b) || a.is_nil() || b.is_nil()).then_some(false)
}

/// A tuple: an object of a front-end kind with a tail of cells.
#[derive(Clone, Copy)]
pub struct TupleView<'h> {
    val: Val<'h>,
}

impl<'h> TupleView<'h> {
    fn tuple(self) -> *mut object::Tuple {
        self.val.value.as_ptr()
    }

    /// The value itself.
    pub fn val(self) -> Val<'h> {
        self.val
    }

    /// The front end's kind.
    pub fn tuple_kind(self) -> u16 {
        // SAFETY: a live tuple.
        unsafe { (*self.tuple()).header.meta as u16 }
    }

    /// The language's header bits.
    pub fn bits(self) -> u16 {
        // SAFETY: a live tuple.
        unsafe { (*self.tuple()).header.bits }
    }

    /// The number of cells.
    pub fn len(self) -> usize {
        // SAFETY: a live tuple.
        unsafe { (*self.tuple()).len as usize }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// A cell.
    pub fn get(self, i: usize) -> Option<Val<'h>> {
        // SAFETY: a live tuple, and the cell is inside.
        (i < self.len()).then(|| self.val.with(unsafe { *object::Tuple::cells(self.tuple()).add(i) }))
    }
}

/// A guest or host function behind a closure.
#[derive(Clone, Copy)]
pub struct FunctionView<'h> {
    meta: &'h FunctionMeta,
}

impl<'h> FunctionView<'h> {
    /// Its name.
    pub fn name(self) -> &'h str {
        &self.meta.name
    }

    /// The number of parameters, the one for surplus arguments included.
    pub fn arity(self) -> usize {
        self.meta.params.len()
    }

    /// The type of a parameter.
    pub fn param(self, i: usize) -> Option<ValueType> {
        self.meta.params.get(i).map(|p| p.ty)
    }

    /// Whether the last parameter takes surplus arguments.
    pub fn has_rest(self) -> bool {
        self.meta.rest
    }
}

/// The arguments of a host call. They stand in the guest frame, so they stay valid (and follow their objects) for the
/// whole call.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    frame: *const u64,
    meta: *const FunctionMeta,
    marker: PhantomData<&'a ()>,
}

impl Args<'_> {
    fn meta(&self) -> &FunctionMeta {
        // SAFETY: the module that imports the function is loaded while it runs.
        unsafe { &*self.meta }
    }

    /// The number of arguments.
    #[inline]
    pub fn len(&self) -> usize {
        self.meta().params.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The declared type of an argument at this call.
    pub fn ty(&self, i: usize) -> Option<ValueType> {
        self.meta().params.get(i).map(|p| p.ty)
    }

    #[inline]
    fn raw(&self, i: usize) -> Option<(ValueType, u64)> {
        let param = self.meta().params.get(i)?;
        // SAFETY: parameters are inside the frame, which is live during the call.
        Some((param.ty, unsafe { *self.frame.add(param.slot as usize) }))
    }

    fn wrong(&self, i: usize, wanted: &str) -> Trap {
        let name = &self.meta().name;
        let found = match self.raw(i) {
            None => return Trap::new(TrapCode::TypeMismatch, format!("{name} has no argument {}", i + 1)),
            Some((ValueType::Int, _)) => "int",
            Some((ValueType::Bool, _)) => "bool",
            Some((ValueType::Float, _)) => "float",
            Some((ValueType::Cell(_), bits)) => Value::from_bits(bits).kind().text(),
        };
        Trap::new(TrapCode::TypeMismatch, format!("{name}: argument {} is {found}, not {wanted}", i + 1))
    }

    /// An argument that is an int, raw or in a cell.
    ///
    /// # Errors
    /// A type-mismatch trap for other kinds.
    #[inline]
    pub fn int(&self, i: usize) -> Result<i64, Trap> {
        match self.raw(i) {
            Some((ValueType::Int, bits)) => Ok(bits as i64),
            Some((ValueType::Cell(_), bits)) => {
                Value::from_bits(bits).as_int().ok_or_else(|| self.wrong(i, "int"))
            }
            _ => Err(self.wrong(i, "int")),
        }
    }

    /// An argument that is a float, raw or in a cell, or an int in a cell.
    ///
    /// # Errors
    /// A type-mismatch trap for other kinds.
    #[inline]
    pub fn float(&self, i: usize) -> Result<f64, Trap> {
        match self.raw(i) {
            Some((ValueType::Float, bits)) => Ok(f64::from_bits(bits)),
            Some((ValueType::Int, bits)) => Ok(bits as i64 as f64),
            Some((ValueType::Cell(_), bits)) => {
                let v = Value::from_bits(bits);
                v.as_float().or_else(|| v.as_int().map(|i| i as f64)).ok_or_else(|| self.wrong(i, "float"))
            }
            _ => Err(self.wrong(i, "float")),
        }
    }

    /// An argument that is a boolean, raw or in a cell.
    ///
    /// # Errors
    /// A type-mismatch trap for other kinds.
    #[inline]
    pub fn bool(&self, i: usize) -> Result<bool, Trap> {
        match self.raw(i) {
            Some((ValueType::Bool, bits)) => Ok(bits != 0),
            Some((ValueType::Cell(_), bits)) => {
                Value::from_bits(bits).as_bool().ok_or_else(|| self.wrong(i, "bool"))
            }
            _ => Err(self.wrong(i, "bool")),
        }
    }

    /// An argument that is a string.
    ///
    /// # Errors
    /// A type-mismatch trap for other kinds.
    #[inline]
    pub fn text<'h>(&self, ctx: &'h HostContext<'_>, i: usize) -> Result<Text<'h>, Trap> {
        self.val(ctx, i)?.as_str().ok_or_else(|| self.wrong(i, "string"))
    }

    /// Any argument as a value.
    ///
    /// # Errors
    /// A type-mismatch trap where there is no such argument, memory-limit where boxing a wide int fails.
    #[inline]
    pub fn val<'h>(&self, ctx: &'h HostContext<'_>, i: usize) -> Result<Val<'h>, Trap> {
        let Some((ty, bits)) = self.raw(i) else { return Err(self.wrong(i, "there")) };
        Ok(ctx.wrap(ctx.instance().box_raw_shared(ty, bits)?))
    }
}

/// The result of a host function.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Ret<'h> {
    /// Nothing; nil where a value is wanted.
    Nothing,
    /// An int.
    Int(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Any value.
    Val(Val<'h>),
    /// The value in a root.
    Root(Root),
}

macro_rules! ret_from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl<'h> From<$ty> for Ret<'h> {
            fn from(value: $ty) -> Ret<'h> { Ret::$variant(value) }
        }
    )*};
}
ret_from!(i64 => Int, f64 => Float, bool => Bool, Val<'h> => Val, Root => Root);
impl From<()> for Ret<'_> {
    fn from((): ()) -> Self {
        Ret::Nothing
    }
}

/// What a host function takes for one argument.
pub trait FromArg: Sized {
    /// Reads argument `i`.
    ///
    /// # Errors
    /// A trap where the argument is of another kind.
    fn from_arg(ctx: &mut HostContext<'_>, args: Args<'_>, i: usize) -> Result<Self, Trap>;
    /// The banks of arguments that it reads without conversion.
    fn accepts(ty: ValueType) -> bool;
    /// The name in messages.
    const NAME: &'static str;
}

macro_rules! from_arg {
    ($($ty:ty, $name:literal, $pattern:pat, |$ctx:ident, $args:ident, $i:ident| $e:expr;)*) => {$(
        impl FromArg for $ty {
            fn from_arg($ctx: &mut HostContext<'_>, $args: Args<'_>, $i: usize) -> Result<Self, Trap> { $e }
            fn accepts(ty: ValueType) -> bool { matches!(ty, $pattern) }
            const NAME: &'static str = $name;
        }
    )*};
}
from_arg! {
    i64, "int", ValueType::Int | ValueType::Cell(_), |_ctx, args, i| args.int(i);
    f64, "float", ValueType::Float | ValueType::Int | ValueType::Cell(_), |_ctx, args, i| args.float(i);
    bool, "bool", ValueType::Bool | ValueType::Cell(_), |_ctx, args, i| args.bool(i);
    String, "string", ValueType::Cell(_), |ctx, args, i| Ok(args.text(ctx, i)?.to_string());
    Root, "any", _, |ctx, args, i| { let v = args.val(ctx, i)?; Ok(ctx.root(v)) };
}

/// What a typed host function returns.
pub trait IntoRet {
    /// Turns it into a result.
    ///
    /// # Errors
    /// A trap where there is no memory for it.
    fn into_ret<'h>(self, ctx: &'h HostContext<'_>) -> Result<Ret<'h>, Trap>;
    /// Whether it can be a result of this type (cells: any cell; checked again when it is there).
    fn fits(ty: Option<ValueType>) -> bool;
    /// The name in messages.
    const NAME: &'static str;
}

macro_rules! into_ret {
    ($($ty:ty, $name:literal, $pattern:pat, |$ctx:ident, $v:ident| $e:expr;)*) => {$(
        impl IntoRet for $ty {
            fn into_ret<'h>(self, $ctx: &'h HostContext<'_>) -> Result<Ret<'h>, Trap> { let $v = self; $e }
            #[allow(clippy::redundant_pattern_matching, reason = "one pattern of many")]
            fn fits(ty: Option<ValueType>) -> bool { matches!(ty, $pattern) }
            const NAME: &'static str = $name;
        }
    )*};
}
into_ret! {
    (), "nothing", None | Some(ValueType::Cell(_)), |_ctx, _v| Ok(Ret::Nothing);
    i64, "int", Some(ValueType::Int | ValueType::Cell(_)), |_ctx, v| Ok(Ret::Int(v));
    f64, "float", Some(ValueType::Float | ValueType::Cell(_)), |_ctx, v| Ok(Ret::Float(v));
    bool, "bool", Some(ValueType::Bool | ValueType::Cell(_)), |_ctx, v| Ok(Ret::Bool(v));
    String, "string", Some(ValueType::Cell(_)), |ctx, v| Ok(Ret::Val(ctx.string(&v)?));
    &'static str, "string", Some(ValueType::Cell(_)), |ctx, v| Ok(Ret::Val(ctx.string(v)?));
    Root, "any", Some(_), |_ctx, v| Ok(Ret::Root(v));
}

/// Closures that [`HostRegistry::function`] takes: up to six arguments, each [`FromArg`], and a result that is
/// [`IntoRet`].
pub trait IntoHostFunction<Marker> {
    /// The registered form.
    fn into_host_function(self) -> HostFunction;
}

type Call = dyn for<'h> Fn(&'h mut HostContext<'_>, Args<'h>) -> Result<Ret<'h>, Trap> + Send + Sync;

/// A registered host function.
#[derive(Clone)]
pub struct HostFunction {
    call: Arc<Call>,
    signature: Option<Arc<HostSignature>>,
}

/// Whether something of this type is taken or given, and its name.
type Accepts<T> = (fn(T) -> bool, &'static str);

struct HostSignature {
    params: Vec<Accepts<ValueType>>,
    result: Accepts<Option<ValueType>>,
}

impl fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostFunction")
    }
}

impl HostFunction {
    /// A function that takes whatever the module imports it with.
    pub fn dynamic(
        call: impl for<'h> Fn(&'h mut HostContext<'_>, Args<'h>) -> Result<Ret<'h>, Trap> + Send + Sync + 'static,
    ) -> HostFunction {
        HostFunction { call: Arc::new(call), signature: None }
    }

    pub(crate) fn check(&self, name: &str, import: &Signature) -> Result<(), LinkError> {
        let Some(own) = &self.signature else { return Ok(()) };
        let fits = own.params.len() == import.params.len()
            && own.params.iter().zip(&import.params).all(|((accepts, _), ty)| accepts(*ty))
            && (own.result.0)(import.result);
        if fits {
            return Ok(());
        }
        let params: Vec<&str> = own.params.iter().map(|p| p.1).collect();
        let kind = |ty: &ValueType| match ty {
            ValueType::Int => "int",
            ValueType::Bool => "bool",
            ValueType::Float => "float",
            ValueType::Cell(_) => "cell",
        };
        let wanted: Vec<&str> = import.params.iter().map(kind).collect();
        let result = import.result.as_ref().map_or("nothing", kind);
        Err(LinkError::HostSignature {
            name: name.to_string(),
            registered: format!("({}) -> {}", params.join(", "), own.result.1),
            imported: format!("({}) -> {}", wanted.join(", "), result),
        })
    }

    #[inline]
    pub(crate) fn invoke<'h>(&self, ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
        (self.call)(ctx, args)
    }
}

macro_rules! typed {
    ($($arg:ident $i:literal),*) => {
        impl<F, R, $($arg),*> IntoHostFunction<(R, $($arg,)*)> for F
        where
            F: Fn(&mut HostContext<'_>, $($arg),*) -> Result<R, Trap> + Send + Sync + 'static,
            R: IntoRet,
            $($arg: FromArg,)*
        {
            fn into_host_function(self) -> HostFunction {
                let signature = HostSignature {
                    params: vec![$(($arg::accepts as fn(ValueType) -> bool, $arg::NAME)),*],
                    result: (R::fits, R::NAME),
                };
                #[allow(non_snake_case, reason = "an argument is named as its type")]
                let call = move |ctx: &mut HostContext<'_>, args: Args<'_>| -> Result<R, Trap> {
                    let _ = args;
                    $(let $arg = $arg::from_arg(ctx, args, $i)?;)*
                    self(ctx, $($arg),*)
                };
                // The two steps are apart so that the result may borrow the context.
                fn finish<'h, R: IntoRet>(r: Result<R, Trap>, ctx: &'h HostContext<'_>) -> Result<Ret<'h>, Trap> {
                    r?.into_ret(ctx)
                }
                fn bound<C>(c: C) -> C
                where
                    C: for<'h> Fn(&'h mut HostContext<'_>, Args<'h>) -> Result<Ret<'h>, Trap>,
                {
                    c
                }
                let call = bound(move |ctx, args| {
                    let result = call(ctx, args);
                    finish(result, ctx)
                });
                HostFunction { call: Arc::new(call), signature: Some(Arc::new(signature)) }
            }
        }
    };
}
typed!();
typed!(A 0);
typed!(A 0, B 1);
typed!(A 0, B 1, C 2);
typed!(A 0, B 1, C 2, D 3);
typed!(A 0, B 1, C 2, D 3, E 4);
typed!(A 0, B 1, C 2, D 3, E 4, G 5);

/// Host functions by name.
#[derive(Clone, Debug, Default)]
pub struct HostRegistry {
    functions: HashMap<String, HostFunction>,
}

impl HostRegistry {
    /// Registers a typed closure. A later registration under the same name replaces the earlier one.
    pub fn function<Marker>(&mut self, name: &str, function: impl IntoHostFunction<Marker>) -> &mut Self {
        self.functions.insert(name.to_string(), function.into_host_function());
        self
    }

    /// Registers a closure that takes whatever the module imports it with.
    pub fn dynamic(
        &mut self,
        name: &str,
        call: impl for<'h> Fn(&'h mut HostContext<'_>, Args<'h>) -> Result<Ret<'h>, Trap> + Send + Sync + 'static,
    ) -> &mut Self {
        self.functions.insert(name.to_string(), HostFunction::dynamic(call));
        self
    }

    /// The function with this name.
    pub fn get(&self, name: &str) -> Option<&HostFunction> {
        self.functions.get(name)
    }
}

impl fmt::Debug for HostContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostContext")
    }
}

impl HostContext<'_> {
    /// # Safety
    /// `instance` is live, used by this thread alone, and `function` is one of its functions or null.
    pub(crate) unsafe fn new(instance: *mut Instance, function: *const FunctionMeta) -> Self {
        HostContext { instance, function, marker: PhantomData }
    }

    #[inline]
    pub(crate) fn instance(&self) -> &Instance {
        // SAFETY: by the contract of `new`.
        unsafe { &*self.instance }
    }

    #[inline]
    fn instance_mut(&mut self) -> &mut Instance {
        // SAFETY: by the contract of `new`; the context is borrowed mutably, so no `Val` is left.
        unsafe { &mut *self.instance }
    }

    /// The instance, for a call of the guest's, which is charged.
    fn calling(&mut self) -> Result<&mut Instance, Trap> {
        let instance = self.instance_mut();
        instance.charge_work(1)?;
        Ok(instance)
    }

    #[inline]
    #[allow(
        clippy::mut_from_ref,
        reason = "the heap is never borrowed across calls, and allocation moves nothing"
    )]
    fn heap(&self) -> &mut crate::heap::Heap {
        self.instance().heap_shared()
    }

    fn meta(&self) -> Option<&FunctionMeta> {
        // SAFETY: by the contract of `new`.
        unsafe { self.function.as_ref() }
    }

    #[inline]
    fn wrap(&self, value: Value) -> Val<'_> {
        Val { value, instance: self.instance, marker: PhantomData }
    }

    fn object<T>(&self, object: *mut T) -> Val<'_> {
        self.wrap(Value::object(object))
    }

    // ---- What the call is about ----

    /// The declared type of the result at this call; `None` where nothing is wanted.
    pub fn result_type(&self) -> Option<ValueType> {
        self.meta()?.result
    }

    /// The heap type behind an id in [`HostContext::result_type`] or [`Args::ty`]. Ids inside it are read the same way.
    pub fn heap_type(&self, id: TypeId) -> Option<HeapType> {
        self.instance().heap_type(id).cloned()
    }

    /// The storage of the list that the call wants as its result; `None` where it wants no list of a known storage.
    pub fn result_storage(&self) -> Option<Storage> {
        let Some(ValueType::Cell(cell)) = self.result_type() else { return None };
        match self.instance().heap_type(cell.id)? {
            HeapType::ListInt => Some(Storage::Int),
            HeapType::ListFloat => Some(Storage::Float),
            HeapType::ListBool => Some(Storage::Bool),
            HeapType::ListCell(_) => Some(Storage::Cell),
            _ => None,
        }
    }

    // ---- Values ----

    /// Nil.
    #[inline]
    pub fn nil(&self) -> Val<'_> {
        self.wrap(Value::NIL)
    }

    /// A boolean.
    #[inline]
    pub fn bool(&self, b: bool) -> Val<'_> {
        self.wrap(Value::bool(b))
    }

    /// A float.
    #[inline]
    pub fn float(&self, x: f64) -> Val<'_> {
        self.wrap(Value::float(x))
    }

    /// An int.
    ///
    /// # Errors
    /// Ints beyond 48 bits take memory: memory-limit. So do all functions below that return a `Result`.
    #[inline]
    pub fn int(&self, i: i64) -> Result<Val<'_>, Trap> {
        Ok(self.wrap(self.heap().box_int(i)?))
    }

    /// A string.
    pub fn string(&self, text: &str) -> Result<Val<'_>, Trap> {
        Ok(self.wrap(crate::string::from_str(self.heap(), text)?))
    }

    /// A part of a text as a string, by byte offsets.
    ///
    /// # Panics
    /// As slicing a `str` does.
    #[inline]
    pub fn string_part(&self, text: Text<'_>, range: Range<usize>) -> Result<Val<'_>, Trap> {
        let part = text.get(range).expect("the range is inside and between characters");
        Ok(self.wrap(crate::string::part_of(self.heap(), part, text.is_ascii())?))
    }

    /// The characters `from..to` of a string, clamped to what there is; negative positions count from the end.
    ///
    /// # Errors
    /// type-mismatch for what is no string; memory-limit.
    #[inline]
    pub fn string_slice(&self, text: Val<'_>, from: i64, to: i64) -> Result<Val<'_>, Trap> {
        if !text.value.is_string() {
            return Err(Trap::new(TrapCode::TypeMismatch, "only strings have characters"));
        }
        // SAFETY: a string with a live object of this heap.
        Ok(self.wrap(unsafe { crate::string::slice(self.heap(), text.value, from, to) }?))
    }

    /// Parts of a text, by byte offsets, as a list of strings with room for so many. Where the call's result is such a list, it has
    /// its type from the start.
    ///
    /// # Panics
    /// As [`HostContext::string_part`].
    pub fn string_parts(
        &self,
        text: Text<'_>,
        parts: impl IntoIterator<Item = Range<usize>>,
        capacity: usize,
    ) -> Result<Val<'_>, Trap> {
        let list = self.new_list(Storage::Cell, capacity)?;
        for range in parts {
            let part = self.string_part(text, range)?;
            // SAFETY: a live list of cells of this heap, and a value of this heap.
            unsafe { crate::list::push(self.heap(), list.value.as_ptr(), part.value) }?;
        }
        if let Some(ValueType::Cell(cell)) = self.result_type()
            && let Some(&HeapType::ListCell(element)) = self.instance().heap_type(cell.id)
            && type_code(element) == STRING_CODE
        {
            // SAFETY: a live list, all of whose elements are strings.
            unsafe { (*list.value.as_object_unchecked()).meta = STRING_CODE };
        }
        Ok(list)
    }

    /// The strings of a list one after the other, with another string between each two; `None` where not all elements are strings.
    ///
    /// # Errors
    /// type-mismatch where the separator is no string; memory-limit.
    pub fn join(&self, list: ListView<'_>, separator: Val<'_>) -> Result<Option<Val<'_>>, Trap> {
        if !separator.value.is_string() {
            return Err(Trap::new(TrapCode::TypeMismatch, "only strings are joined"));
        }
        if list.storage != Storage::Cell {
            return Ok(list.is_empty().then_some(self.wrap(Value::EMPTY_STRING)));
        }
        // SAFETY: a live list of cells of this heap, which nobody changes meanwhile.
        let joined =
            unsafe { crate::string::join(self.heap(), crate::list::slice_of(list.list()), separator.value) }?;
        Ok(joined.map(|joined| self.wrap(joined)))
    }

    /// A string with its ASCII letters in upper or lower case; `None` for text that is not ASCII, and other values.
    pub fn ascii_case(&self, val: Val<'_>, upper: bool) -> Result<Option<Val<'_>>, Trap> {
        if !val.value.is_string() {
            return Ok(None);
        }
        // SAFETY: a string with a live object of this heap.
        let changed = unsafe { crate::string::ascii_case(self.heap(), val.value, upper) }?;
        Ok(changed.map(|changed| self.wrap(changed)))
    }

    /// Two strings one after the other; in place where the first allows it.
    pub fn concat(&self, a: Val<'_>, b: Val<'_>) -> Result<Val<'_>, Trap> {
        if !a.value.is_string() || !b.value.is_string() {
            return Err(Trap::new(TrapCode::TypeMismatch, "only strings are concatenated"));
        }
        // SAFETY: both are strings with live objects of this heap.
        Ok(self.wrap(unsafe { crate::string::concat(self.heap(), a.value, b.value) }?))
    }

    /// An interned name.
    pub fn name(&self, kind: u8, text: &str) -> Val<'_> {
        self.wrap(self.instance().tables().intern(kind, text))
    }

    /// A list of raw ints.
    pub fn new_list_int(&self, items: impl IntoIterator<Item = i64>) -> Result<Val<'_>, Trap> {
        let items = items.into_iter();
        let list = self.new_list(Storage::Int, items.size_hint().0)?;
        for item in items {
            // SAFETY: a live list of ints of this heap.
            unsafe { crate::list::push(self.heap(), list.value.as_ptr(), item) }?;
        }
        Ok(list)
    }

    /// A list of these raw ints.
    pub fn new_list_of_ints(&self, items: &[i64]) -> Result<Val<'_>, Trap> {
        Ok(self.object(crate::list::from_slice(self.heap(), items)?))
    }

    /// A list of raw floats.
    pub fn new_list_float(&self, items: impl IntoIterator<Item = f64>) -> Result<Val<'_>, Trap> {
        let items = items.into_iter();
        let list = self.new_list(Storage::Float, items.size_hint().0)?;
        for item in items {
            // SAFETY: a live list of floats of this heap.
            unsafe { crate::list::push(self.heap(), list.value.as_ptr(), item) }?;
        }
        Ok(list)
    }

    /// A list of booleans.
    pub fn new_list_bool(&self, items: impl IntoIterator<Item = bool>) -> Result<Val<'_>, Trap> {
        let items = items.into_iter();
        let list = self.new_list(Storage::Bool, items.size_hint().0)?;
        for item in items {
            // SAFETY: a live list of booleans of this heap.
            unsafe { crate::list::push(self.heap(), list.value.as_ptr(), item) }?;
        }
        Ok(list)
    }

    /// A list of cells. Its element type is decided when it is first used under a type.
    pub fn new_list_cells<'v>(&self, items: impl IntoIterator<Item = Val<'v>>) -> Result<Val<'_>, Trap> {
        let items = items.into_iter();
        let list = self.new_list(Storage::Cell, items.size_hint().0)?;
        for item in items {
            // SAFETY: a live list of cells of this heap, and a value of this heap.
            unsafe { crate::list::push(self.heap(), list.value.as_ptr(), storable(item.value)) }?;
        }
        Ok(list)
    }

    /// An empty list with room for `capacity` elements.
    pub fn new_list(&self, storage: Storage, capacity: usize) -> Result<Val<'_>, Trap> {
        let heap = self.heap();
        let kind = match storage {
            Storage::Int => ObjectKind::ListInt,
            Storage::Float => ObjectKind::ListFloat,
            Storage::Bool => ObjectKind::ListBool,
            Storage::Cell => ObjectKind::ListCell,
        };
        Ok(self.object(crate::list::new_of(heap, kind, capacity)?))
    }

    /// An empty list that stores what the other stores, with its element type.
    pub fn new_list_like(&self, list: ListView<'_>, capacity: usize) -> Result<Val<'_>, Trap> {
        let new = self.new_list(list.storage, capacity)?;
        // SAFETY: both are live lists of the same storage, so the element type of one fits the other.
        unsafe { (*new.value.as_object_unchecked()).meta = (*list.val.value.as_object_unchecked()).meta };
        Ok(new)
    }

    /// Appends to a list in place.
    ///
    /// # Errors
    /// A type-mismatch trap where the list stores something else.
    pub fn list_push(&self, list: ListView<'_>, item: Val<'_>) -> Result<(), Trap> {
        self.instance().list_push(self.heap(), list.val.value, item.value)
    }

    /// Replaces an element.
    ///
    /// # Errors
    /// index-out-of-range; type-mismatch where the list stores something else.
    pub fn list_set(&self, list: ListView<'_>, i: usize, item: Val<'_>) -> Result<(), Trap> {
        self.instance().list_set(self.heap(), list.val.value, i, item.value)
    }

    /// A new list of the elements `from..to`, clamped to what there is.
    pub fn list_slice(&self, list: ListView<'_>, from: usize, to: usize) -> Result<Val<'_>, Trap> {
        let clamp = |i: usize| i64::try_from(i.min(list.len())).unwrap_or(i64::MAX);
        // SAFETY: a live list of this heap.
        Ok(self.object(unsafe { crate::list::slice(self.heap(), list.list(), clamp(from), clamp(to)) }?))
    }

    /// A new list of the elements of lists that store the same, one list after the other.
    ///
    /// # Errors
    /// type-mismatch where one stores something else; memory-limit.
    pub fn list_concat(&self, lists: &[ListView<'_>]) -> Result<Val<'_>, Trap> {
        let storage = lists.first().map_or(Storage::Cell, |list| list.storage);
        if lists.iter().any(|list| list.storage != storage) {
            return Err(Trap::new(TrapCode::TypeMismatch, "lists of other storage"));
        }
        let new = self.new_list(storage, lists.iter().map(|list| list.len()).sum())?;
        for list in lists {
            // SAFETY: live lists of this heap of one storage, and the new one is none of the others.
            unsafe { crate::list::extend(self.heap(), new.value.as_ptr(), list.list()) }?;
        }
        Ok(new)
    }

    /// A new list of the elements at these positions of a list, in their order; positions behind its end are left out.
    ///
    /// # Errors
    /// memory-limit.
    pub fn list_pick(
        &self,
        list: ListView<'_>,
        positions: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Val<'_>, Trap> {
        let new = self.new_list(list.storage, positions.len())?;
        // SAFETY: live lists of this heap of one storage, and the new one has room from the start.
        unsafe { crate::list::extend_picked(self.heap(), new.value.as_ptr(), list.list(), positions) }?;
        Ok(new)
    }

    /// Whether the list is marked as shared: then appending copies.
    pub fn list_is_shared(&self, list: ListView<'_>) -> bool {
        // SAFETY: a live list.
        unsafe { (*list.list()).header.bits & object::list_bits::SHARED != 0 }
    }

    /// Marks the list as shared.
    pub fn list_share(&self, list: ListView<'_>) {
        // SAFETY: a live list.
        unsafe { (*list.list()).header.bits |= object::list_bits::SHARED }
    }

    /// Marks the elements that are lists as shared.
    pub fn list_share_elements(&self, list: ListView<'_>) {
        if list.storage == Storage::Cell {
            for cell in list.data::<Value>() {
                if let Some(inner) = list.val.with(cell.get()).as_list() {
                    self.list_share(inner);
                }
            }
        }
    }

    /// An empty map.
    pub fn new_map(&self, key: KeyPolicy, order: OrderPolicy) -> Result<Val<'_>, Trap> {
        Ok(self.object(crate::map::new(self.heap(), key, order, 0)?))
    }

    /// An empty map with the policies and the value type of another.
    pub fn new_map_like(&self, map: MapView<'_>) -> Result<Val<'_>, Trap> {
        let new = self.new_map(map.key_policy(), map.order_policy())?;
        // SAFETY: both are live maps of the same policies.
        unsafe { (*new.value.as_object_unchecked()).meta = (*map.val.value.as_object_unchecked()).meta };
        Ok(new)
    }

    /// Marks a map, for good, with a number from 1 to 3: what it means is the language's affair.
    pub fn map_mark(&self, map: MapView<'_>, mark: u8) {
        // SAFETY: a live map.
        unsafe { crate::map::set_mark(map.val.value.as_ptr(), mark) }
    }

    /// The value at a key; `None` where it is absent.
    ///
    /// # Errors
    /// type-mismatch where the map's policy needs the protocol for this key: use [`HostContext::map_get_slow`].
    pub fn map_get<'h>(&'h self, map: MapView<'_>, key: Val<'_>) -> Result<Option<Val<'h>>, Trap> {
        let found = self.instance().map_get(self.heap(), map.val.value, key.value)?;
        Ok(found.map(|v| self.wrap(v)))
    }

    /// Inserts or replaces the value at a key.
    ///
    /// # Errors
    /// type-mismatch where the map's policy needs the protocol for this key, or the map holds other values.
    pub fn map_set(&self, map: MapView<'_>, key: Val<'_>, value: Val<'_>) -> Result<(), Trap> {
        self.instance().map_set(self.heap(), map.val.value, key.value, value.value)
    }

    /// Inserts or replaces the value at a key of any kind, where keys are compared by text. `text` is the key's text, a
    /// string; ints and strings are their own.
    ///
    /// # Errors
    /// As for [`HostContext::map_set`].
    pub fn map_set_text(
        &self,
        map: MapView<'_>,
        key: Val<'_>,
        text: Val<'_>,
        value: Val<'_>,
    ) -> Result<(), Trap> {
        self.instance().map_set_text(self.heap(), map.val.value, key.value, text.value, storable(value.value))
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    /// type-mismatch where the map's policy needs the protocol for this key.
    pub fn map_remove(&self, map: MapView<'_>, key: Val<'_>) -> Result<bool, Trap> {
        self.instance().map_remove(self.heap(), map.val.value, key.value)
    }

    /// The keys in the map's order: a list of ints for int keys, else of cells.
    pub fn map_keys(&self, map: MapView<'_>) -> Result<Val<'_>, Trap> {
        // SAFETY: a live map of this heap.
        Ok(self.object(unsafe { crate::map::keys(self.heap(), map.val.value.as_ptr()) }?))
    }

    /// The values in the map's order, as a list of cells.
    pub fn map_values(&self, map: MapView<'_>) -> Result<Val<'_>, Trap> {
        // SAFETY: a live map of this heap.
        Ok(self.object(unsafe { crate::map::values(self.heap(), map.val.value.as_ptr()) }?))
    }

    /// The entries in the map's order: two lists, keys and values.
    pub fn map_entries<'h>(&'h self, map: MapView<'_>) -> Result<(ListView<'h>, ListView<'h>), Trap> {
        let missing = || Trap::new(TrapCode::HostError, "a map without entries lists");
        let keys = self.map_keys(map)?.as_list().ok_or_else(missing)?;
        let values = self.map_values(map)?.as_list().ok_or_else(missing)?;
        Ok((keys, values))
    }

    /// A record of the calling module, with its fields in declaration order.
    ///
    /// # Errors
    /// invalid-argument where there is no such record or the number of fields is another; bad-cast where a value is not of
    /// its field's type.
    pub fn new_record(&self, record: RecordId, fields: &[Val<'_>]) -> Result<Val<'_>, Trap> {
        let shape = self.meta().and_then(|m| self.instance().shape_of_module(m.index, record));
        let shape = shape.ok_or_else(|| Trap::new(TrapCode::InvalidArgument, "no such record"))?;
        self.new_record_of(shape, fields)
    }

    /// A record of a shape, with its fields in declaration order; as [`HostContext::new_record`].
    ///
    /// # Errors
    /// See there.
    pub fn new_record_of(&self, shape: ShapeId, fields: &[Val<'_>]) -> Result<Val<'_>, Trap> {
        let instance = self.instance();
        let layout = instance.shape(shape);
        if layout.fields.len() != fields.len() {
            return Err(Trap::new(TrapCode::InvalidArgument, "another number of fields"));
        }
        let raw: Vec<u64> = layout
            .fields
            .iter()
            .zip(fields)
            .map(|(f, v)| instance.unbox(f.ty, v.value))
            .collect::<Option<_>>()
            .ok_or_else(|| Trap::of(TrapCode::BadCast))?;
        let record = crate::record::new(self.heap(), shape)?;
        for (field, bits) in layout.fields.iter().zip(raw) {
            // SAFETY: a new record of the shape, young, so no barrier is needed.
            unsafe { *object::Record::field::<u64>(record, field.slot as usize) = bits };
        }
        Ok(self.object(record))
    }

    /// The names and types of the fields of a record of the calling module.
    pub fn record_fields(&self, record: RecordId) -> Option<Vec<(String, ValueType)>> {
        let shape = self.instance().shape_of_module(self.meta()?.index, record)?;
        Some(self.instance().shape(shape).fields.iter().map(|f| (f.name.to_string(), f.ty)).collect())
    }

    /// The names and types of the fields of a shape, in declaration order.
    pub fn shape_fields(&self, shape: ShapeId) -> impl ExactSizeIterator<Item = (&str, ValueType)> {
        self.instance().shape(shape).fields.iter().map(|f| (&*f.name, f.ty))
    }

    /// The name of a shape.
    pub fn shape_name(&self, shape: ShapeId) -> &str {
        &self.instance().shape(shape).name
    }

    /// The shape of a record of the calling module.
    pub fn shape_of(&self, record: RecordId) -> Option<ShapeId> {
        self.instance().shape_of_module(self.meta()?.index, record)
    }

    /// Replaces a field, by its declared position.
    ///
    /// # Errors
    /// index-out-of-range; bad-cast where the value is not of the field's type.
    pub fn record_set(&self, record: RecordView<'_>, i: usize, value: Val<'_>) -> Result<(), Trap> {
        let instance = self.instance();
        let field = instance
            .shape(record.shape_id())
            .fields
            .get(i)
            .ok_or_else(|| Trap::of(TrapCode::IndexOutOfRange))?;
        let bits = instance.unbox(field.ty, value.value).ok_or_else(|| Trap::of(TrapCode::BadCast))?;
        let object = record.val.value.as_ptr::<object::Record>();
        // SAFETY: a live record whose shape has the slot; the value is of the field's type.
        unsafe {
            if field.ty.is_cell() {
                crate::record::set_cell(self.heap(), object, field.slot as usize, Value::from_bits(bits));
            } else {
                *object::Record::field::<u64>(object, field.slot as usize) = bits;
            }
        }
        Ok(())
    }

    /// A tuple of a front-end kind.
    pub fn new_tuple(&self, kind: u16, cells: &[Val<'_>]) -> Result<Val<'_>, Trap> {
        let cells: Vec<Value> = cells.iter().map(|v| storable(v.value)).collect();
        // SAFETY: the cells are valid.
        let tuple = unsafe { crate::tuple::new(self.heap(), kind, cells.as_ptr(), cells.len()) }?;
        Ok(self.object(tuple))
    }

    /// Sets header bits of a tuple that belong to the language.
    pub fn tuple_set_bits(&self, tuple: TupleView<'_>, bits: u16) {
        // SAFETY: a live tuple.
        unsafe { crate::tuple::set_bits(tuple.tuple(), bits) }
    }

    /// A byte object of a front-end kind.
    pub fn new_bytes(&self, kind: u16, bytes: &[u8]) -> Result<Val<'_>, Trap> {
        Ok(self.object(crate::tuple::new_bytes(self.heap(), kind, bytes)?))
    }

    /// A number that belongs to the object for its life, also when it moves; `None` for values that are no objects.
    pub fn identity_hash(&self, val: Val<'_>) -> Option<u32> {
        let object = val.value.as_object()?;
        // SAFETY: a live object of this heap.
        Some(unsafe { self.heap().identity_hash(object) })
    }

    // ---- Roots, calls ----

    /// Keeps a value for the rest of the host call.
    pub fn root(&self, val: Val<'_>) -> Root {
        self.instance().push_root(val.value)
    }

    /// The value in a root; nil for a root that is not of this call.
    #[inline]
    pub fn get(&self, root: Root) -> Val<'_> {
        self.wrap(self.instance().root(root))
    }

    /// Replaces the value in a root.
    pub fn set(&self, root: Root, val: Val<'_>) {
        self.instance().set_root(root, val.value);
    }

    /// Runs `f` and gives back the roots that it made, except for the one that it returns: for loops that call guest
    /// functions.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn scope(&mut self, f: impl FnOnce(&mut Self) -> Result<Root, Trap>) -> Result<Root, Trap> {
        let mark = self.instance().root_mark();
        let result = f(self);
        let kept = match &result {
            Ok(root) => Some(self.instance().root(*root)),
            Err(trap) => trap.payload().map(|p| self.instance().root(p)),
        };
        self.instance().truncate_roots(mark);
        let root = kept.map(|v| self.instance().push_root(v));
        match (result, root) {
            (Ok(_), Some(root)) => Ok(root),
            (Err(mut trap), root) => {
                trap.set_payload(root);
                Err(trap)
            }
            (Ok(root), None) => Ok(root),
        }
    }

    /// Calls a guest value with these arguments, as `cell.call` does: functions of other arities and values that are no
    /// functions go to the protocol. Every call by a host function charges a unit, as one by the guest does.
    ///
    /// # Errors
    /// What the callee raises; stack-overflow where the native stack is low; out-of-fuel, interrupted and timed-out as
    /// [`charge`](HostContext::charge).
    pub fn call(&mut self, callee: Root, args: &[Root]) -> Result<Root, Trap> {
        let function = self.function;
        self.calling()?.call_from_host(function, callee, args)
    }

    /// Calls a loaded function by its engine-wide number, with as many arguments as it has parameters. Lists among arguments and result
    /// are marked as shared.
    ///
    /// # Errors
    /// type-mismatch where an argument is not of its parameter's type; what the callee raises.
    pub fn call_function(&mut self, index: u32, args: &[Root]) -> Result<Root, Trap> {
        self.calling()?.call_function_from_host(index, args)
    }

    /// Calls a function of a loaded module by its name, with as many arguments as it has parameters. Where several modules
    /// have one of the name, the module loaded last counts. Lists among arguments and result are marked as
    /// shared.
    ///
    /// # Errors
    /// invalid-argument where there is none or the number of arguments differs; type-mismatch where an argument is of
    /// another type; what the callee raises.
    pub fn call_named(&mut self, name: &str, args: &[Root]) -> Result<Root, Trap> {
        self.calling()?.call_named(name, args)
    }

    /// Calls an entry of the calling module's protocol.
    ///
    /// # Errors
    /// type-mismatch where the entry is empty; what the callee raises.
    pub fn call_protocol(&mut self, entry: Protocol, args: &[Root]) -> Result<Root, Trap> {
        let function = self.function;
        self.calling()?.call_protocol_from_host(function, entry, args)
    }

    /// A trap that raises `val` as a guest exception when a host function returns it.
    pub fn throw(&self, val: Val<'_>) -> Trap {
        Trap::exception(self.root(val), "an exception was not caught")
    }

    /// Bumps a watch by name: code that depends on it takes its other branch from now on. Says whether there is one.
    pub fn bump_watch(&mut self, name: &str) -> bool {
        self.instance_mut().bump_watch(name)
    }

    // ---- Limits ----

    /// Charges work: a unit stands for what a turn of a short loop does. Host functions charge what they do beyond a bounded amount,
    /// in portions while they do it, so that fuel, timeouts and interrupts hold for them; what they charge follows from their
    /// arguments alone, so that it is the same in all tiers. Charging one unit at a time would cost more than most work: thousands
    /// are best.
    ///
    /// # Errors
    /// out-of-fuel, interrupted or timed-out: the function returns it.
    pub fn charge(&self, units: u64) -> Result<(), Trap> {
        self.instance().charge_work(units)
    }

    /// Whether so many bytes of Rust's memory, which a function has for the moment, are within the memory limit beside what the heap
    /// holds. To be asked as they grow.
    ///
    /// # Errors
    /// memory-limit where they are not.
    pub fn check_memory(&self, bytes: usize) -> Result<(), Trap> {
        if self.heap().has_room_beside(bytes) { Ok(()) } else { Err(Trap::of(TrapCode::MemoryLimit)) }
    }

    // ---- The world outside ----

    /// Input and output as the embedder granted it.
    pub fn io(&self) -> RefMut<'_, Io> {
        self.instance().io.borrow_mut()
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    #[inline]
    pub fn print(&self, text: &str) -> Result<(), Trap> {
        self.io().write_stdout(text.as_bytes())
    }

    /// The embedder's data of this type, as given to [`Instance::set_data`].
    pub fn data<T: Any>(&mut self) -> Option<&mut T> {
        self.instance_mut().data::<T>()
    }

    /// The instance's data of this type, made on first use.
    pub fn data_or_insert<T: Any + Send>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        self.instance_mut().data_or_insert(make)
    }

    /// Asks for a collection at the next opportunity (for tests).
    pub fn request_collection(&self) {
        self.heap().request_collection();
    }

    /// Bytes that the heap holds.
    pub fn memory_in_use(&self) -> usize {
        self.heap().in_use()
    }
}

/// Results of several kinds never go into the heap.
#[inline]
fn storable(value: Value) -> Value {
    if value == Value::NONE || value == Value::MANY { Value::NIL } else { value }
}

pub(crate) fn args<'a>(frame: *const u64, meta: *const FunctionMeta) -> Args<'a> {
    Args { frame, meta, marker: PhantomData }
}

/// Turns what a host function returned into the raw word of its declared result. It is read where the function wrote it: a copy in
/// words of what was just written in parts would wait for it.
#[inline]
pub(crate) fn lower_ret(instance: &Instance, ty: Option<ValueType>, ret: &Ret<'_>) -> Result<u64, Trap> {
    let mismatch = |found: &str| {
        let wanted = match ty {
            None => "nothing",
            Some(ValueType::Int) => "int",
            Some(ValueType::Bool) => "bool",
            Some(ValueType::Float) => "float",
            Some(ValueType::Cell(_)) => "a value of the declared type",
        };
        Trap::new(TrapCode::BadCast, format!("a host function returned {found}, not {wanted}"))
    };
    match (ty, ret) {
        (None, _) => Ok(0),
        (Some(ValueType::Int), &Ret::Int(i)) => Ok(i as u64),
        (Some(ValueType::Float), &Ret::Float(x)) => Ok(x.to_bits()),
        (Some(ValueType::Bool), &Ret::Bool(b)) => Ok(u64::from(b)),
        (Some(ty), ret) => {
            let value = match *ret {
                Ret::Nothing => Value::NIL,
                Ret::Int(i) => instance.box_int_shared(i)?,
                Ret::Float(x) => Value::float(x),
                Ret::Bool(b) => Value::bool(b),
                Ret::Val(v) => v.value,
                Ret::Root(r) => instance.root(r),
            };
            instance.unbox(ty, value).ok_or_else(|| mismatch(value.kind().text()))
        }
    }
}
