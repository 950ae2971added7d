//! Objects: the layouts of everything that lives in the heap.
//!
//! Every object starts with a [`Header`] of 8 bytes, is 8-aligned and at least [`MIN_OBJECT`] bytes long. Which words of
//! an object are cells, and how long it is, follows from its kind and its own fields alone (for records: from the shape
//! table); [`crate::heap`] holds the one function that says so. Fields that point to another object (the buffer of a
//! list) have the bits of an object [`Value`], so the collector treats them as cells.
//!
//! Offsets that machine code uses are asserted at the end of the file.

use std::mem::offset_of;

use upshift_bytecode::module::Kind;

use crate::value::Value;

macro_rules! object_kinds {
    ($($(#[$doc:meta])* $name:ident $kind:ident;)*) => {
        /// What an object is. The numbers are part of the machine-code contract.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum ObjectKind { $($(#[$doc])* $name,)* }

        impl ObjectKind {
            /// All kinds in the order of their numbers.
            pub const ALL: &'static [ObjectKind] = &[$(ObjectKind::$name),*];

            /// The kind as `cell.kind` numbers it; nil for objects that guest code never sees.
            #[inline]
            pub fn kind(self) -> Kind {
                const KINDS: &[Kind] = &[$(Kind::$kind),*];
                KINDS[self as usize]
            }
        }
    };
}

object_kinds! {
    /// Free memory of the old space.
    Free Nil;
    /// An object that was moved: the word behind the header is its new address. Seen by the collector only.
    Forwarded Nil;
    /// An int that does not fit 48 bits: [`WideInt`].
    WideInt Int;
    /// Text of more than 5 bytes: [`StringObject`].
    String String;
    /// Bytes that several strings begin in: [`StringBuffer`].
    StringBuffer Nil;
    /// A list of raw ints: [`List`].
    ListInt List;
    /// A list of raw floats: [`List`].
    ListFloat List;
    /// A list of booleans, one byte each: [`List`].
    ListBool List;
    /// A list of cells: [`List`].
    ListCell List;
    /// Elements without cells: [`Buffer`].
    RawBuffer Nil;
    /// Elements that are cells: [`Buffer`].
    CellBuffer Nil;
    /// A map: [`MapObject`].
    Map Map;
    /// A record: [`Record`].
    Record Record;
    /// A closure: [`Closure`].
    Closure Function;
    /// A box of a raw int: [`Ref`].
    RefInt Ref;
    /// A box of a raw float: [`Ref`].
    RefFloat Ref;
    /// A box of a cell: [`Ref`].
    RefCell Ref;
    /// A variable tail of cells: [`Tuple`].
    Tuple Tuple;
    /// A variable tail of bytes: [`Bytes`].
    Bytes Bytes;
}

/// The smallest object: what a forwarding address needs.
pub const MIN_OBJECT: usize = 16;

/// The bits of [`Header::gc`].
pub mod gc {
    /// Outside the nursery.
    pub const OLD: u8 = 1;
    /// Reached by the running (or last, until it is swept) major collection.
    pub const MARK: u8 = 2;
    /// The bit that the write barrier tests: on old objects that are not in the remembered set, and always on large
    /// old cell buffers and on long young ones.
    pub const BARRIER: u8 = 4;
    /// Allocated on its own; never moves.
    pub const LARGE: u8 = 8;
    /// Has an entry in the table of identity hashes.
    pub const HASHED: u8 = 16;
}

/// The bits of [`Header::bits`] of strings.
pub mod string_bits {
    /// The bytes are in a [`super::StringBuffer`].
    pub const BUFFERED: u16 = 1;
    /// It came from a concatenation: when it is extended once more, room for further ones is worth having.
    pub const APPENDED: u16 = 2;
    /// One register refers to it, and `string.append` extends it in place: see [`crate::string`].
    pub const EXTENSIBLE: u16 = 4;
    /// Of a string: it came from a concatenation whose second part was the longer one, and when it is put behind another once more, room
    /// before it is worth having. Of a buffer: it has that room, before `used`, and its strings are slices that go to its end.
    pub const PREPENDED: u16 = 16;
    /// Beside [`BUFFERED`]: the bytes are a part of those of a large object, which never moves and stands behind the payload. What stands
    /// for the buffer's address is that of a buffer whose bytes would begin where these do.
    pub const SLICE: u16 = 8;
}

/// The bits of [`Header::bits`] of lists.
pub mod list_bits {
    /// A second lasting reference may exist: `append` copies.
    pub const SHARED: u16 = 1;
}

/// The bits of [`Header::bits`] of cell buffers.
pub mod buffer_bits {
    /// Pairs of a raw word and a cell.
    pub const PAIRS: u16 = 1;
}

/// The first 8 bytes of every object.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Header {
    /// The [`ObjectKind`].
    pub kind: u8,
    /// The collector's bits: [`gc`].
    pub gc: u8,
    /// Depends on the kind: string and list flags, element size of raw buffers, variant tag of records, number of
    /// captures of closures, the language's bits of tuples and bytes.
    pub bits: u16,
    /// Depends on the kind: number of scalars of strings, shape of records, function of closures, front-end kind of
    /// tuples and bytes.
    pub meta: u32,
}

impl Header {
    /// The kind.
    #[inline(always)]
    pub fn object_kind(&self) -> ObjectKind {
        debug_assert!((self.kind as usize) < ObjectKind::ALL.len(), "no object: {self:?}");
        // SAFETY: headers are only written with the number of a kind, and this is read from a live object.
        unsafe { std::mem::transmute::<u8, ObjectKind>(self.kind) }
    }
}

/// An int that does not fit 48 bits.
#[derive(Debug)]
#[repr(C)]
pub struct WideInt {
    /// The header.
    pub header: Header,
    /// The int.
    pub value: i64,
}

/// Text of more than 5 bytes. `meta` is the number of scalars; the text is ASCII where that is the number of bytes.
///
/// The bytes follow at [`StringObject::PAYLOAD`], or (`BUFFERED`) the address of a [`StringBuffer`] does, whose first
/// `len` bytes they are. See [`string_bits::SLICE`] for parts of long texts.
#[derive(Debug)]
#[repr(C)]
pub struct StringObject {
    /// The header.
    pub header: Header,
    /// The number of bytes.
    pub len: u32,
    /// The hash of the bytes, or 0 where it was not computed yet; of an extensible string the length up to which it may grow
    /// where it is.
    pub hash: u32,
}

impl StringObject {
    /// Where the bytes or the buffer's address stand.
    pub const PAYLOAD: usize = 16;
}

/// Bytes that strings begin in. Bytes before `used` never change while a string reaches them.
#[derive(Debug)]
#[repr(C)]
pub struct StringBuffer {
    /// The header.
    pub header: Header,
    /// Room for so many bytes.
    pub capacity: u32,
    /// The end of the longest string in it; [`StringBuffer::TAKEN`] while an extensible string grows in it. Where there is room before
    /// strings ([`string_bits::PREPENDED`]), the start of the longest.
    pub used: u32,
}

impl StringBuffer {
    /// What `used` is where no other string may be extended in the buffer.
    pub const TAKEN: u32 = u32::MAX;

    /// Where the bytes start.
    pub const DATA: usize = 16;
}

/// A list of any storage kind.
#[derive(Debug)]
#[repr(C)]
pub struct List {
    /// The header.
    pub header: Header,
    /// The number of elements.
    pub len: usize,
    /// The elements. Never null: an empty list may point to a shared buffer without room.
    pub buffer: *mut Buffer,
}

/// The elements of a list or the tables of a map.
///
/// `RawBuffer`: `bits` is the size of an element in bytes. `CellBuffer`: 8 bytes each, all valid cells up to the
/// capacity (with `PAIRS`, every second one).
#[derive(Debug)]
#[repr(C)]
pub struct Buffer {
    /// The header.
    pub header: Header,
    /// Room for so many elements.
    pub capacity: usize,
}

impl Buffer {
    /// Where the elements start.
    pub const DATA: usize = 16;

    /// The address of the elements.
    ///
    /// # Safety
    /// `this` points to a live buffer.
    #[inline(always)]
    pub unsafe fn data<T>(this: *mut Buffer) -> *mut T {
        // SAFETY: the data follow the fixed part inside the same object.
        unsafe { this.cast::<u8>().add(Buffer::DATA).cast::<T>() }
    }
}

/// A map. See [`crate::map`] for the meaning of the tables.
#[derive(Debug)]
#[repr(C)]
pub struct MapObject {
    /// The header; `bits` holds the policies.
    pub header: Header,
    /// The number of entries that are there.
    pub len: u32,
    /// The number of entries in use, removed ones included.
    pub used: u32,
    /// Entries in the order of insertion: a cell buffer.
    pub entries: *mut Buffer,
    /// The hash index: a raw buffer of 8-byte slots; without room while the map is small.
    pub index: *mut Buffer,
    /// The cached sorted view: a raw buffer of entry numbers, or hole.
    pub sorted: Value,
    /// With int keys: what to subtract from a key to have its entry, in dense maps; in others, what was right for the key
    /// that was found last. With string keys: the entry that was found last.
    pub base: i64,
}

/// A record: cells first, then raw words. `meta` is the shape, `bits` the variant tag.
#[derive(Debug)]
#[repr(C)]
pub struct Record {
    /// The header.
    pub header: Header,
}

impl Record {
    /// Where the fields start.
    pub const FIELDS: usize = 8;

    /// The address of a field, by its slot in the shape.
    ///
    /// # Safety
    /// `this` points to a live record whose shape has the slot.
    #[inline(always)]
    pub unsafe fn field<T>(this: *mut Record, slot: usize) -> *mut T {
        // SAFETY: the slot is inside the object by the contract.
        unsafe { this.cast::<u8>().add(Record::FIELDS + 8 * slot).cast::<T>() }
    }
}

/// A closure: `meta` is the function, `bits` the number of captures, which follow as cells.
#[derive(Debug)]
#[repr(C)]
pub struct Closure {
    /// The header.
    pub header: Header,
}

impl Closure {
    /// Where the captures start.
    pub const CAPTURES: usize = 8;

    /// The address of the captures.
    ///
    /// # Safety
    /// `this` points to a live closure.
    #[inline(always)]
    pub unsafe fn captures(this: *mut Closure) -> *mut Value {
        // SAFETY: captures follow the header inside the object.
        unsafe { this.cast::<u8>().add(Closure::CAPTURES).cast::<Value>() }
    }
}

/// A captured-variable box: 8 bytes that are an int, a float or a cell.
#[derive(Debug)]
#[repr(C)]
pub struct Ref {
    /// The header.
    pub header: Header,
    /// The content as bits.
    pub content: u64,
}

/// A variable tail of cells. `meta` is the front end's kind, `bits` belongs to the language.
#[derive(Debug)]
#[repr(C)]
pub struct Tuple {
    /// The header.
    pub header: Header,
    /// The number of cells.
    pub len: u32,
    /// A content hash that the front end may keep here; 0 at first.
    pub hash: u32,
}

impl Tuple {
    /// Where the cells start.
    pub const CELLS: usize = 16;

    /// The address of the cells.
    ///
    /// # Safety
    /// `this` points to a live tuple.
    #[inline(always)]
    pub unsafe fn cells(this: *mut Tuple) -> *mut Value {
        // SAFETY: cells follow the fixed part inside the object.
        unsafe { this.cast::<u8>().add(Tuple::CELLS).cast::<Value>() }
    }
}

/// A variable tail of bytes. `meta` is the front end's kind, `bits` belongs to the language.
#[derive(Debug)]
#[repr(C)]
pub struct Bytes {
    /// The header.
    pub header: Header,
    /// The number of bytes.
    pub len: u32,
    /// A content hash that the front end may keep here; 0 at first.
    pub hash: u32,
}

impl Bytes {
    /// Where the bytes start.
    pub const DATA: usize = 16;

    /// The address of the bytes.
    ///
    /// # Safety
    /// `this` points to a live bytes object.
    #[inline(always)]
    pub unsafe fn data(this: *mut Bytes) -> *mut u8 {
        // SAFETY: the bytes follow the fixed part inside the object.
        unsafe { this.cast::<u8>().add(Bytes::DATA) }
    }
}

const _: () = {
    assert!(size_of::<Header>() == 8 && align_of::<Header>() == 8);
    assert!(offset_of!(Header, kind) == 0);
    assert!(offset_of!(Header, gc) == 1);
    assert!(offset_of!(Header, bits) == 2);
    assert!(offset_of!(Header, meta) == 4);
    assert!(offset_of!(WideInt, value) == 8);
    assert!(offset_of!(StringObject, len) == 8);
    assert!(offset_of!(StringObject, hash) == 12);
    assert!(size_of::<StringObject>() == StringObject::PAYLOAD);
    assert!(offset_of!(StringBuffer, capacity) == 8);
    assert!(offset_of!(StringBuffer, used) == 12);
    assert!(size_of::<StringBuffer>() == StringBuffer::DATA);
    assert!(offset_of!(List, len) == 8);
    assert!(offset_of!(List, buffer) == 16);
    assert!(size_of::<List>() == 24);
    assert!(offset_of!(Buffer, capacity) == 8);
    assert!(size_of::<Buffer>() == Buffer::DATA);
    assert!(offset_of!(MapObject, len) == 8);
    assert!(offset_of!(MapObject, entries) == 16);
    assert!(offset_of!(MapObject, used) == 12);
    assert!(offset_of!(MapObject, base) == 40);
    assert!(size_of::<MapObject>() == 48);
    assert!(size_of::<Record>() == Record::FIELDS);
    assert!(size_of::<Closure>() == Closure::CAPTURES);
    assert!(offset_of!(Ref, content) == 8);
    assert!(offset_of!(Tuple, len) == 8);
    assert!(offset_of!(Tuple, hash) == 12);
    assert!(size_of::<Tuple>() == Tuple::CELLS);
    assert!(size_of::<Bytes>() == Bytes::DATA);
};
