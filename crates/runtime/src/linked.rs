//! Linked modules: verified bytecode, copied once per engine and made ready to run.
//!
//! Linking numbers the functions, globals, constants, feedback sites, watches and shapes of a module engine-wide and
//! rewrites the operands to those numbers, so code is shared by all instances of an engine and several modules live in
//! one instance. It also
//!
//! * turns record fields into slots, constants and switch tables into distances to a literal pool behind the function's
//!   code, and heap types into ids of the engine's one type table, so that equal types of different modules have equal ids;
//! * copies the destination of a two-word call into its second word, so that a return finds it in the word before the
//!   return pc, whatever the length of the call;
//! * writes the slot of the running closure into `capture.get`;
//! * writes the slot of the frame's header into returns;
//! * gives calls that drop a result a place for it: the first slot of the window, which nobody reads after a call.
//!
//! No address goes into the code. Input is trusted to be verified; what linking itself needs (imports that exist, names
//! that fit) is checked and reported.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use upshift_bytecode::frame::window_slots;
use upshift_bytecode::{
    ANY, CImport, Callee, CellConst, CellType, Effects, FrameLayout, Function, HeapType, Inst, Module, Op,
    OperandKind, Protocol, RecordId, SigId, Signature, Source, Span, SwitchKey, SwitchTable, TrapSet, TypeId,
    TypeTable, UnionId, ValueType, Word,
};

use crate::host::HostFunction;
use crate::record::Shape;
use crate::value::Value;

/// Why a module cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// No host function is registered under this name.
    UnknownHostFunction(String),
    /// The host function's own parameters or result differ from what the module imports it with.
    HostSignature {
        /// The name of the function.
        name: String,
        /// What the registered function takes.
        registered: String,
        /// What the module wants.
        imported: String,
    },
    /// A table of the module is larger than the engine's numbers reach.
    TooLarge(&'static str),
    /// An operand names something that does not exist: the module was not verified.
    Malformed(&'static str),
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::UnknownHostFunction(name) => write!(f, "no host function is registered as {name:?}"),
            LinkError::HostSignature { name, registered, imported } => {
                write!(f, "host function {name:?} is registered as {registered} but imported as {imported}")
            }
            LinkError::TooLarge(what) => write!(f, "too many {what} for one engine"),
            LinkError::Malformed(what) => write!(f, "malformed module: {what}"),
        }
    }
}
impl std::error::Error for LinkError {}

/// The number of a shape: a record layout with engine-wide identity.
pub type ShapeId = u32;

/// A parameter of a function: what it holds and its slot counted from the frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// What it holds; heap types are the engine's.
    pub ty: ValueType,
    /// The slot.
    pub slot: u32,
}

/// What the runtime knows of a function beside its code.
#[derive(Debug)]
pub struct FunctionMeta {
    /// The name for backtraces.
    pub name: Box<str>,
    /// The frame.
    pub layout: FrameLayout,
    /// The largest number of window slots that the code writes.
    pub window: u32,
    /// The engine-wide signature.
    pub signature: SigId,
    /// The parameters in order.
    pub params: Box<[Param]>,
    /// Whether the last parameter collects surplus arguments of dynamic calls.
    pub rest: bool,
    /// What answers dynamic calls with other numbers of arguments; one with a rest parameter stands last.
    pub arities: Box<[Arity]>,
    /// What is returned.
    pub result: Option<ValueType>,
    /// Whether all parameters are cells of type `any`, and none collects surplus arguments: then boxed arguments need no
    /// conversion.
    pub plain: bool,
    /// Whether the first cell parameter is the running closure.
    pub environment: bool,
    /// The types of the captures, for closures.
    pub captures: Box<[CellType]>,
    /// The types of directly addressed cell slots.
    pub cells: Box<[CellType]>,
    /// First word of the code in the module's code.
    pub start: u32,
    /// Number of words of instructions.
    pub len: u32,
    /// Whether other functions take its frame over: it has tail calls.
    pub hands_over: bool,
    /// Handler ranges, positions from the function's first word.
    pub handlers: Box<[upshift_bytecode::Handler]>,
    /// Positions to sources.
    pub spans: Box<[(u32, Span)]>,
    /// For host functions: the position in [`LinkedModule::hosts`].
    pub host: Option<u32>,
    /// The engine-wide number of the function.
    pub index: u32,
}

/// A function that answers calls of another one's closures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// The number of its parameters.
    pub params: u32,
    /// Whether the last one collects surplus arguments.
    pub rest: bool,
    /// The engine-wide number of the function.
    pub function: u32,
}

impl FunctionMeta {
    /// The function that answers a dynamic call of a closure of this one with so many arguments: one that takes exactly
    /// these, else one with a rest parameter.
    pub fn answering(&self, arguments: usize) -> Option<u32> {
        if !self.rest && self.params.len() == arguments {
            return Some(self.index);
        }
        let takes = |a: &Arity| {
            if a.rest { arguments + 1 >= a.params as usize } else { arguments == a.params as usize }
        };
        let other = self.arities.iter().find(|a| takes(a)).map(|a| a.function);
        other.or((self.rest && arguments + 1 >= self.params.len()).then_some(self.index))
    }

