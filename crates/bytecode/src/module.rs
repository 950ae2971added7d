//! Modules: functions and the tables that instructions refer to.
//!
//! A module is plain data. Building it goes through [`crate::builder`]; nothing trusts it before
//! [`crate::verifier::verify`] has accepted it.

use crate::inst::Word;
use crate::types::*;

/// What a front end hands to the engine.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Module {
    /// The module's name, for dumps and backtraces.
    pub name: String,
    /// The heap types.
    pub types: TypeTable,
    /// Record layouts.
    pub records: Vec<Record>,
    /// Unions of records.
    pub unions: Vec<Union>,
    /// Signatures.
    pub signatures: Vec<Signature>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Host functions that the module needs.
    pub hosts: Vec<HostImport>,
    /// C functions that the module needs.
    pub c_functions: Vec<CImport>,
    /// Global variables.
    pub globals: Vec<Global>,
    /// String constants.
    pub strings: Vec<String>,
    /// Interned names.
    pub names: Vec<Name>,
    /// Assumptions that code may depend on and that can be bumped.
    pub watches: Vec<Watch>,
    /// The number of feedback sites.
    pub feedback_sites: u32,
    /// What is called where a dynamic op leaves its fast path.
    pub protocol: ProtocolTable,
    /// Which traps a handler range catches; others always end the run.
    pub catchable: TrapSet,
    /// Sources that spans refer to.
    pub sources: Vec<Source>,
    /// The function to run first, without parameters.
    pub entry: Option<FuncId>,
}

/// A fixed shape: named fields, stored unboxed. Raw fields stand before cell fields in a construction window.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The name that the language gives it.
    pub name: String,
    /// Its number among the variants of its union, as `record.tag` gives it; 0 for plain records.
    pub tag: u16,
    /// The fields in declaration order.
    pub fields: Vec<Field>,
}

/// One field of a record.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// The name.
    pub name: String,
    /// What it holds.
    pub ty: ValueType,
}

/// A set of records of which a value is one.
#[derive(Clone, PartialEq, Debug)]
pub struct Union {
    /// The name that the language gives it.
    pub name: String,
    /// The variants; their `tag`s are distinct.
    pub variants: Vec<RecordId>,
}

/// Parameters and result of a function.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Signature {
    /// The parameters in order.
    pub params: Vec<ValueType>,
    /// Whether dynamic calls put surplus arguments, as a list of `any`, into one more parameter: the last one in
    /// `params`, of type `list.cell` of `any`.
    pub rest: bool,
    /// The result; `None` where nothing is returned.
    pub result: Option<ValueType>,
}

impl Signature {
    /// The number of raw and of cell parameters.
    pub fn counts(&self) -> (u32, u32) {
        let cells = self.params.iter().filter(|t| t.is_cell()).count() as u32;
        (self.params.len() as u32 - cells, cells)
    }
}

/// A function: registers, code and tables.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Function {
    /// The name for dumps and backtraces.
    pub name: String,
    /// Parameters and result.
    pub signature: SigId,
    /// For functions that run as closures: the types of their captures. The first cell parameter is then the closure.
    pub environment: Option<Vec<CellType>>,
    /// The functions that answer dynamic calls of a closure of this one with other numbers of arguments. They share its
    /// environment, so their first cell parameter is the closure, but not as one of their own.
    pub arities: Vec<FuncId>,
    /// The types of all directly addressed cell slots: environment, cell parameters, cell locals.
    pub cells: Vec<CellType>,
    /// The banks (`Int` or `Float`) of raw locals, without parameters.
    pub raws: Vec<Bank>,
    /// The banks of spilled raw locals.
    pub spilled_raws: Vec<Bank>,
    /// The types of spilled cells.
    pub spilled_cells: Vec<CellType>,
    /// The instructions.
    pub code: Vec<Word>,
    /// 64-bit constants.
    pub constants: Vec<u64>,
    /// Constants that cells are made of.
    pub cell_constants: Vec<CellConst>,
    /// Switch tables.
    pub switches: Vec<SwitchTable>,
    /// Ranges in which exceptions are caught, inner ranges first.
    pub handlers: Vec<Handler>,
    /// Where each instruction comes from: positions in words, ascending; an entry holds until the next one.
    pub spans: Vec<(u32, Span)>,
    /// Largest number of window slots that the code writes.
    pub window: u32,
}

/// An immediate cell: what `cell.const` loads. Never a heap address.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum CellConst {
    /// An int that fits 48 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// One of the reserved immediates.
    Immediate(Immediate),
}

