//! The binary form of modules: for caches and for programs that carry their code along.
//!
//! Behind a magic number and a version stand the tables of the module in the order of their declaration. Numbers are
//! LEB128, signed ones zigzag, code words and constants 8 bytes, texts and lists begin with their length. Nothing is
//! hashed or signed here: that is for whoever stores the bytes.
//!
//! [`decode`] takes any bytes. It never panics, and what it allocates is bounded by a small factor of the input: each item of a list takes
//! at least one byte, so a length beyond what is left is refused. It does not verify: [`crate::verifier::verify`] does.

use crate::inst::Word;
use crate::module::*;
use crate::types::*;
use std::fmt;

/// The first bytes of every binary module.
pub const MAGIC: [u8; 4] = *b"\0upb";

/// The version of the form. It changes with the form and with the numbers of ops.
pub const VERSION: u32 = 1;

/// Why bytes are no module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BinaryError {
    /// The byte where reading stopped.
    pub offset: usize,
    /// What is wrong.
    pub message: &'static str,
}

impl fmt::Display for BinaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.message)
    }
}

impl std::error::Error for BinaryError {}

/// Writes a module in the binary form.
pub fn encode(module: &Module) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    VERSION.put(&mut out);
    module.put(&mut out);
    out
}

/// Reads a module in the binary form.
///
/// # Errors
/// Bytes that are no module of this version.
pub fn decode(bytes: &[u8]) -> Result<Module, BinaryError> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return reader.fail("not a binary module");
    }
    if u32::get(&mut reader)? != VERSION {
        return reader.fail("a binary module of another version");
    }
    let module = Module::get(&mut reader)?;
    if reader.at != bytes.len() {
        return reader.fail("bytes behind the module");
    }
    Ok(module)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

type Result<T, E = BinaryError> = std::result::Result<T, E>;

impl<'b> Reader<'b> {
    fn fail<T>(&self, message: &'static str) -> Result<T> {
        Err(BinaryError { offset: self.at, message })
    }

    fn take(&mut self, n: usize) -> Result<&'b [u8]> {
        match self.bytes[self.at..].get(..n) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => self.fail("the bytes end too early"),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|b| b[0])
    }

    fn fixed(&mut self) -> Result<u64> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    /// The length of a list; at most what is left, as each item takes a byte or more.
    fn length(&mut self) -> Result<usize> {
        let n = u64::get(self)?;
        match usize::try_from(n) {
            Ok(n) if n <= self.bytes.len() - self.at => Ok(n),
            Ok(_) | Err(_) => self.fail("a length beyond the end"),
        }
    }
}

/// What has a binary form. Every value takes at least one byte.
trait Binary: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(reader: &mut Reader<'_>) -> Result<Self>;
}

impl Binary for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    fn get(reader: &mut Reader<'_>) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = reader.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        reader.fail("a number of more than 64 bits")
    }
}

impl Binary for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        ((self << 1 ^ self >> 63) as u64).put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<i64> {
        let bits = u64::get(reader)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }
}

macro_rules! narrow {
    ($($ty:ty as $wide:ty),*) => {$(
        impl Binary for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                <$wide>::from(*self).put(out);
            }
            fn get(reader: &mut Reader<'_>) -> Result<$ty> {
                let value = <$wide>::get(reader)?;
                <$ty>::try_from(value).or_else(|_| reader.fail("a number is too large for its place"))
            }
        }
    )*};
}
narrow!(u8 as u64, u16 as u64, u32 as u64, i32 as i64);

impl Binary for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(reader: &mut Reader<'_>) -> Result<bool> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => reader.fail("neither true nor false"),
        }
    }
}

impl Binary for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.to_bits().to_le_bytes());
    }
    fn get(reader: &mut Reader<'_>) -> Result<f64> {
        reader.fixed().map(f64::from_bits)
    }
}

impl Binary for Word {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }
    fn get(reader: &mut Reader<'_>) -> Result<Word> {
        reader.fixed().map(Word)
    }
}

impl Binary for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend(self.as_bytes());
    }
    fn get(reader: &mut Reader<'_>) -> Result<String> {
        let n = reader.length()?;
        match std::str::from_utf8(reader.take(n)?) {
            Ok(text) => Ok(text.into()),
            Err(_) => reader.fail("a text is no UTF-8"),
        }
    }
}

impl<T: Binary> Binary for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn get(reader: &mut Reader<'_>) -> Result<Vec<T>> {
        (0..reader.length()?).map(|_| T::get(reader)).collect()
    }
}

impl<T: Binary> Binary for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(reader: &mut Reader<'_>) -> Result<Option<T>> {
        if bool::get(reader)? { T::get(reader).map(Some) } else { Ok(None) }
    }
}

impl<A: Binary, B: Binary> Binary for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<(A, B)> {
        Ok((A::get(reader)?, B::get(reader)?))
    }
}