    /// The type of the cells in a slot of the frame; `None` where it holds none.
    pub fn cell_type(&self, slot: u32) -> Option<CellType> {
        self.cells.get(slot.checked_sub(self.layout.first_cell())? as usize).copied()
    }

    /// Whether a cell in a slot is of the type with a code, or nil, because the slot holds nothing else.
    pub fn holds_or_nil(&self, slot: u32, code: u32) -> bool {
        self.cell_type(slot).is_some_and(|own| own.id == type_of_code(code).id)
    }

    /// The source span of a word of the code.
    pub fn span_at(&self, word: u32) -> Option<Span> {
        let i = self.spans.partition_point(|&(at, _)| at <= word);
        i.checked_sub(1).map(|i| self.spans[i].1)
    }
}

/// A module ready to run: shared by the instances of an engine.
#[derive(Debug)]
pub struct LinkedModule {
    /// The module's name.
    pub name: String,
    /// Instructions and literal pools of all functions.
    pub code: Box<[Word]>,
    /// Functions, then host imports.
    pub functions: Box<[FunctionMeta]>,
    /// The number of functions that are bytecode.
    pub guest_functions: u32,
    /// The host functions behind the imports, with their names.
    pub hosts: Box<[(String, HostFunction)]>,
    /// C imports.
    pub c_functions: Box<[CImport]>,
    /// What globals hold and their names.
    pub globals: Box<[(String, ValueType)]>,
    /// String constants, then the texts of names.
    pub strings: Box<[String]>,
    /// Names: the values stand between the two kinds of strings in the constant table.
    pub names: Box<[Value]>,
    /// How many of `strings` are string constants of the module.
    pub string_constants: u32,
    /// The records without fields, by their number in the module: the constant table has an object of each, behind the texts.
    pub units: Box<[u32]>,
    /// The shapes.
    pub shapes: Box<[Arc<Shape>]>,
    /// Names of watches.
    pub watches: Box<[String]>,
    /// Number of feedback sites.
    pub feedback_sites: u32,
    /// The protocol: engine-wide function numbers, 0 for empty entries.
    pub protocol: [u32; Protocol::ALL.len()],
    /// Which traps handlers catch.
    pub catchable: TrapSet,
    /// Sources for backtraces.
    pub sources: Box<[Source]>,
    /// The function to run first.
    pub entry: Option<u32>,
    /// The first number of each table.
    pub bases: Bases,
    /// The entries that constant keys are in most map literals, by their texts; a compiler reads them from the code when it needs them.
    pub entry_numbers: OnceLock<HashMap<Box<str>, u32>>,
    /// The largest frame of any function with its window, in slots.
    pub max_extent: u32,
    tables: Tables,
}

/// Where the module's numbers begin in the engine's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// Functions and host imports.
    pub functions: u32,
    /// Globals.
    pub globals: u32,
    /// String constants, names, texts of names and records without fields.
    pub constants: u32,
    /// Feedback sites.
    pub feedback: u32,
    /// Watches.
    pub watches: u32,
    /// Shapes.
    pub shapes: u32,
    /// C functions.
    pub c_functions: u32,
}

impl LinkedModule {
    /// The function behind an engine-wide number, where it is one of this module.
    pub fn function(&self, index: u32) -> Option<&FunctionMeta> {
        self.functions.get(index.checked_sub(self.bases.functions)? as usize)
    }

    /// The engine-wide number of the guest function with this name; the last one wins.
    pub fn function_named(&self, name: &str) -> Option<u32> {
        let guests = &self.functions[..self.guest_functions as usize];
        guests.iter().rposition(|f| &*f.name == name).map(|i| self.bases.functions + i as u32)
    }

    /// The engine's tables of types and signatures.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The number of cells that the module needs in the constant table.
    pub fn constant_count(&self) -> usize {
        self.strings.len() + self.names.len() + self.units.len()
    }

    /// The shape of the record at a place of the module's part of the constant table, where there is one.
    pub fn unit_constant(&self, at: u32) -> Option<ShapeId> {
        let unit = (at as usize).checked_sub(self.strings.len() + self.names.len())?;
        self.units.get(unit).map(|record| self.bases.shapes + record)
    }

    /// The cell at a place of the module's part of the constant table, where it is no object and so the same in all instances: a short
    /// string, or a name.
    pub fn inline_constant(&self, at: u32) -> Option<Value> {
        let (at, strings) = (at as usize, self.string_constants as usize);
        if at < strings {
            return Value::short_string(self.strings.get(at)?.as_bytes());
        }
        self.names.get(at - strings).copied().filter(|v| !v.is_object())
    }

    /// The text of a string constant, or the name of a field, at a place of the module's part of the constant table.
    pub fn text_constant(&self, at: u32) -> Option<&str> {
        // The values of names stand between the two.
        let (at, names) = (at as usize, self.names.len());
        let strings = self.string_constants as usize;
        let at = if at < strings { at } else { at.checked_sub(names).filter(|&at| at >= strings)? };
        self.strings.get(at).map(|text| &**text)
    }

    /// The text of the string constant at a place of the module's part of the constant table.
    pub fn string_constant(&self, at: u32) -> Option<&str> {
        self.strings[..self.string_constants as usize].get(at as usize).map(|text| &**text)
    }
}