/// The targets of a multiway branch.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SwitchTable {
    /// Keys, distinct, with the target as a distance in words from the switch instruction.
    pub cases: Vec<(SwitchKey, i32)>,
    /// The distance where no key matches.
    pub default: i32,
}

/// What a case of a switch compares with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SwitchKey {
    /// An int (`int.switch`, `cell.switch`).
    Int(i64),
    /// A reserved immediate (`cell.switch`).
    Immediate(Immediate),
    /// An interned name (`cell.switch`).
    Name(NameId),
    /// A string (`string.switch`).
    String(StringId),
}

/// A range of code whose exceptions continue at `target`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handler {
    /// First word of the range.
    pub start: u32,
    /// First word behind the range.
    pub end: u32,
    /// Where to continue.
    pub target: u32,
    /// The cell slot (of type `any`) that gets the exception.
    pub slot: u16,
}

/// A place in a source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Span {
    /// Index into [`Module::sources`].
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// First byte behind.
    pub end: u32,
}

/// What a backtrace needs of a source text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// File name or other label.
    pub name: String,
    /// The byte offset of each line's start; the first is 0.
    pub line_starts: Vec<u32>,
}

impl Source {
    /// Makes the line table of a text.
    pub fn new(name: impl Into<String>, text: &str) -> Source {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1);
        Source { name: name.into(), line_starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Line and column of a byte, both from 1; the column counts bytes.
    pub fn position(&self, offset: u32) -> (u32, u32) {
        let line = self.line_starts.partition_point(|&s| s <= offset).max(1);
        (line as u32, offset - self.line_starts.get(line - 1).copied().unwrap_or(0) + 1)
    }
}

/// A host function by name, with the signature that the module calls it with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostImport {
    /// The name it is registered under.
    pub name: String,
    /// The signature of the calls.
    pub signature: SigId,
}

/// A C function by symbol, with its descriptor (requirement R17).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CImport {
    /// Library to load; `None` searches the process.
    pub library: Option<String>,
    /// The symbol.
    pub symbol: String,
    /// Parameter types: at most six that are not floats, at most eight floats.
    pub params: Vec<CType>,
    /// The result.
    pub result: CType,
}

/// A C type in a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CType {
    /// No value (results only).
    Void,
    /// A 32-bit int, sign-extended.
    Int32,
    /// A 64-bit int.
    Int64,
    /// A double.
    Double,
    /// An address, as an int.
    Pointer,
    /// A null-terminated copy of a string (parameters only; the guest passes a string cell).
    CString,
}

/// A global variable of an instance.
#[derive(Clone, PartialEq, Debug)]
pub struct Global {
    /// The name for dumps.
    pub name: String,
    /// What it holds. Raw globals start as 0; cells as hole, and reading one that is still hole traps.
    pub ty: ValueType,
}

/// An interned name with the kind that the language gives it (symbol, keyword, …).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Name {
    /// The text.
    pub text: String,
    /// A kind that the language chooses.
    pub kind: u8,
}

/// An assumption that code may depend on (requirement R8).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Watch {
    /// The name under which host functions bump it.
    pub name: String,
}

/// Who answers a protocol entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callee {
    /// A function of the module.
    Function(FuncId),
    /// A host function.
    Host(HostId),
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$vdoc:meta])* $variant:ident $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr($repr)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// All members in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The name in the text format and in messages.
            pub fn text(self) -> &'static str { match self { $($name::$variant => $text,)* } }
            /// The member with this number.
            pub fn from_number(number: u64) -> Option<$name> { $name::ALL.get(usize::try_from(number).ok()?).copied() }
            /// The member with this name.
            pub fn from_text(text: &str) -> Option<$name> { $name::ALL.iter().copied().find(|m| m.text() == text) }
        }
    )*};
}