macro_rules! structs {
    ($($ty:ident { $($field:ident),* })*) => {$(
        impl Binary for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                let $ty { $($field),* } = self;
                $($field.put(out);)*
            }
            fn get(reader: &mut Reader<'_>) -> Result<$ty> {
                Ok($ty { $($field: Binary::get(reader)?),* })
            }
        }
    )*};
}
structs! {
    Module { name, types, records, unions, signatures, functions, hosts, c_functions, globals, strings, names, watches,
        feedback_sites, protocol, catchable, sources, entry }
    Record { name, tag, fields }
    Field { name, ty }
    Union { name, variants }
    Signature { params, rest, result }
    Function { name, signature, environment, arities, cells, raws, spilled_raws, spilled_cells, code, constants,
        cell_constants, switches, handlers, spans, window }
    SwitchTable { cases, default }
    Handler { start, end, target, slot }
    Span { source, start, end }
    Source { name, line_starts }
    HostImport { name, signature }
    CImport { library, symbol, params, result }
    Global { name, ty }
    Name { text, kind }
    Watch { name }
    CellType { id, nullable }
}

macro_rules! newtypes {
    ($($ty:ident)*) => {$(
        impl Binary for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn get(reader: &mut Reader<'_>) -> Result<$ty> {
                Binary::get(reader).map($ty)
            }
        }
    )*};
}
newtypes! { TypeId RecordId UnionId SigId FuncId HostId NameId StringId ProtocolTable TrapSet }

/// Enums: a number, then the fields. The numbers are part of the form.
macro_rules! enums {
    ($($ty:ident { $($number:literal $variant:ident $(($($item:ident),*))? $({$($field:ident),*})?,)* })*) => {$(
        impl Binary for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($ty::$variant $(($($item),*))? $({$($field),*})? => {
                        out.push($number);
                        $($($item.put(out);)*)?
                        $($($field.put(out);)*)?
                    })*
                }
            }
            fn get(reader: &mut Reader<'_>) -> Result<$ty> {
                Ok(match reader.byte()? {
                    $($number => {
                        $($(let $item = Binary::get(reader)?;)*)?
                        $($(let $field = Binary::get(reader)?;)*)?
                        $ty::$variant $(($($item),*))? $({$($field),*})?
                    })*
                    _ => return reader.fail("an unknown kind"),
                })
            }
        }
    )*};
}
enums! {
    HeapType {
        0 Any, 1 Results, 2 Int, 3 Float, 4 Bool, 5 Name, 6 String, 7 ListInt, 8 ListFloat, 9 ListBool,
        10 ListCell(element), 11 Map { key, order, value }, 12 Record(id), 13 Union(id), 14 Closure(id), 15 Function,
        16 RefInt, 17 RefFloat, 18 RefCell(content), 19 Tuple(kind), 20 Bytes(kind),
    }
    KeyPolicy { 0 Int, 1 String, 2 Value, 3 Text, 4 Protocol, }
    OrderPolicy { 0 Insertion, 1 SortedByText, }
    ValueType { 0 Int, 1 Bool, 2 Float, 3 Cell(ty), }
    Bank { 0 Int, 1 Float, 2 Cell, }
    CellConst { 0 Int(value), 1 Float(value), 2 Immediate(value), }
    SwitchKey { 0 Int(value), 1 Immediate(value), 2 Name(id), 3 String(id), }
    CType { 0 Void, 1 Int32, 2 Int64, 3 Double, 4 Pointer, 5 CString, }
    Callee { 0 Function(id), 1 Host(id), }
}

impl Binary for Immediate {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Immediate> {
        match Immediate::from_number(reader.byte()?.into()) {
            Some(immediate) => Ok(immediate),
            None => reader.fail("an unknown immediate"),
        }
    }
}

impl Binary for TypeTable {
    fn put(&self, out: &mut Vec<u8>) {
        // `any` is always the first.
        (self.len() as u64 - 1).put(out);
        self.iter().skip(1).for_each(|(_, ty)| ty.put(out));
    }
    fn get(reader: &mut Reader<'_>) -> Result<TypeTable> {
        let mut table = TypeTable::default();
        for _ in 0..reader.length()? {
            let next = table.len();
            if table.intern(HeapType::get(reader)?).index() != next {
                return reader.fail("a type stands in the table twice");
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive() {
        for n in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            n.put(&mut out);
            assert_eq!(i64::get(&mut Reader { bytes: &out, at: 0 }), Ok(n));
        }
        let mut out = vec![0xFF; 9];
        out.push(0x02);
        assert!(u64::get(&mut Reader { bytes: &out, at: 0 }).is_err());
    }

    #[test]
    fn lengths_are_bounded_by_the_input() {
        let mut bytes = encode(&Module::default());
        let name = MAGIC.len() + 1;
        assert_eq!(bytes[name], 0);
        bytes.splice(name..=name, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        assert_eq!(decode(&bytes).map_err(|e| e.message), Err("a length beyond the end"));
    }
}