impl Drop for LinkedModule {
    fn drop(&mut self) {
        let mut tables = self.tables.lock();
        let b = self.bases;
        tables.functions.give(b.functions, self.functions.len() as u32);
        tables.globals.give(b.globals, self.globals.len() as u32);
        tables.constants.give(b.constants, self.constant_count() as u32);
        tables.feedback.give(b.feedback, self.feedback_sites);
        tables.watches.give(b.watches, self.watches.len() as u32);
        tables.c_functions.give(b.c_functions, self.c_functions.len() as u32);
        // Shapes are identities: their numbers are never used again.
    }
}

/// The engine's tables of everything that has an engine-wide number.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<Mutex<TablesInner>>);

/// A union of linked modules.
#[derive(Clone, Debug)]
pub struct LinkedUnion {
    /// The name that the language gave it.
    pub name: Arc<str>,
    /// The variants.
    pub shapes: Arc<[ShapeId]>,
}

/// What is behind [`Tables`].
#[derive(Debug)]
pub struct TablesInner {
    names: HashMap<(u8, String), u32>,
    name_texts: Vec<(u8, Arc<str>)>,
    /// All heap types of linked modules, with engine-wide ids inside.
    pub types: TypeTable,
    /// The unions of linked modules; those of the same shapes are one.
    pub unions: Vec<LinkedUnion>,
    union_index: HashMap<Vec<ShapeId>, u32>,
    signatures: Vec<Signature>,
    signature_index: HashMap<Signature, SigId>,
    functions: Ranges,
    globals: Ranges,
    constants: Ranges,
    feedback: Ranges,
    watches: Ranges,
    shapes: Ranges,
    c_functions: Ranges,
}

impl Default for TablesInner {
    fn default() -> Self {
        let mut types = TypeTable::default();
        let string = types.cell(HeapType::String);
        debug_assert_eq!(type_code(string), STRING_CODE);
        TablesInner {
            names: HashMap::new(),
            name_texts: Vec::new(),
            types,
            unions: Vec::new(),
            union_index: HashMap::new(),
            signatures: Vec::new(),
            signature_index: HashMap::new(),
            // Function 0 is the bottom of every stack, shape 0 is none.
            functions: Ranges { next: 1, free: Vec::new() },
            globals: Ranges::default(),
            constants: Ranges::default(),
            feedback: Ranges::default(),
            watches: Ranges::default(),
            shapes: Ranges { next: 1, free: Vec::new() },
            c_functions: Ranges::default(),
        }
    }
}

/// Numbers given out in runs, and taken back.
#[derive(Debug, Default)]
struct Ranges {
    next: u32,
    free: Vec<(u32, u32)>,
}

impl Ranges {
    fn take(&mut self, len: usize, what: &'static str) -> Result<u32, LinkError> {
        let len = u32::try_from(len).map_err(|_| LinkError::TooLarge(what))?;
        if len == 0 {
            return Ok(0);
        }
        if let Some(i) = self.free.iter().position(|&(_, n)| n >= len) {
            let (start, n) = self.free[i];
            if n == len {
                self.free.swap_remove(i);
            } else {
                self.free[i] = (start + len, n - len);
            }
            return Ok(start);
        }
        let start = self.next;
        // 2^25 functions of 64 bytes are more than any instance holds; the bound keeps all arithmetic in range, that of
        // machine code with its 32-bit offsets too.
        self.next = start.checked_add(len).filter(|&n| n < 1 << 25).ok_or(LinkError::TooLarge(what))?;
        Ok(start)
    }

    fn give(&mut self, start: u32, len: u32) {
        if len != 0 {
            if start + len == self.next {
                self.next = start;
            } else {
                self.free.push((start, len));
            }
        }
    }
}

impl Tables {
    /// Access to the tables. A panic while they were locked leaves them usable: every change is complete in itself.
    pub fn lock(&self) -> MutexGuard<'_, TablesInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interned name with this kind and text.
    pub fn intern(&self, kind: u8, text: &str) -> Value {
        self.lock().intern(kind, text)
    }

    /// The text of an interned name.
    pub fn name_text(&self, id: u32) -> Option<Arc<str>> {
        self.lock().name_texts.get(id as usize).map(|(_, t)| t.clone())
    }
}

impl TablesInner {
    fn intern(&mut self, kind: u8, text: &str) -> Value {
        if let Some(&id) = self.names.get(&(kind, text.to_string())) {
            return Value::name(kind, id);
        }
        let id = self.name_texts.len() as u32;
        self.name_texts.push((kind, text.into()));
        self.names.insert((kind, text.to_string()), id);
        Value::name(kind, id)
    }

    /// The signature with an engine-wide number.
    pub fn signature_at(&self, id: SigId) -> Option<&Signature> {
        self.signatures.get(id.index())
    }

    fn union(&mut self, name: &str, mut shapes: Vec<ShapeId>) -> UnionId {
        shapes.sort_unstable();
        shapes.dedup();
        if let Some(&id) = self.union_index.get(&shapes) {
            return UnionId(id);
        }
        let id = self.unions.len() as u32;
        self.unions.push(LinkedUnion { name: name.into(), shapes: shapes.clone().into() });
        self.union_index.insert(shapes, id);
        UnionId(id)
    }