lists! {
    /// Why a run stops, unless a handler catches it. The order is part of the binary form.
    TrapCode: u16 {
        /// Checked integer arithmetic left the 64-bit range.
        IntegerOverflow "integer-overflow",
        /// Integer or checked float division by zero.
        DivisionByZero "division-by-zero",
        /// A position outside a list, string or tuple.
        IndexOutOfRange "index-out-of-range",
        /// A key that a map does not have, where the language wants one.
        MissingKey "missing-key",
        /// A checked cast failed.
        BadCast "bad-cast",
        /// An operation met a value of a kind that it does not know.
        TypeMismatch "type-mismatch",
        /// An operation needs a value and met nil.
        NullAccess "null-access",
        /// A global was read before it was set.
        Uninitialized "uninitialized",
        /// An argument outside an operation's domain.
        InvalidArgument "invalid-argument",
        /// The guest stack or the native stack is full.
        StackOverflow "stack-overflow",
        /// The heap reached its limit.
        MemoryLimit "memory-limit",
        /// The fuel is used up.
        OutOfFuel "out-of-fuel",
        /// The host asked to stop.
        Interrupted "interrupted",
        /// The time limit passed.
        TimedOut "timed-out",
        /// An exception that nobody caught.
        UncaughtException "uncaught-exception",
        /// A host function failed.
        HostError "host-error",
        /// A failed expectation of the program.
        ExpectFailed "expect-failed",
        /// The program ended itself with a message.
        Panic "panic",
        /// The program ended itself on purpose, without an error.
        Exit "exit",
        /// Code that the front end claims is never reached.
        Unreachable "unreachable",
    }

    /// Reserved values that are no heap objects.
    Immediate: u16 {
        /// Unbound or uninitialised.
        Hole "hole",
        /// The absent value.
        Nil "nil",
        /// False.
        False "false",
        /// True.
        True "true",
        /// No result; end of an iteration.
        None "none",
        /// The results are in the instance's result list.
        Many "many",
    }

    /// Kinds of values as `cell.kind` numbers them and feedback records them.
    Kind: u16 {
        /// Nil, hole, none, many.
        Nil "nil",
        /// A boolean.
        Bool "bool",
        /// An int of any width.
        Int "int",
        /// A float.
        Float "float",
        /// An interned name.
        Name "name",
        /// A string.
        String "string",
        /// A list of any storage kind.
        List "list",
        /// A map.
        Map "map",
        /// A record.
        Record "record",
        /// A closure.
        Function "function",
        /// A captured-variable box.
        Ref "ref",
        /// A tuple.
        Tuple "tuple",
        /// An opaque byte object of a front end.
        Bytes "bytes",
    }

    /// What a module answers where a dynamic op leaves its fast path (requirement R3). Parameters and results are
    /// `any`, except where the entry says otherwise.
    Protocol: u16 {
        /// a + b.
        Add "add",
        /// a - b.
        Sub "sub",
        /// a * b.
        Mul "mul",
        /// a / b.
        Div "div",
        /// a % b.
        Rem "rem",
        /// -a.
        Neg "neg",
        /// Whether a < b, as a bool.
        Less "less",
        /// Whether a <= b, as a bool.
        LessEqual "less-equal",
        /// Whether a = b, as a bool.
        Equal "equal",
        /// A hash of a, as an int; equal values have equal hashes.
        Hash "hash",
        /// The text of a key, as a string.
        Text "text",
        /// object[key].
        IndexGet "index-get",
        /// object[key] = value; no result.
        IndexSet "index-set",
        /// object.name, the name as a string.
        FieldGet "field-get",
        /// object.name = value, the name as a string; no result.
        FieldSet "field-set",
        /// callee(arguments): a call of something that is no function; arguments as a list.
        Call "call",
        /// callee(arguments): a call with a number of arguments that neither the callee nor one of its arities takes;
        /// arguments as a list.
        Arity "arity",
        /// The exception value of a caught trap: (code as an int, message as a string).
        TrapValue "trap-value",
    }
}

/// What the callee of a protocol entry returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolResult {
    /// No result.
    Nothing,
    /// A raw boolean.
    Bool,
    /// A raw int.
    Int,
    /// A string cell.
    String,
    /// A cell.
    Any,
    /// A cell, or no result, or several.
    Results,
}

impl Protocol {
    /// The number of parameters of the callee; all are cells of type `any`.
    pub fn arity(self) -> usize {
        match self {
            Protocol::Neg | Protocol::Hash | Protocol::Text => 1,
            Protocol::Add
            | Protocol::Sub
            | Protocol::Mul
            | Protocol::Div
            | Protocol::Rem
            | Protocol::Less
            | Protocol::LessEqual
            | Protocol::Equal
            | Protocol::IndexGet
            | Protocol::FieldGet
            | Protocol::Call
            | Protocol::Arity
            | Protocol::TrapValue => 2,
            Protocol::IndexSet | Protocol::FieldSet => 3,
        }
    }

