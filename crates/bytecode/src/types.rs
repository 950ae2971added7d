//! What registers, parameters, fields, elements and globals may hold.
//!
//! There are three banks of registers: `int` (raw `i64`, booleans as 0 and 1), `float` (raw `f64`) and `cell`
//! (a NaN-boxed value). A cell register also declares a [`CellType`], which belongs to the register and not to a
//! point of the program, so the verifier needs one linear pass and typed heap ops need no tag check.
//!
//! Heap types are interned in a [`TypeTable`]; equal structure means equal [`TypeId`].

use std::collections::HashMap;
use std::fmt;

/// One of the three register banks. The bank is part of the op and never decided at run time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Bank {
    /// Raw 64-bit integers; booleans as 0 and 1.
    Int,
    /// Raw IEEE doubles.
    Float,
    /// NaN-boxed values; the only bank that the collector scans.
    Cell,
}

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident $prefix:literal)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u32);
        impl $name {
            /// The position in the table that this index belongs to.
            pub fn index(self) -> usize { self.0 as usize }
            /// The letters before the number in the text format.
            pub const PREFIX: &'static str = $prefix;
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!($prefix, "{}"), self.0) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!($prefix, "{}"), self.0) }
        }
    )*};
}

index_types! {
    /// A heap type of the module's [`TypeTable`].
    TypeId "type"
    /// A record layout of the module.
    RecordId "record"
    /// A union of records of the module.
    UnionId "union"
    /// A signature of the module.
    SigId "sig"
    /// A function of the module.
    FuncId "fn"
    /// A host function that the module imports.
    HostId "host"
    /// A C function that the module imports.
    CFuncId "cfn"
    /// A global variable of the module.
    GlobalId "global"
    /// A string constant of the module.
    StringId "str"
    /// An interned name of the module.
    NameId "name"
    /// A watched assumption of the module.
    WatchId "watch"
    /// A feedback site of the module.
    FeedbackId "fb"
}

/// The heap type of a cell and whether it may also be nil.
///
/// `any` includes nil whatever the flag says; constructors keep the flag set there, so equality is structural.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct CellType {
    /// The heap type in the module's table.
    pub id: TypeId,
    /// Whether nil is a member.
    pub nullable: bool,
}

/// What a heap type describes. Interned: see [`TypeTable::intern`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HeapType {
    /// Every value that may be stored in the heap (not `none`, not `many`).
    Any,
    /// `any`, or `none` (no result), or `many` (the results are in the instance's result list). Registers, parameters
    /// and results only: the verifier keeps it out of the heap.
    Results,
    /// A boxed integer of any width up to 64 bits.
    Int,
    /// A boxed float.
    Float,
    /// A boxed boolean.
    Bool,
    /// An interned name.
    Name,
    /// Text.
    String,
    /// A list that stores raw ints.
    ListInt,
    /// A list that stores raw floats.
    ListFloat,
    /// A list that stores booleans, one byte each.
    ListBool,
    /// A list that stores cells of one type.
    ListCell(CellType),
    /// A map: how its keys are held and compared, the order it shows, and the type of its values.
    Map {
        /// What keys are and how they are compared.
        key: KeyPolicy,
        /// The order in which keys are shown.
        order: OrderPolicy,
        /// The type of the values.
        value: CellType,
    },
    /// A record of one layout.
    Record(RecordId),
    /// A record of one of several layouts.
    Union(UnionId),
    /// A closure whose function has this signature (its environment parameter left out).
    Closure(SigId),
    /// Any function value.
    Function,
    /// A captured-variable box that holds a raw int.
    RefInt,
    /// A captured-variable box that holds a raw float.
    RefFloat,
    /// A captured-variable box that holds a cell.
    RefCell(CellType),
    /// A tuple object of a front-end kind: a variable tail of cells.
    Tuple(u16),
    /// An opaque object of a front-end kind: a variable tail of bytes, made and read by host functions.
    Bytes(u16),
}

/// How the keys of a map are held and compared (requirement R20).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum KeyPolicy {
    /// Keys are ints: compared as raw integers, no protocol call ever.
    Int,
    /// Keys are strings: compared by content.
    String,
    /// Any key, compared by identity of value (ints, floats, names, strings by content, objects by address).
    Value,
    /// Any key, compared through its text: 1 and "1" are one key. Ints and strings know their text; of other kinds the
    /// protocol entry `text` is asked.
    Text,
    /// Any key, compared by the protocol entries `equal` and `hash`.
    Protocol,
}

/// In which order a map shows its keys (requirement R20).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum OrderPolicy {
    /// In the order of first insertion.
    Insertion,
    /// In byte order of the key's text; cached until the key set changes.
    SortedByText,
}

/// What a parameter, result, field, global or element holds, as its declaration says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum ValueType {
    /// A raw int.
    Int,
    /// A boolean: an `int` register with 0 or 1, a byte in lists, `true` or `false` when boxed.
    Bool,
    /// A raw float.
    Float,
    /// A cell.
    Cell(CellType),
}

impl ValueType {
    /// The bank of a register that holds it.
    pub fn bank(self) -> Bank {
        match self {
            ValueType::Int | ValueType::Bool => Bank::Int,
            ValueType::Float => Bank::Float,
            ValueType::Cell(_) => Bank::Cell,
        }
    }

    /// Whether it lives in a cell register.
    pub fn is_cell(self) -> bool {
        self.bank() == Bank::Cell
    }
}

/// The interned heap types of a module. `TypeId(0)` is always `any`.
#[derive(Clone, Debug)]
pub struct TypeTable {
    types: Vec<HeapType>,
    index: HashMap<HeapType, TypeId>,
}

impl PartialEq for TypeTable {
    fn eq(&self, other: &Self) -> bool {
        self.types == other.types
    }
}

impl Default for TypeTable {
    fn default() -> Self {
        let mut table = TypeTable { types: Vec::new(), index: HashMap::new() };
        table.intern(HeapType::Any);
        table
    }
}

impl TypeTable {
    /// The id of a heap type, the same for equal types.
    pub fn intern(&mut self, ty: HeapType) -> TypeId {
        if let Some(&id) = self.index.get(&ty) {
            return id;
        }
        let id = TypeId(self.types.len() as u32);
        self.types.push(ty.clone());
        self.index.insert(ty, id);
        id
    }

    /// A non-null cell type (`any` and `results` stay nullable).
    pub fn cell(&mut self, ty: HeapType) -> CellType {
        let nullable = matches!(ty, HeapType::Any | HeapType::Results);
        CellType { id: self.intern(ty), nullable }
    }

    /// A cell type that includes nil.
    pub fn nullable(&mut self, ty: HeapType) -> CellType {
        CellType { id: self.intern(ty), nullable: true }
    }

    /// The id of a heap type that the table has.
    pub fn find(&self, ty: &HeapType) -> Option<TypeId> {
        self.index.get(ty).copied()
    }

    /// The heap type behind an id; `None` where a (not yet verified) module names one that does not exist.
    pub fn get(&self, id: TypeId) -> Option<&HeapType> {
        self.types.get(id.index())
    }

    /// All types in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &HeapType)> {
        self.types.iter().enumerate().map(|(i, t)| (TypeId(i as u32), t))
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Never: `any` is always there.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }
}

/// The type `any`, of `TypeId(0)` in every module.
pub const ANY: CellType = CellType { id: TypeId(0), nullable: true };

impl std::ops::Index<TypeId> for TypeTable {
    type Output = HeapType;
    fn index(&self, id: TypeId) -> &HeapType {
        &self.types[id.index()]
    }
}