    fn signature(&mut self, signature: Signature) -> SigId {
        if let Some(&id) = self.signature_index.get(&signature) {
            return id;
        }
        let id = SigId(self.signatures.len() as u32);
        self.signatures.push(signature.clone());
        self.signature_index.insert(signature, id);
        id
    }

    /// A signature that equals no other: for recursive function types, which are compared by name.
    fn opaque_signature(&mut self) -> SigId {
        let id = SigId(self.signatures.len() as u32);
        self.signatures.push(Signature::default());
        id
    }
}

/// The module's types and signatures under engine-wide ids.
struct TypeMap {
    types: Vec<TypeId>,
    signatures: Vec<SigId>,
}

impl TypeMap {
    fn new(module: &Module, shape_base: u32, tables: &mut TablesInner) -> Result<TypeMap, LinkError> {
        let mut types: Vec<Option<TypeId>> = vec![None; module.types.len()];
        let mut signatures: Vec<Option<SigId>> = vec![None; module.signatures.len()];
        // Types mostly come after their parts, so one pass does; types that contain themselves through a signature
        // never resolve and are then made unique.
        loop {
            let mut progress = false;
            let mut open = false;
            for (id, ty) in module.types.iter() {
                if types[id.index()].is_some() {
                    continue;
                }
                let cell =
                    |c: &CellType| types.get(c.id.index()).copied().flatten().map(|id| CellType { id, ..*c });
                let resolved = match ty {
                    HeapType::ListCell(c) => cell(c).map(HeapType::ListCell),
                    HeapType::RefCell(c) => cell(c).map(HeapType::RefCell),
                    HeapType::Map { key, order, value } => {
                        cell(value).map(|value| HeapType::Map { key: *key, order: *order, value })
                    }
                    HeapType::Record(r) => Some(HeapType::Record(RecordId(shape_base + r.0))),
                    HeapType::Union(u) => {
                        let union = module.unions.get(u.index()).ok_or(LinkError::Malformed("union id"))?;
                        let shapes = union.variants.iter().map(|r| shape_base + r.0).collect();
                        Some(HeapType::Union(tables.union(&union.name, shapes)))
                    }
                    HeapType::Closure(s) => {
                        let signature =
                            module.signatures.get(s.index()).ok_or(LinkError::Malformed("signature id"))?;
                        if signatures[s.index()].is_none() {
                            signatures[s.index()] =
                                map_signature(signature, &types).map(|signature| tables.signature(signature));
                        }
                        signatures[s.index()].map(HeapType::Closure)
                    }
                    other => Some(other.clone()),
                };
                match resolved {
                    Some(ty) => {
                        types[id.index()] = Some(tables.types.intern(ty));
                        progress = true;
                    }
                    None => open = true,
                }
            }
            if !open {
                break;
            }
            if !progress {
                for (id, ty) in module.types.iter() {
                    if types[id.index()].is_none()
                        && let HeapType::Closure(s) = ty
                    {
                        let sig = *signatures[s.index()].get_or_insert_with(|| tables.opaque_signature());
                        types[id.index()] = Some(tables.types.intern(HeapType::Closure(sig)));
                        progress = true;
                    }
                }
                if !progress {
                    return Err(LinkError::Malformed("a heap type contains itself"));
                }
            }
        }
        let types: Vec<TypeId> = types.into_iter().flatten().collect();
        let resolved: Vec<Option<TypeId>> = types.iter().copied().map(Some).collect();
        let mut all = Vec::with_capacity(signatures.len());
        for (i, known) in signatures.into_iter().enumerate() {
            all.push(match known {
                Some(id) => id,
                None => {
                    let signature = map_signature(&module.signatures[i], &resolved);
                    tables.signature(signature.ok_or(LinkError::Malformed("type id"))?)
                }
            });
        }
        Ok(TypeMap { types, signatures: all })
    }

    fn cell(&self, c: CellType) -> Result<CellType, LinkError> {
        let id = *self.types.get(c.id.index()).ok_or(LinkError::Malformed("type id"))?;
        Ok(CellType { id, nullable: c.nullable })
    }

    fn value(&self, ty: ValueType) -> Result<ValueType, LinkError> {
        Ok(match ty {
            ValueType::Cell(c) => ValueType::Cell(self.cell(c)?),
            raw => raw,
        })
    }

    fn signature(&self, id: SigId) -> Result<SigId, LinkError> {
        self.signatures.get(id.index()).copied().ok_or(LinkError::Malformed("signature id"))
    }
}

fn map_signature(signature: &Signature, types: &[Option<TypeId>]) -> Option<Signature> {
    let value = |ty: &ValueType| {
        Some(match *ty {
            ValueType::Cell(c) => {
                ValueType::Cell(CellType { id: types.get(c.id.index()).copied().flatten()?, ..c })
            }
            raw => raw,
        })
    };
    Some(Signature {
        params: signature.params.iter().map(value).collect::<Option<_>>()?,
        rest: signature.rest,
        result: match &signature.result {
            Some(ty) => Some(value(ty)?),
            None => None,
        },
    })
}