    /// The result of the callee.
    pub fn result(self) -> ProtocolResult {
        match self {
            Protocol::Less | Protocol::LessEqual | Protocol::Equal => ProtocolResult::Bool,
            Protocol::Hash => ProtocolResult::Int,
            Protocol::Text => ProtocolResult::String,
            Protocol::IndexSet | Protocol::FieldSet => ProtocolResult::Nothing,
            Protocol::Call | Protocol::Arity => ProtocolResult::Results,
            Protocol::Add
            | Protocol::Sub
            | Protocol::Mul
            | Protocol::Div
            | Protocol::Rem
            | Protocol::Neg
            | Protocol::IndexGet
            | Protocol::FieldGet
            | Protocol::TrapValue => ProtocolResult::Any,
        }
    }
}

/// The functions of a module's protocol. An empty entry traps type-mismatch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProtocolTable(pub Vec<Option<Callee>>);

impl Default for ProtocolTable {
    fn default() -> Self {
        ProtocolTable(vec![None; Protocol::ALL.len()])
    }
}

impl ProtocolTable {
    /// The callee of an entry.
    pub fn get(&self, entry: Protocol) -> Option<Callee> {
        self.0.get(entry as usize).copied().flatten()
    }
    /// Sets an entry.
    pub fn set(&mut self, entry: Protocol, callee: Callee) {
        self.0[entry as usize] = Some(callee);
    }
}

/// A set of trap codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrapSet(pub u32);

impl TrapSet {
    /// Adds a code.
    #[must_use]
    pub fn with(self, code: TrapCode) -> TrapSet {
        TrapSet(self.0 | 1 << code as u32)
    }
    /// Whether the code is in the set.
    pub fn has(self, code: TrapCode) -> bool {
        self.0 & (1 << code as u32) != 0
    }
}

macro_rules! flag_sets {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $flag:ident = $bit:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        pub struct $name(pub u16);
        impl $name {
            $($(#[$fdoc])* pub const $flag: $name = $name(1 << $bit);)*
            /// All bits that mean something.
            pub const KNOWN: u16 = 0 $(| 1 << $bit)*;
            /// The flags with their names in the text format.
            pub const NAMES: &'static [(&'static str, u16)] = &[$((stringify!($flag), 1 << $bit)),*];
            /// Both sets.
            #[must_use]
            pub const fn with(self, other: $name) -> $name { $name(self.0 | other.0) }
            /// Whether all flags of `other` are set.
            pub const fn has(self, other: $name) -> bool { self.0 & other.0 == other.0 }
        }
    )*};
}

flag_sets! {
    /// What the fast path of a dynamic op may do with numbers (requirement R1) and positions. What is not allowed goes
    /// to the protocol. Without a `WRAP` flag an integer result outside 64 bits leaves the fast path.
    NumberPolicy {
        /// Integer results wrap at 32 bits.
        WRAP32 = 0,
        /// Integer results wrap at 64 bits.
        WRAP64 = 1,
        /// int / int truncates; else it leaves the fast path. A zero divisor always leaves.
        INT_DIV = 2,
        /// Mixed int and float operands are computed as floats, and compared by numeric value; else they leave.
        PROMOTE = 3,
        /// An int equals a float of the same numeric value; else they are different.
        NUMERIC_EQUAL = 4,
        /// float / 0 leaves the fast path; else IEEE.
        FLOAT_DIV_CHECKED = 5,
        /// A negative position counts from the end; else it leaves.
        RELATIVE_INDEX = 6,
        /// A read of a key that is absent gives nil; else it leaves.
        ABSENT_IS_NIL = 7,
        /// Integer results outside 64 bits trap integer-overflow instead of leaving.
        OVERFLOW_TRAPS = 8,
        /// Values of different kinds among nil, bool, int, float, name and string are different (int and float as
        /// `NUMERIC_EQUAL` says); else they leave.
        KINDS_DIFFER = 9,
        /// Fields of maps that find keys by text are the entries of those names; else they leave. So do absent ones of maps that
        /// the language has marked.
        FIELDS_ARE_ENTRIES = 10,
        /// The sum of two strings is one followed by the other, and strings are ordered by their bytes; else they leave.
        TEXTS = 11,
    }

    /// Which values count as false (requirement R4); `false` and `nil` are separate flags.
    TruthMask {
        /// Nil is false.
        NIL = 0,
        /// False is false.
        FALSE = 1,
        /// Int zero is false.
        ZERO = 2,
        /// Float zero is false (both signs).
        FLOAT_ZERO = 3,
        /// The empty string is false.
        EMPTY_STRING = 4,
        /// The empty list is false.
        EMPTY_LIST = 5,
        /// The empty map is false.
        EMPTY_MAP = 6,
        /// An object of no bytes is false.
        EMPTY_BYTES = 7,
    }
}