/// Links a verified module. `resolve` finds host functions by name.
///
/// # Errors
/// See [`LinkError`].
pub fn link(
    module: &Module,
    tables: &Tables,
    resolve: &dyn Fn(&str) -> Option<HostFunction>,
) -> Result<Arc<LinkedModule>, LinkError> {
    let mut hosts = Vec::with_capacity(module.hosts.len());
    for import in &module.hosts {
        let function =
            resolve(&import.name).ok_or_else(|| LinkError::UnknownHostFunction(import.name.clone()))?;
        let signature =
            module.signatures.get(import.signature.index()).ok_or(LinkError::Malformed("signature id"))?;
        function.check(&import.name, signature)?;
        hosts.push((import.name.clone(), function));
    }
    let units: Box<[u32]> =
        (0..).zip(&module.records).filter(|(_, r)| r.fields.is_empty()).map(|(i, _)| i).collect();
    let mut inner = tables.lock();
    let bases = Bases {
        functions: inner.functions.take(module.functions.len() + hosts.len(), "functions")?,
        globals: inner.globals.take(module.globals.len(), "globals")?,
        constants: inner
            .constants
            .take(module.strings.len() + 2 * module.names.len() + units.len(), "constants")?,
        feedback: inner.feedback.take(module.feedback_sites as usize, "feedback sites")?,
        watches: inner.watches.take(module.watches.len(), "watches")?,
        shapes: inner.shapes.take(module.records.len(), "records")?,
        c_functions: inner.c_functions.take(module.c_functions.len(), "C functions")?,
    };
    let map = TypeMap::new(module, bases.shapes, &mut inner)?;
    let names: Box<[Value]> = module.names.iter().map(|n| inner.intern(n.kind, &n.text)).collect();
    drop(inner);

    let shapes = module.records.iter().map(|r| link_shape(r, &map)).collect::<Result<Box<[_]>, _>>()?;
    let mut linker =
        Linker { module, map: &map, bases, names: &names, units: &units, shapes: &shapes, code: Vec::new() };
    let mut functions = Vec::with_capacity(module.functions.len() + hosts.len());
    for function in &module.functions {
        let index = bases.functions + functions.len() as u32;
        functions.push(linker.function(function, index)?);
    }
    for (i, import) in module.hosts.iter().enumerate() {
        let index = bases.functions + functions.len() as u32;
        functions.push(linker.host(i as u32, &import.name, import.signature, index)?);
    }
    let code = std::mem::take(&mut linker.code).into_boxed_slice();

    let mut protocol = [0; Protocol::ALL.len()];
    for &entry in Protocol::ALL {
        protocol[entry as usize] = match module.protocol.get(entry) {
            None => 0,
            Some(Callee::Function(f)) => bases.functions + f.0,
            Some(Callee::Host(h)) => bases.functions + module.functions.len() as u32 + h.0,
        };
    }
    let globals = module
        .globals
        .iter()
        .map(|g| Ok((g.name.clone(), map.value(g.ty)?)))
        .collect::<Result<Box<[_]>, _>>()?;
    let texts = module.names.iter().map(|n| n.text.clone());
    Ok(Arc::new(LinkedModule {
        name: module.name.clone(),
        code,
        guest_functions: module.functions.len() as u32,
        entry_numbers: OnceLock::new(),
        max_extent: functions.iter().map(|f: &FunctionMeta| f.layout.size() + f.window).max().unwrap_or(0),
        functions: functions.into_boxed_slice(),
        hosts: hosts.into_boxed_slice(),
        c_functions: module.c_functions.clone().into_boxed_slice(),
        globals,
        strings: module.strings.iter().cloned().chain(texts).collect(),
        names,
        string_constants: module.strings.len() as u32,
        units,
        shapes,
        watches: module.watches.iter().map(|w| w.name.clone()).collect(),
        feedback_sites: module.feedback_sites,
        protocol,
        catchable: module.catchable,
        sources: module.sources.clone().into_boxed_slice(),
        entry: module.entry.map(|f| bases.functions + f.0),
        bases,
        tables: tables.clone(),
    }))
}

fn link_shape(record: &upshift_bytecode::Record, map: &TypeMap) -> Result<Arc<Shape>, LinkError> {
    if record.fields.len() > usize::from(u16::MAX) {
        return Err(LinkError::TooLarge("fields of a record"));
    }
    let fields: Vec<(&str, ValueType)> = record
        .fields
        .iter()
        .map(|f| Ok((f.name.as_str(), map.value(f.ty)?)))
        .collect::<Result<_, LinkError>>()?;
    Ok(Arc::new(Shape::new(&record.name, record.tag, &fields)))
}

/// The mark of a second word in its lowest unit.
pub const LONG_CALL: u16 = 0x8000;

/// Words of a switch table in the literal pool: a kind, then what the kind says.
pub mod switch_table {
    /// Word 0 of a table whose keys are ints close together: `[kind | count << 32, default, first key, targets…]`.
    pub const DENSE: u32 = 0;
    /// Word 0 of a hash table: `[kind | log2 of the slots << 32, default, (key, target + 1 or 0 for free)…]`.
    pub const HASH: u32 = 1;
    /// Word 0 of a string table: as [`HASH`], the key being the hash of the text in the upper and the number of the
    /// constant in the lower half.
    pub const TEXT: u32 = 2;

    /// Spreads the bits of a key; the table takes the upper bits.
    #[inline(always)]
    pub fn spread(key: u64) -> u64 {
        (key ^ key >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The hash of a text in a string table.
    pub fn text_hash(text: &[u8]) -> u32 {
        let mut h: u64 = text.len() as u64;
        for chunk in text.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            h = spread(h.rotate_left(23) ^ u64::from_le_bytes(word));
        }
        (h >> 32) as u32
    }
}

struct Linker<'m> {
    module: &'m Module,
    map: &'m TypeMap,
    bases: Bases,
    names: &'m [Value],
    units: &'m [u32],
    shapes: &'m [Arc<Shape>],
    code: Vec<Word>,
}

impl Linker<'_> {
    fn params(&self, signature: &Signature, environment: bool) -> Result<Box<[Param]>, LinkError> {
        let slots = window_slots(&signature.params, environment);
        signature
            .params
            .iter()
            .zip(slots)
            .map(|(&ty, slot)| Ok(Param { ty: self.map.value(ty)?, slot }))
            .collect()
    }

    fn result(&self, signature: &Signature) -> Result<Option<ValueType>, LinkError> {
        signature.result.map(|ty| self.map.value(ty)).transpose()
    }

    fn cells(&self, types: &[CellType]) -> Result<Box<[CellType]>, LinkError> {
        types.iter().map(|&c| self.map.cell(c)).collect()
    }

    fn arities(&self, function: &Function) -> Result<Box<[Arity]>, LinkError> {
        let m = self.module;
        let mut arities = function
            .arities
            .iter()
            .map(|id| {
                let other = m.functions.get(id.index()).ok_or(LinkError::Malformed("function id"))?;
                let signature = m.signatures.get(other.signature.index());
                let signature = signature.ok_or(LinkError::Malformed("signature id"))?;
                let params = signature.params.len() as u32;
                Ok(Arity { params, rest: signature.rest, function: self.bases.functions + id.0 })
            })
            .collect::<Result<Box<[Arity]>, LinkError>>()?;
        arities.sort_by_key(|a| a.rest);
        Ok(arities)
    }

    fn host(&self, host: u32, name: &str, sig: SigId, index: u32) -> Result<FunctionMeta, LinkError> {
        let signature = &self.module.signatures[sig.index()];
        let (raw_params, cell_params) = signature.counts();
        Ok(FunctionMeta {
            name: name.into(),
            layout: FrameLayout { raw_params, cell_params, cells: cell_params, ..FrameLayout::default() },
            window: 0,
            signature: self.map.signature(sig)?,
            params: self.params(signature, false)?,
            rest: signature.rest,
            arities: Box::default(),
            result: self.result(signature)?,
            plain: false,
            environment: false,
            captures: Box::default(),
            cells: Box::default(),
            start: 0,
            len: 0,
            hands_over: false,
            handlers: Box::default(),
            spans: Box::default(),
            host: Some(host),
            index,
        })
    }

    fn function(&mut self, function: &Function, index: u32) -> Result<FunctionMeta, LinkError> {
        let signature = self
            .module
            .signatures
            .get(function.signature.index())
            .ok_or(LinkError::Malformed("signature id"))?;
        let layout = FrameLayout::of(function, signature);
        let start = u32::try_from(self.code.len()).map_err(|_| LinkError::TooLarge("instructions"))?;
        self.code.extend_from_slice(&function.code);
        let mut pool = Pool::default();
        let mut hands_over = false;
        let mut at = 0;
        while at < function.code.len() {
            let mut inst =
                Inst::decode(&function.code[at..]).map_err(|_| LinkError::Malformed("instruction"))?;
            let words = inst.op.words();
            hands_over |= inst.op.effects().is_tail_call();
            self.operands(function, &layout, &mut inst, start as usize + at, &mut pool)?;
            let (encoded, _) = inst.encode();
            let here = start as usize + at;
            self.code[here] = encoded[0];
            if words == 2 {
                self.code[here + 1] = encoded[1];
            }
            self.hints(&layout, inst.op, here)?;
            at += words;
        }
        Ok(FunctionMeta {
            name: function.name.as_str().into(),
            layout,
            window: function.window,
            signature: self.map.signature(function.signature)?,
            params: self.params(signature, function.environment.is_some())?,
            rest: signature.rest,
            arities: self.arities(function)?,
            result: self.result(signature)?,
            plain: !signature.rest && signature.params.iter().all(|p| *p == ValueType::Cell(ANY)),
            environment: function.environment.is_some(),
            captures: self.cells(function.environment.as_deref().unwrap_or(&[]))?,
            cells: self.cells(&function.cells)?,
            start,
            len: function.code.len() as u32,
            hands_over,
            handlers: function.handlers.clone().into_boxed_slice(),
            spans: function.spans.clone().into_boxed_slice(),
            host: None,
            index,
        })
    }

    /// Fills units that the row leaves free with what running code wants at hand.
    fn hints(&mut self, layout: &FrameLayout, op: Op, here: usize) -> Result<(), LinkError> {
        let info = op.info();
        if op == Op::CaptureGet {
            let slot = u16::try_from(layout.first_cell()).map_err(|_| LinkError::TooLarge("parameters"))?;
            self.code[here].0 |= u64::from(slot) << 48;
        }
        if op == Op::FrameClear {
            self.code[here].0 |= u64::from(layout.spilled_cells != 0) << 48;
        }
        if info.effects.has(Effects::RETURN) {
            let slot = u16::try_from(layout.header()).map_err(|_| LinkError::TooLarge("parameters"))?;
            self.code[here].0 |= u64::from(slot) << 48;
        }
        if matches!(op, Op::CallVoid | Op::CallClosureVoid) {
            let place = u16::try_from(layout.size()).map_err(|_| LinkError::TooLarge("registers"))?;
            let mut word = self.code[here].0;
            if op == Op::CallClosureVoid {
                // The callee moves to where the other closure calls have it.
                word = word & !(0xFFFF << 32) | (word >> 16 & 0xFFFF) << 32;
            }
            self.code[here] = Word(word & !(0xFFFF << 16) | u64::from(place) << 16);
        }
        // A second word that begins with a policy is marked, so that from a return pc alone one sees how long the call is:
        // no op has a number this high.
        if info.operands.iter().enumerate().any(|(i, o)| info.layout[i] == 4 && o.kind == OperandKind::Policy)
        {
            self.code[here + 1].0 |= u64::from(LONG_CALL);
        }
        let writes = info
            .operands
            .first()
            .and_then(|o| o.kind.register())
            .is_some_and(|r| r.0 != upshift_bytecode::ops::Role::Use);
        let free = !info.operands.iter().enumerate().any(|(i, o)| {
            let unit = info.layout[i] as usize;
            (unit..unit + o.kind.units()).contains(&5)
        });
        if info.words == 2 && writes && free {
            let dst = u64::from(self.code[here].a());
            self.code[here + 1].0 |= dst << 16;
        }
        Ok(())
    }

    fn operands(
        &mut self,
        function: &Function,
        layout: &FrameLayout,
        inst: &mut Inst,
        here: usize,
        pool: &mut Pool,
    ) -> Result<(), LinkError> {
        let b = self.bases;
        let m = self.module;
        let info = inst.op.info();
        let mut record = None;
        for (i, operand) in info.operands.iter().enumerate() {
            let value = &mut inst.operands[i];
            let index = *value as usize;
            let within = |len: usize| if index < len { Ok(()) } else { Err(LinkError::Malformed("operand")) };
            let add = |base: u32| i64::from(base) + index as i64;
            match operand.kind {
                OperandKind::FuncId => {
                    within(m.functions.len())?;
                    *value = add(b.functions);
                }
                OperandKind::HostId => {
                    within(m.hosts.len())?;
                    *value = add(b.functions + m.functions.len() as u32);
                }
                OperandKind::CFuncId => {
                    within(m.c_functions.len())?;
                    *value = add(b.c_functions);
                }
                OperandKind::StringId => {
                    within(m.strings.len())?;
                    *value = add(b.constants);
                }
                OperandKind::NameId => {
                    within(m.names.len())?;
                    // Field ops want the text, `name.const` the name.
                    let texts = if inst.op == Op::NameConst { 0 } else { m.names.len() as u32 };
                    *value = add(b.constants + m.strings.len() as u32 + texts);
                }
                OperandKind::GlobalId => {
                    within(m.globals.len())?;
                    *value = add(b.globals);
                }
                OperandKind::WatchId => {
                    within(m.watches.len())?;
                    *value = add(b.watches);
                }
                OperandKind::Feedback => {
                    within(m.feedback_sites as usize)?;
                    *value = add(b.feedback);
                }
                OperandKind::RecordId if inst.op == Op::RecordConst => {
                    let unit = self.units.binary_search(&(index as u32));
                    let unit = unit.map_err(|_| LinkError::Malformed("record constant"))?;
                    *value = i64::from(b.constants) + (m.strings.len() + 2 * m.names.len() + unit) as i64;
                }
                OperandKind::RecordId => {
                    within(m.records.len())?;
                    *value = add(b.shapes);
                }
                OperandKind::Type => {
                    let cell = CellType { id: TypeId((index >> 1) as u32), nullable: index & 1 != 0 };
                    let cell = self.map.cell(cell)?;
                    *value = i64::from(type_code(cell));
                }
                OperandKind::UseRecord => {
                    let cell =
                        index.checked_sub(layout.first_cell() as usize).and_then(|i| function.cells.get(i));
                    if let Some(HeapType::Record(r)) = cell.and_then(|c| m.types.get(c.id)) {
                        record = Some(*r);
                    }
                }
                OperandKind::Field => {
                    let shape = record.and_then(|r: RecordId| self.shapes.get(r.index()));
                    let field =
                        shape.and_then(|s| s.fields.get(index)).ok_or(LinkError::Malformed("field"))?;
                    *value = i64::from(field.slot);
                }
                OperandKind::Const => {
                    let bits = *function.constants.get(index).ok_or(LinkError::Malformed("constant"))?;
                    *value = pool.literal(&mut self.code, bits, here);
                }
                OperandKind::CellConst => {
                    let constant =
                        function.cell_constants.get(index).ok_or(LinkError::Malformed("constant"))?;
                    let cell = match *constant {
                        CellConst::Int(i) => {
                            Value::small_int(i).ok_or(LinkError::Malformed("wide int constant"))?
                        }
                        CellConst::Float(x) => Value::float(x),
                        CellConst::Immediate(i) => Value::immediate(i),
                    };
                    *value = pool.literal(&mut self.code, cell.bits(), here);
                }
                OperandKind::Switch => {
                    let table = function.switches.get(index).ok_or(LinkError::Malformed("switch"))?;
                    *value = self.switch(inst.op, table, here)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends a switch table to the pool; gives its distance from the switch.
    fn switch(&mut self, op: Op, table: &SwitchTable, here: usize) -> Result<i64, LinkError> {
        let place = self.code.len();
        let default = i64::from(table.default) as u64;
        if op == Op::IntSwitch {
            let keys = || {
                table
                    .cases
                    .iter()
                    .filter_map(|(k, _)| if let SwitchKey::Int(i) = k { Some(*i) } else { None })
            };
            if let (Some(low), Some(high)) = (keys().min(), keys().max()) {
                let span = i128::from(high) - i128::from(low) + 1;
                if span <= 4 * table.cases.len() as i128 + 16 {
                    let mut targets = vec![default; span as usize];
                    for (key, target) in &table.cases {
                        if let SwitchKey::Int(i) = key {
                            targets[i.wrapping_sub(low) as usize] = i64::from(*target) as u64;
                        }
                    }
                    self.code.push(Word(u64::from(switch_table::DENSE) | (span as u64) << 32));
                    self.code.push(Word(default));
                    self.code.push(Word(low as u64));
                    self.code.extend(targets.into_iter().map(Word));
                    return Ok((place - here) as i64);
                }
            }
        }
        let mut entries = Vec::with_capacity(table.cases.len());
        for (key, target) in &table.cases {
            let bits = match (op, key) {
                (Op::IntSwitch, SwitchKey::Int(i)) => *i as u64,
                (Op::StringSwitch, SwitchKey::String(s)) => {
                    let text =
                        self.module.strings.get(s.index()).ok_or(LinkError::Malformed("switch key"))?;
                    u64::from(switch_table::text_hash(text.as_bytes())) << 32
                        | u64::from(self.bases.constants + s.0)
                }
                (_, SwitchKey::Int(i)) => match Value::small_int(*i) {
                    Some(v) => v.bits(),
                    None => return Err(LinkError::Malformed("switch key")),
                },
                (_, SwitchKey::Immediate(i)) => Value::immediate(*i).bits(),
                (_, SwitchKey::Name(n)) => {
                    self.names.get(n.index()).ok_or(LinkError::Malformed("switch key"))?.bits()
                }
                (_, SwitchKey::String(s)) => {
                    let text =
                        self.module.strings.get(s.index()).ok_or(LinkError::Malformed("switch key"))?;
                    Value::short_string(text.as_bytes()).ok_or(LinkError::Malformed("switch key"))?.bits()
                }
            };
            entries.push((bits, *target));
        }
        let log = (entries.len() * 2).next_power_of_two().trailing_zeros().max(1);
        let kind = if op == Op::StringSwitch { switch_table::TEXT } else { switch_table::HASH };
        self.code.push(Word(u64::from(kind) | u64::from(log) << 32));
        self.code.push(Word(default));
        let slots = self.code.len();
        self.code.resize(slots + (2 << log), Word(0));
        let mask = (1usize << log) - 1;
        for (key, target) in entries {
            // Texts are found by their hash alone, which the reader recomputes.
            let probe = if kind == switch_table::TEXT { key >> 32 } else { key };
            let mut at = (switch_table::spread(probe) >> (64 - log)) as usize;
            while self.code[slots + 2 * at + 1].0 != 0 {
                at = (at + 1) & mask;
            }
            self.code[slots + 2 * at] = Word(key);
            // Targets of a verified switch are never 0 (that would be the switch itself), so 0 marks a free slot.
            self.code[slots + 2 * at + 1] = Word(i64::from(target) as u64);
        }
        Ok((place - here) as i64)
    }
}

/// The code of `string`, which every engine's table of types holds right behind `any`.
pub const STRING_CODE: u32 = 2;

/// A cell type as one number: the id shifted left by one, and whether nil belongs to it. Never 0.
pub fn type_code(cell: CellType) -> u32 {
    cell.id.0 << 1 | u32::from(cell.nullable || cell.id.0 == 0)
}

/// The cell type behind a code.
pub fn type_of_code(code: u32) -> CellType {
    CellType { id: TypeId(code >> 1), nullable: code & 1 != 0 }
}

/// Literals of one function, each stored once.
#[derive(Default)]
struct Pool {
    places: HashMap<u64, usize>,
}

impl Pool {
    fn literal(&mut self, code: &mut Vec<Word>, bits: u64, here: usize) -> i64 {
        let place = *self.places.entry(bits).or_insert_with(|| {
            code.push(Word(bits));
            code.len() - 1
        });
        (place - here) as i64
    }
}
