//! An instance: heap, stacks, globals and everything else that belongs to one run of the world.
//!
//! The context is its first field, so a context pointer is an instance pointer. Code that runs holds raw pointers into the
//! instance; Rust references to parts of it are short-lived and never held across guest code.
//!
//! Entering the guest from Rust pushes a frame above the *native top* (the frame of the host function that runs, or the
//! bottom of the stack) and runs the interpreter until that frame returns or is unwound.

use std::any::{Any, TypeId as RustTypeId};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use upshift_bytecode::{CellType, HeapType, Protocol, RecordId, TrapCode, TypeId, ValueType, Word};

use crate::check;
use crate::context::{Context, Helper, InterruptHandle, Run, RunEnd, Status};
use crate::feedback::Feedback;
use crate::frame::{CLEAN, CLEAN_STEP, Frame, FunctionEntry, SPECIAL};
use crate::heap::{Heap, HeapConfig};
use crate::host::{self, HostContext, Root};
use crate::io::{Grants, Io};
use crate::linked::{FunctionMeta, LinkedModule, LinkedUnion, ShapeId, Tables};
use crate::object::ObjectKind;
use crate::record::Shape;
use crate::sampling::{Activity, Sampling};
use crate::stack::GuestStack;
use crate::trap::{BACKTRACE_INNER, BACKTRACE_OUTER, Backtrace, BacktraceFrame, Trap};
use crate::value::{SHORT_MAX, Value};

/// The most units that a refill of the budget gives: interrupts and timeouts are seen at least this often.
pub const REFILL: i64 = 10_000;

/// The units that turns of a loop take off the budget when they are charged at once, since their outcome is computed: about the time of
/// so many turns.
const SKIP: u64 = 32;

/// The most units that host functions charge without a look at interrupts and the deadline.
const LOOK: i64 = 1_000;

/// Bytes that are compared or searched through in the time of a unit, about.
const BYTES_A_UNIT: usize = 1 << 10;

/// Texts from here on are long enough to be told of.
const LONG: usize = 4 << 10;

/// How much of the native stack must be left for a call into the guest.
const NATIVE_RESERVE: usize = 96 << 10;

/// So much native stack is left below machine code for routines and host functions: what these need themselves, and the
/// return addresses of as many calls as a refill of the budget allows.
pub const NATIVE_ROOM: usize = (96 << 10) + 8 * REFILL as usize;

/// And so much more for optimized functions that call nothing and so do not look.
const NATIVE_LEAVES: usize = 64 << 10;

/// How an instance is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceConfig {
    /// The heap.
    pub heap: HeapConfig,
    /// The guest stack in bytes (address space; memory is taken as it is used).
    pub stack: usize,
    /// The native stack in bytes (likewise).
    pub native_stack: usize,
    /// How many units of work may be done: one for each call and each turn of a loop, and what host functions charge. `None`: no limit.
    pub fuel: Option<u64>,
}

impl Default for InstanceConfig {
    fn default() -> Self {
        InstanceConfig { heap: HeapConfig::default(), stack: 512 << 20, native_stack: 64 << 20, fuel: None }
    }
}

/// The heap of an instance, which allocation changes while the rest of the instance is only read.
#[derive(Debug)]
#[repr(transparent)]
pub struct HeapCell(UnsafeCell<Heap>);

impl HeapCell {
    /// The heap, through a shared reference.
    ///
    /// # Safety
    /// No other reference to it is in use.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "that is what the cell is for")]
    pub unsafe fn shared(&self) -> &mut Heap {
        // SAFETY: by the contract.
        unsafe { &mut *self.0.get() }
    }
}

impl Deref for HeapCell {
    type Target = Heap;
    #[inline(always)]
    fn deref(&self) -> &Heap {
        // SAFETY: instances are not Sync, and references from `shared` are held for single operations only.
        unsafe { &*self.0.get() }
    }
}

impl DerefMut for HeapCell {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Heap {
        self.0.get_mut()
    }
}

/// What tiers above the interpreter put into the entries of functions without machine code.
#[derive(Clone, Copy, Debug)]
pub struct TierHooks {
    /// Where machine code goes to call such a function.
    pub uncompiled: *const u8,
    /// At this heat the driver looks at a function for the first time.
    pub threshold: u32,
    /// The routines that machine code calls.
    pub routines: *const Helper,
    /// What the driver keeps.
    pub driver: *mut (),
    /// Watches were bumped: code that was made for them as they were is not entered any more once this returns. Is given the driver.
    pub bumped: unsafe fn(*mut (), &mut Instance),
    /// A routine found the budget used up at a call, by this frame of this function, and refilled it. Is given the driver.
    pub polled: unsafe fn(*mut (), &mut Instance, Frame, u32),
}

/// What the interpreter finds at the start of functions while there are other tiers.
static TIER_ENTRY: Word = Word(upshift_bytecode::Op::TierEntry as u64);

/// What is pending while guest code unwinds.
#[derive(Debug)]
pub enum Pending {
    /// A trap.
    Trap(Trap),
    /// A guest exception, with where it was raised where it already left an inner run.
    Exception(Value, Option<Backtrace>),
}

/// An undone store.
#[derive(Clone, Copy, Debug)]
struct Trailed {
    object: Value,
    /// Byte offset of the cell in the object.
    offset: u32,
    old: Value,
}

/// See the module's documentation.
#[repr(C)]
pub struct Instance {
    /// What running code sees.
    pub context: Context,
    /// The heap.
    pub heap: HeapCell,
    /// Input and output.
    pub io: RefCell<Io>,
    run: Run,
    stack: GuestStack,
    native: Option<corosensei::stack::DefaultStack>,
    /// The lowest native stack address that guest calls may reach; 0 while not on the own stack.
    native_limit: usize,
    /// By function number: optimized code that takes its arguments in registers.
    fast: Vec<*const u8>,
    functions: Vec<FunctionEntry>,
    globals: Vec<u64>,
    cell_globals: Vec<u32>,
    constants: Vec<Value>,
    constants_scanned: bool,
    feedback: Vec<Feedback>,
    watches: RefCell<Vec<u32>>,
    watch_names: HashMap<String, Vec<u32>>,
    modules: Vec<Arc<LinkedModule>>,
    tables: Tables,
    types: Vec<HeapType>,
    unions: Vec<LinkedUnion>,
    c_functions: Vec<CFunction>,
    libraries: Vec<(String, libloading::Library)>,
    /// The result list.
    pub results: Vec<Value>,
    trail: Vec<Trailed>,
    roots: RefCell<Vec<Value>>,
    /// The exception or trap on its way.
    pub pending: Option<Pending>,
    /// The function whose return ended the last run: its result type is that of the result.
    pub returned: u32,
    /// The frame that runs natively.
    top: Frame,
    interrupt: InterruptHandle,
    deadline: Option<Instant>,
    /// What is left of the fuel beyond the budget. In a cell, as is what follows, because host functions charge their work while they
    /// hold values.
    fuel: Cell<Option<u64>>,
    /// What host functions took of the budget in the context, which only they who have the instance for themselves may write.
    owed: Cell<i64>,
    /// The units of work since the last look at interrupts and the deadline, other than those of the budget.
    unseen: Cell<i64>,
    max_extent: u32,
    depth: Cell<u32>,
    /// The most units that a refill of the budget gives.
    quantum: i64,
    /// Units given out so far, without what came back.
    granted: i64,
    tiers: Option<TierHooks>,
    /// Where somebody samples.
    pub(crate) sampling: Option<Box<Sampling>>,
    data: HashMap<RustTypeId, Box<dyn Any + Send>>,
}

/// A C import, resolved at its first call.
#[derive(Clone, Debug, Default)]
struct CFunction {
    module: u32,
    index: u32,
    address: usize,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}

// SAFETY: everything that the raw pointers lead to is owned by the instance; host functions and data are Send.
unsafe impl Send for Instance {}

/// Where pointers into tables start before a module is loaded.
fn resize<T: Clone>(table: &mut Vec<T>, len: usize, fill: T) {
    if table.len() < len {
        // Doubling, so that thousands of small modules do not copy the table each time.
        if table.capacity() < len {
            table.reserve(len - table.len());
        }
        table.resize(len, fill);
    }
}

impl Instance {
    /// An instance without modules.
    ///
    /// # Errors
    /// memory-limit where the system does not give what the configuration asks for.
    pub fn new(
        config: &InstanceConfig,
        tables: Tables,
        grants: Grants,
        interrupt: InterruptHandle,
        run: Run,
    ) -> Result<Box<Instance>, Trap> {
        let heap = Heap::new(config.heap)?;
        let no_stack = || Trap::new(TrapCode::MemoryLimit, "no address space for the stack");
        let stack = GuestStack::new(config.stack).ok_or_else(no_stack)?;
        let base = stack.base();
        let mut native = None;
        let mut size = config.native_stack.max(256 << 10);
        while native.is_none() && size >= 256 << 10 {
            native = corosensei::stack::DefaultStack::new(size).ok();
            size /= 2;
        }
        let mut instance = Box::new(Instance {
            context: Context {
                budget: 0,
                stack_limit: base,
                functions: std::ptr::null(),
                globals: std::ptr::null_mut(),
                constants: std::ptr::null(),
                feedback: std::ptr::null_mut(),
                watches: std::ptr::null(),
                pc: std::ptr::null(),
                fp: base,
                entry: std::ptr::null(),
                result: 0,
                native_base: 0,
                entered: 0,
                routines: std::ptr::null(),
                uncompiled: std::ptr::null(),
                tiers: std::ptr::null_mut(),
                native_limit: 0,
                fast: std::ptr::null(),
            },
            heap: HeapCell(UnsafeCell::new(heap)),
            io: RefCell::new(Io::new(grants)),
            run,
            stack,
            native: Some(native.ok_or_else(no_stack)?),
            native_limit: 0,
            functions: vec![FunctionEntry::NONE],
            fast: vec![std::ptr::null()],
            globals: Vec::new(),
            cell_globals: Vec::new(),
            constants: Vec::new(),
            constants_scanned: true,
            feedback: Vec::new(),
            watches: RefCell::new(Vec::new()),
            watch_names: HashMap::new(),
            modules: Vec::new(),
            tables,
            types: vec![HeapType::Any],
            unions: Vec::new(),
            c_functions: Vec::new(),
            libraries: Vec::new(),
            results: Vec::new(),
            trail: Vec::new(),
            roots: RefCell::new(Vec::new()),
            pending: None,
            returned: 0,
            top: Frame { fp: base, entry: std::ptr::null() },
            interrupt,
            deadline: None,
            fuel: Cell::new(config.fuel),
            owed: Cell::new(0),
            unseen: Cell::new(0),
            max_extent: 64,
            depth: Cell::new(0),
            quantum: REFILL,
            granted: 0,
            tiers: None,
            sampling: None,
            data: HashMap::new(),
        });
        instance.refresh();
        instance.top.entry = instance.context.functions;
        Ok(instance)
    }

    /// Brings the context's pointers up to date after tables grew.
    fn refresh(&mut self) {
        // Frames start at or before the limit; behind it is room for any frame with its window, and a call of it.
        let reserve = self.max_extent as usize + 256;
        let usable = self.stack.slots().saturating_sub(reserve);
        self.context.stack_limit = self.stack.base().wrapping_add(usable);
        let top = self.top.entry;
        let index = if top.is_null() {
            0
        } else {
            // SAFETY: the entry is in the old or the present table; both hold the same numbers. The old one is only
            // dangling after growth, so the number was saved before: see `load`.
            (top as usize - self.context.functions as usize) / size_of::<FunctionEntry>()
        };
        self.context.functions = self.functions.as_ptr();
        self.fast.resize(self.functions.len(), std::ptr::null());
        self.context.fast = self.fast.as_ptr();
        self.context.globals = self.globals.as_mut_ptr();
        self.context.constants = self.constants.as_ptr();
        self.context.feedback = self.feedback.as_mut_ptr();
        self.context.watches = self.watches.borrow().as_ptr();
        self.top.entry = self.context.functions.wrapping_add(index);
    }

    /// Loads a module: gives its tables a place in the instance. Loading a module twice changes nothing.
    ///
    /// # Errors
    /// memory-limit where its constants do not fit.
    pub fn load(&mut self, module: &Arc<LinkedModule>) -> Result<(), Trap> {
        if self.modules.iter().any(|m| Arc::ptr_eq(m, module)) {
            return Ok(());
        }
        let number = self.modules.len() as u32;
        let b = module.bases;
        {
            let tables = self.tables.lock();
            let known = self.types.len();
            self.types.extend(tables.types.iter().skip(known).map(|(_, ty)| ty.clone()));
            let known = self.unions.len();
            self.unions.extend(tables.unions[known..].iter().cloned());
        }
        while self.heap.shapes.len() < b.shapes as usize + module.shapes.len() {
            self.heap.shapes.add(Shape::default());
        }
        for (i, shape) in module.shapes.iter().enumerate() {
            self.heap.shapes.put(b.shapes + i as u32, shape.clone());
        }
        resize(&mut self.functions, b.functions as usize + module.functions.len(), FunctionEntry::NONE);
        for meta in &module.functions {
            let code = if meta.host.is_some() {
                std::ptr::null()
            } else {
                &raw const module.code[meta.start as usize..][0]
            };
            self.functions[meta.index as usize] = FunctionEntry {
                code,
                link: u64::from(meta.index) | u64::from(meta.layout.size() * 8) << 32,
                header: meta.layout.header() * 8,
                module: number,
                meta,
                start: if self.tiers.is_some() && meta.host.is_none() { &raw const TIER_ENTRY } else { code },
                native: self.context.uncompiled,
                heat: 0,
                threshold: self.tiers.map_or(u32::MAX, |t| t.threshold),
                simple: if meta.plain && meta.environment && matches!(meta.result, Some(ValueType::Cell(_))) {
                    meta.params.len() as u32 + 1
                } else {
                    0
                },
            };
        }
        resize(&mut self.globals, b.globals as usize + module.globals.len(), 0);
        for (i, (_, ty)) in module.globals.iter().enumerate() {
            let at = b.globals + i as u32;
            self.globals[at as usize] = 0;
            if ty.is_cell() {
                self.cell_globals.push(at);
            }
        }
        resize(&mut self.constants, b.constants as usize + module.constant_count(), Value::NIL);
        let strings = module.string_constants as usize;
        // A name's text is the string constant of that text, if there is one: fields of maps are then found by identity.
        let (constants, texts) = module.strings.split_at(strings);
        let long = texts.iter().filter(|text| text.len() > SHORT_MAX);
        let mut named: HashMap<&str, Value> = long.map(|text| (&**text, Value::NIL)).collect();
        for (i, text) in constants.iter().enumerate() {
            let value = crate::string::from_str(&mut self.heap, text)?;
            if let Some(known) = named.get_mut(&**text) {
                *known = value;
            }
            self.constants[b.constants as usize + i] = value;
        }
        for (i, text) in texts.iter().enumerate() {
            let value = match named.get(&**text) {
                Some(&value) if !value.is_nil() => value,
                _ => crate::string::from_str(&mut self.heap, text)?,
            };
            self.constants[b.constants as usize + strings + module.names.len() + i] = value;
        }
        let names = b.constants as usize + strings;
        self.constants[names..names + module.names.len()].copy_from_slice(&module.names);
        let units = b.constants as usize + module.strings.len() + module.names.len();
        for (i, record) in module.units.iter().enumerate() {
            let unit = crate::record::new(&mut self.heap, b.shapes + record)?;
            self.constants[units + i] = Value::object(unit.cast::<crate::object::Header>());
        }
        self.constants_scanned = false;
        resize(&mut self.feedback, (b.feedback + module.feedback_sites) as usize, Feedback::default());
        resize(self.watches.get_mut(), b.watches as usize + module.watches.len(), 0);
        for (i, name) in module.watches.iter().enumerate() {
            self.watches.get_mut()[b.watches as usize + i] = 0;
            self.watch_names.entry(name.clone()).or_default().push(b.watches + i as u32);
        }
        resize(
            &mut self.c_functions,
            b.c_functions as usize + module.c_functions.len(),
            CFunction::default(),
        );
        for i in 0..module.c_functions.len() as u32 {
            self.c_functions[(b.c_functions + i) as usize] =
                CFunction { module: number, index: i, address: 0 };
        }
        self.max_extent = self.max_extent.max(module.max_extent);
        self.modules.push(module.clone());
        self.refresh();
        Ok(())
    }

    // ---- Lookups ----

    /// The engine's tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// A loaded function by number.
    pub fn function(&self, index: u32) -> Option<&FunctionMeta> {
        // SAFETY: entries lead to functions of loaded modules.
        self.functions.get(index as usize).and_then(|e| unsafe { e.meta.as_ref() })
    }

    /// The loaded module of a function.
    pub fn module_of(&self, function: u32) -> Option<&Arc<LinkedModule>> {
        self.modules.get(self.functions.get(function as usize)?.module as usize)
    }

    /// A heap type by its engine-wide id.
    pub fn type_at(&self, id: TypeId) -> Option<&HeapType> {
        self.types.get(id.index())
    }

    pub(crate) fn heap_type(&self, id: TypeId) -> Option<&HeapType> {
        self.types.get(id.index())
    }

    pub(crate) fn union(&self, id: u32) -> &[ShapeId] {
        self.unions.get(id as usize).map_or(&[], |union| &union.shapes)
    }

    /// A shape by number; an empty one for numbers that no record has.
    pub fn shape(&self, id: ShapeId) -> &Shape {
        static NONE: std::sync::OnceLock<Shape> = std::sync::OnceLock::new();
        match self.heap.shapes.get(id) {
            Some(shape) => shape,
            None => NONE.get_or_init(Shape::default),
        }
    }

    pub(crate) fn shape_of_module(&self, function: u32, record: RecordId) -> Option<ShapeId> {
        let module = self.module_of(function)?;
        (record.index() < module.shapes.len()).then_some(module.bases.shapes + record.0)
    }

    /// The function that answers a protocol entry for code of `entry`'s module; null where there is none.
    #[inline]
    pub fn protocol(&self, entry: &FunctionEntry, what: Protocol) -> *const FunctionEntry {
        let index = self.modules.get(entry.module as usize).map_or(0, |m| m.protocol[what as usize]);
        if index == 0 { std::ptr::null() } else { &raw const self.functions[index as usize] }
    }

    // ---- Values ----

    #[inline]
    #[allow(
        clippy::mut_from_ref,
        reason = "the heap is never borrowed across calls, and allocation moves nothing"
    )]
    pub(crate) fn heap_shared(&self) -> &mut Heap {
        // SAFETY: one thread uses the instance, and nobody holds a reference to its heap at this point: callers are
        // functions of host contexts, which borrow the heap for single operations only.
        unsafe { self.heap.shared() }
    }

    pub(crate) fn box_int_shared(&self, i: i64) -> Result<Value, Trap> {
        match Value::small_int(i) {
            Some(v) => Ok(v),
            None => Ok(self.heap_shared().box_int(i)?),
        }
    }

    /// The value of a raw word.
    pub(crate) fn box_raw_shared(&self, ty: ValueType, bits: u64) -> Result<Value, Trap> {
        Ok(match ty {
            ValueType::Int => self.box_int_shared(bits as i64)?,
            ValueType::Bool => Value::bool(bits != 0),
            ValueType::Float => Value::float(f64::from_bits(bits)),
            ValueType::Cell(_) => Value::from_bits(bits),
        })
    }

    /// The raw word of a value under a declared type; `None` where it is not of the type.
    #[inline]
    pub fn unbox(&self, ty: ValueType, value: Value) -> Option<u64> {
        match ty {
            ValueType::Int => value.as_int().map(|i| i as u64),
            ValueType::Bool => value.as_bool().map(u64::from),
            ValueType::Float => value.as_float().map(f64::to_bits),
            ValueType::Cell(cell) => self.is(value, cell).then_some(value.bits()),
        }
    }

    /// The raw word of an argument that comes as a value: as [`Instance::unbox`], and an int becomes a float where the parameter is
    /// one.
    #[inline]
    pub fn argument(&self, ty: ValueType, value: Value) -> Option<u64> {
        self.unbox(ty, value).or_else(|| {
            let float = || value.as_int().map(|i| i as f64);
            match ty {
                ValueType::Float => float().map(f64::to_bits),
                ValueType::Cell(cell) if matches!(self.heap_type(cell.id), Some(HeapType::Float)) => {
                    float().map(|x| Value::float(x).bits())
                }
                _ => None,
            }
        })
    }

    /// What messages call a cell type, if one word says it: the name of a record, of a union, or of a kind.
    pub fn type_text(&self, cell: CellType) -> Option<&str> {
        Some(match self.heap_type(cell.id)? {
            HeapType::Int => "int",
            HeapType::Float => "float",
            HeapType::Bool => "bool",
            HeapType::String => "string",
            HeapType::ListInt | HeapType::ListFloat | HeapType::ListBool | HeapType::ListCell(_) => "list",
            HeapType::Map { .. } => "map",
            HeapType::Record(shape) => &self.shape(shape.0).name,
            HeapType::Union(union) => &self.unions.get(union.index())?.name,
            HeapType::Closure(_) | HeapType::Function => "function",
            _ => return None,
        })
    }

    /// What messages call a value: the name of its record, or its kind.
    pub fn value_text(&self, value: Value) -> &str {
        if !value.is_object_of(ObjectKind::Record) {
            return value.kind().text();
        }
        // SAFETY: a live record.
        let shape = unsafe { (*value.as_object_unchecked()).meta };
        &self.shape(shape).name
    }

    /// The trap of a call with an argument that its parameter's type does not include; the parameter's position counts from 0.
    #[cold]
    pub fn wrong_argument(&self, callee: &FunctionMeta, position: usize, arg: Value) -> Trap {
        let (name, number, found) = (&callee.name, position + 1, self.value_text(arg));
        let message = format!("{name}: argument {number} is {found}, which its type does not include");
        Trap::new(TrapCode::TypeMismatch, message)
    }

    /// Whether a value is of a cell type. Lists, maps and boxes of cells that nobody typed yet take the type.
    #[inline]
    pub fn is(&self, value: Value, cell: CellType) -> bool {
        if cell.id.0 == 0 {
            return value != Value::NONE && value != Value::MANY && !value.is_hole();
        }
        check::is(self, value, cell)
    }

    pub(crate) fn list_push(&self, heap: &mut Heap, list: Value, item: Value) -> Result<(), Trap> {
        check::list_push(self, heap, list, item)
    }

    pub(crate) fn list_set(&self, heap: &mut Heap, list: Value, i: usize, item: Value) -> Result<(), Trap> {
        let i = i64::try_from(i).map_err(|_| Trap::of(TrapCode::IndexOutOfRange))?;
        match check::list_set(self, heap, list, i, item) {
            check::Store::Done => Ok(()),
            check::Store::OutOfRange => Err(Trap::of(TrapCode::IndexOutOfRange)),
            check::Store::WrongType => {
                Err(Trap::new(TrapCode::TypeMismatch, "the list stores values of another type"))
            }
        }
    }

    fn simple_key<T>(found: crate::map::Find, yes: T, no: T) -> Result<T, Trap> {
        use crate::map::Find;
        match found {
            Find::Entry(_) => Ok(yes),
            Find::Absent => Ok(no),
            Find::WrongKind => Err(Trap::new(TrapCode::TypeMismatch, "the map has keys of another kind")),
            Find::NeedsText | Find::NeedsProtocol => {
                Err(Trap::new(TrapCode::TypeMismatch, "the key needs the language's protocol"))
            }
        }
    }

    pub(crate) fn map_get(&self, heap: &mut Heap, map: Value, key: Value) -> Result<Option<Value>, Trap> {
        // SAFETY: callers checked that it is a live map.
        let (found, value) = unsafe { crate::map::get(heap, map.as_ptr(), key, None) };
        Self::simple_key(found, Some(value), None)
    }

    pub(crate) fn map_set(&self, heap: &mut Heap, map: Value, key: Value, value: Value) -> Result<(), Trap> {
        if !check::element_fits(self, map, value) {
            return Err(Trap::new(TrapCode::TypeMismatch, "the map stores values of another type"));
        }
        // SAFETY: callers checked that it is a live map.
        let found = unsafe { crate::map::set(heap, map.as_ptr(), key, None, value) }?;
        Self::simple_key(found, (), ())
    }

    pub(crate) fn map_set_text(
        &self,
        heap: &mut Heap,
        map: Value,
        key: Value,
        text: Value,
        value: Value,
    ) -> Result<(), Trap> {
        if !check::element_fits(self, map, value) {
            return Err(Trap::new(TrapCode::TypeMismatch, "the map stores values of another type"));
        }
        // SAFETY: callers checked that it is a live map.
        let found = unsafe { crate::map::set(heap, map.as_ptr(), key, Some(text), value) }?;
        Self::simple_key(found, (), ())
    }

    pub(crate) fn map_remove(&self, heap: &mut Heap, map: Value, key: Value) -> Result<bool, Trap> {
        // SAFETY: callers checked that it is a live map.
        Self::simple_key(unsafe { crate::map::remove(heap, map.as_ptr(), key, None) }, true, false)
    }

    // ---- Roots ----

    pub(crate) fn push_root(&self, value: Value) -> Root {
        let mut roots = self.roots.borrow_mut();
        roots.push(value);
        Root(roots.len() as u32 - 1)
    }

    pub(crate) fn root(&self, root: Root) -> Value {
        self.roots.borrow().get(root.0 as usize).copied().unwrap_or(Value::NIL)
    }

    pub(crate) fn set_root(&self, root: Root, value: Value) {
        if let Some(slot) = self.roots.borrow_mut().get_mut(root.0 as usize) {
            *slot = value;
        }
    }

    pub(crate) fn root_mark(&self) -> usize {
        self.roots.borrow().len()
    }

    pub(crate) fn truncate_roots(&self, mark: usize) {
        self.roots.borrow_mut().truncate(mark);
    }

    // ---- Watches, trail, data ----

    pub(crate) fn bump_watch(&mut self, name: &str) -> bool {
        let Some(numbers) = self.watch_names.get(name) else { return false };
        let watches = self.watches.get_mut();
        let mut changed = false;
        for &n in numbers {
            changed |= std::mem::replace(&mut watches[n as usize], 1) == 0;
        }
        if changed && let Some(hooks) = self.tiers {
            // SAFETY: the driver is the hooks', and nobody else works with it while a host function runs, or none does.
            unsafe { (hooks.bumped)(hooks.driver, self) };
        }
        true
    }

    /// Watches by number: not 0 where bumped.
    pub fn watches(&self) -> std::cell::Ref<'_, [u32]> {
        std::cell::Ref::map(self.watches.borrow(), |watches| &watches[..])
    }

    /// What a site saw, by its number.
    pub fn site(&self, number: u32) -> Option<&Feedback> {
        self.feedback.get(number as usize)
    }

    /// What the sites of a loaded module have seen so far.
    pub fn feedback(&self, module: &LinkedModule) -> &[Feedback] {
        let first = module.bases.feedback as usize;
        let loaded = self.modules.iter().any(|m| std::ptr::eq(&**m, module));
        let sites = first..first + module.feedback_sites as usize;
        if loaded { self.feedback.get(sites).unwrap_or_default() } else { &[] }
    }

    /// The length of the trail.
    pub fn trail_mark(&self) -> usize {
        self.trail.len()
    }

    /// Notes what a cell of an object holds before it is overwritten.
    ///
    /// # Errors
    /// memory-limit for a trail that is longer than memory.
    pub fn trail_push(&mut self, object: Value, offset: usize, old: Value) -> Result<(), Trap> {
        if self.trail.len() == self.trail.capacity()
            && self.trail.try_reserve(self.trail.len().max(64)).is_err()
        {
            return Err(Trap::of(TrapCode::MemoryLimit));
        }
        self.trail.push(Trailed { object, offset: offset as u32, old });
        Ok(())
    }

    /// Undoes stores until the trail is as long as it was at the mark; says whether there is such a mark.
    pub fn trail_undo(&mut self, mark: usize) -> bool {
        if mark > self.trail.len() {
            return false;
        }
        while self.trail.len() > mark {
            let Some(t) = self.trail.pop() else { break };
            let object = t.object.as_object_unchecked();
            // SAFETY: the trail is a root, so the object is alive and `offset` is one of its cells.
            unsafe {
                *object.byte_add(t.offset as usize).cast::<Value>() = t.old;
                self.heap.write_barrier(object);
            }
        }
        true
    }

    /// Gives the instance a value that host functions find by its type.
    pub fn set_data<T: Any + Send>(&mut self, data: T) {
        self.data.insert(RustTypeId::of::<T>(), Box::new(data));
    }

    /// The value given to [`Instance::set_data`].
    pub fn data<T: Any>(&mut self) -> Option<&mut T> {
        self.data.get_mut(&RustTypeId::of::<T>())?.downcast_mut()
    }

    /// The value of this type, made where there is none.
    pub fn data_or_insert<T: Any + Send>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        let slot = self.data.entry(RustTypeId::of::<T>()).or_insert_with(|| Box::new(make()));
        slot.downcast_mut().expect("data is found by its type")
    }

    /// Sets or lifts the limit on the time of runs from now on.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// The handle that stops this instance.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.interrupt.clone()
    }

    /// The fuel that is left; `None` without a limit.
    pub fn fuel(&self) -> Option<u64> {
        self.fuel.get().map(|f| f + u64::try_from(self.context.budget - self.owed.get()).unwrap_or(0))
    }

    /// Sets the fuel.
    pub fn set_fuel(&mut self, fuel: Option<u64>) {
        self.fuel.set(fuel);
        self.owed.set(0);
        self.granted -= self.context.budget.max(0);
        self.context.budget = 0;
    }

    // ---- Safepoints ----

    /// The slow path of the budget, which went below zero by one charge: refills it, or says why not.
    ///
    /// # Errors
    /// out-of-fuel, interrupted or timed-out. The charge is then taken back.
    #[cold]
    pub fn refill(&mut self) -> Result<(), Trap> {
        self.context.budget = 0;
        self.stopped()?;
        let portion = self.sampled_portion().map_or(self.quantum, |most| self.quantum.min(most));
        match self.fuel.get() {
            None => {
                self.granted += portion;
                self.context.budget = portion - 1;
            }
            Some(0) => return Err(Trap::of(TrapCode::OutOfFuel)),
            Some(fuel) => {
                let units = fuel.min(portion as u64);
                self.fuel.set(Some(fuel - units));
                self.granted += units as i64;
                self.context.budget = units as i64 - 1;
            }
        }
        Ok(())
    }

    /// Whether somebody wants the run to stop: interrupts and the deadline.
    fn stopped(&self) -> Result<(), Trap> {
        self.unseen.set(0);
        if self.interrupt.take() {
            return Err(Trap::of(TrapCode::Interrupted));
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(Trap::of(TrapCode::TimedOut));
        }
        Ok(())
    }

    /// Charges work of a host function: of the fuel first, then of the budget, so that portions last as long as they would. After
    /// [`LOOK`] units it looks at interrupts and the deadline.
    ///
    /// # Errors
    /// out-of-fuel, with nothing left, where so much was not; interrupted or timed-out.
    pub(crate) fn charge_work(&self, units: u64) -> Result<(), Trap> {
        if let Some(fuel) = self.fuel.get() {
            let beyond = units.saturating_sub(fuel);
            self.fuel.set(Some(fuel - units.min(fuel)));
            if beyond > 0 {
                let left = (self.context.budget - self.owed.get()).max(0);
                let taken = i64::try_from(beyond).unwrap_or(i64::MAX).min(left);
                self.owed.set(self.owed.get() + taken);
                if (taken as u64) < beyond {
                    return Err(Trap::of(TrapCode::OutOfFuel));
                }
            }
        }
        let unseen = self.unseen.get().saturating_add_unsigned(units);
        self.unseen.set(unseen);
        if unseen < LOOK { Ok(()) } else { self.stopped() }
    }

    /// Takes off the budget what host functions took of it.
    fn settle(&mut self) {
        self.context.budget -= self.owed.take();
    }

    /// A routine went through so many bytes. Nothing is charged: an instruction is one pass over what there is, and which of them run is up
    /// to the optimizer. But after many long ones the next charge looks at interrupts and the deadline. The budget is in the context.
    #[inline(always)]
    pub fn passed(&mut self, bytes: usize) {
        if bytes >= LONG {
            self.passed_long(bytes);
        }
    }

    #[cold]
    fn passed_long(&mut self, bytes: usize) {
        let unseen = self.unseen.get().saturating_add_unsigned((bytes / BYTES_A_UNIT) as u64);
        self.unseen.set(unseen);
        if unseen >= REFILL {
            self.unseen.set(0);
            self.end_portion();
        }
    }

    /// Charges up to so many turns of a loop at once, of so many units each: of the fuel first, then of the budget, as
    /// [`Instance::charge_work`] does. Of the budget goes at least what it takes about to compute their outcome ([`SKIP`]), whatever
    /// their number, so that looks at interrupts and deadlines come as often as they would. Gives how many turns the fuel covers.
    pub fn charge_turns(&mut self, turns: i64, units: i64) -> i64 {
        let (turns, units) = (turns.max(0) as u64, units.max(1) as u64);
        let budget = self.context.budget.max(0) as u64;
        let Some(fuel) = self.fuel.get() else {
            let work = turns.saturating_mul(units).min(SKIP);
            self.context.budget = budget.saturating_sub(work) as i64;
            return turns as i64;
        };
        let charged = turns.min(fuel.saturating_add(budget) / units);
        let all = charged * units;
        let work = all.min(SKIP).max(all.saturating_sub(fuel)).min(budget);
        self.fuel.set(Some(fuel - (all - work)));
        self.context.budget = (budget - work) as i64;
        charged as i64
    }

    // ---- Tiers ----

    /// Gives the instance tiers above the interpreter. Before any module is loaded.
    pub fn set_tiers(&mut self, hooks: TierHooks) {
        debug_assert!(self.modules.is_empty(), "functions are entered in the table with the tiers' hooks");
        self.context.uncompiled = hooks.uncompiled;
        self.context.routines = hooks.routines;
        self.context.tiers = hooks.driver;
        self.tiers = Some(hooks);
    }

    /// The budget was used up, and refilled, at a call of a function by a routine, which machine code and the interpreter use.
    pub fn polled(&mut self, caller: Frame, callee: u32) {
        if let Some(hooks) = self.tiers {
            // SAFETY: the driver lives as long as its hooks are set.
            unsafe { (hooks.polled)(hooks.driver, self, caller, callee) }
        }
    }

    /// Sets how much a refill of the budget gives, 1 to [`REFILL`]; what the budget has beyond that goes back to the fuel.
    pub fn set_quantum(&mut self, units: i64) {
        self.quantum = units.clamp(1, REFILL);
        let excess = self.context.budget - self.quantum;
        if excess > 0 {
            self.context.budget = self.quantum;
            self.granted -= excess;
            self.give_back(excess);
        }
    }

    /// The units that were used so far, those of turns that were charged at once left out: a clock of the work that was done.
    pub fn units(&self) -> i64 {
        self.granted - self.context.budget.max(0)
    }

    /// Gives what is left of the budget back, so that the next charge is looked at.
    pub fn end_portion(&mut self) {
        let rest = self.context.budget.max(0);
        self.context.budget -= rest;
        self.granted -= rest;
        self.give_back(rest);
    }

    /// Adds units to the fuel that were taken off the budget.
    fn give_back(&self, units: i64) {
        self.fuel.set(self.fuel.get().map(|fuel| fuel + units as u64));
    }

    /// Says where optimized code of a function takes its arguments in registers; null where there is none any more.
    pub fn set_fast(&mut self, index: u32, address: *const u8) {
        if let Some(place) = self.fast.get_mut(index as usize) {
            *place = address;
        }
    }

    /// Whether optimized code of a function takes its arguments in registers.
    pub fn is_fast(&self, index: u32) -> bool {
        self.fast.get(index as usize).is_some_and(|address| !address.is_null())
    }

    /// Puts another address where functions without machine code have theirs.
    pub fn replace_uncompiled(&mut self, address: *const u8) {
        let old = std::mem::replace(&mut self.context.uncompiled, address);
        for entry in self.functions.iter_mut().filter(|e| e.native == old) {
            entry.native = address;
        }
    }

    /// The table entry of a function.
    pub fn entry(&self, index: u32) -> Option<&FunctionEntry> {
        self.functions.get(index as usize).filter(|e| !e.meta.is_null())
    }

    /// The table entry of a function, for the driver of the tiers.
    pub fn entry_mut(&mut self, index: u32) -> Option<&mut FunctionEntry> {
        self.functions.get_mut(index as usize).filter(|e| !e.meta.is_null())
    }

    /// The loaded modules.
    pub fn modules(&self) -> &[Arc<LinkedModule>] {
        &self.modules
    }

    /// How many runs are nested: guest to host to guest.
    pub fn nesting(&self) -> u32 {
        self.depth.get()
    }

    /// Bytes of native stack below this call that guest code may use; `None` where it runs on the caller's stack.
    pub fn native_room(&self) -> Option<usize> {
        let here = 0u8;
        (self.native_limit != 0).then(|| (&raw const here as usize).saturating_sub(self.native_limit))
    }

    // ---- Collection ----

    /// Collects if a collection is due. `frame` is the top frame, at `pc` (for profiles; null where nobody knows); `extra` are
    /// further cells behind it (arguments in its window).
    ///
    /// # Safety
    /// All live frames hold valid cells, and so does `extra`.
    #[inline(always)]
    pub unsafe fn safepoint(&mut self, frame: Frame, pc: *const Word, extra: (*mut Value, usize)) {
        if self.heap.collection_due() {
            // SAFETY: passed on.
            unsafe { self.collect(frame, pc, extra) };
        }
    }

    /// Collects.
    ///
    /// # Safety
    /// As for [`Instance::safepoint`].
    #[cold]
    pub unsafe fn collect(&mut self, frame: Frame, pc: *const Word, extra: (*mut Value, usize)) {
        // SAFETY: passed on.
        unsafe { self.sampling_enters(frame, pc) };
        // What was allocated was written too, and that in few instructions where objects are large.
        self.passed(self.heap.young_bytes());
        let mut roots = InstanceRoots { instance: self, frame, extra };
        // SAFETY: the roots touch everything but the heap, the heap nothing but itself.
        let heap = unsafe { (*roots.instance).heap.shared() };
        heap.collect(&mut roots);
        self.constants_scanned = true;
        // SAFETY: a live frame.
        unsafe {
            self.sampling_leaves(frame, pc, Some(Activity::Collector));
        }
    }

    // ---- Entering the guest ----

    /// The frame that runs natively.
    pub fn top(&self) -> Frame {
        self.top
    }

    /// Whether the native stack is too low for another call into the guest.
    fn native_low(&self) -> bool {
        let here = 0u8;
        self.native_limit != 0 && (&raw const here as usize) < self.native_limit
    }

    /// Runs `f` on the instance's own native stack, or right here when it is on it already.
    fn on_native_stack<R>(&mut self, f: impl FnOnce(&mut Instance) -> R) -> R {
        if cfg!(miri) {
            // The switch of stacks is assembly.
            return f(self);
        }
        use corosensei::stack::Stack;
        match self.native.take() {
            None => f(self),
            Some(mut stack) => {
                self.native_limit = stack.limit().get() + NATIVE_RESERVE;
                self.context.native_limit = self.native_limit + NATIVE_ROOM + NATIVE_LEAVES;
                let this = &raw mut *self;
                // SAFETY: `self` is borrowed for the whole call; the closure runs before it returns.
                let result = corosensei::on_stack(&mut stack, || f(unsafe { &mut *this }));
                self.native_limit = 0;
                self.context.native_limit = 0;
                self.native = Some(stack);
                result
            }
        }
    }

    /// Calls a function with raw words as arguments, in the order of its parameters, each of its parameter's type.
    ///
    /// # Errors
    /// What the callee raises, with a backtrace.
    ///
    /// # Safety
    /// `args` are valid words for the parameters' types; `closure` is given exactly if the function has an environment, and
    /// is a closure of it.
    pub unsafe fn call_raw(&mut self, index: u32, closure: Option<Value>, args: &[u64]) -> Result<u64, Trap> {
        self.settle();
        self.on_native_stack(|instance| {
            if instance.native_low() || instance.depth.get() > 100_000 {
                return Err(Trap::of(TrapCode::StackOverflow));
            }
            let caller = instance.top;
            // SAFETY: the callee is a loaded function; the check keeps the frame inside the stack; words by the contract.
            unsafe {
                let entry = instance.context.functions.add(index as usize);
                let meta = (*entry).meta();
                let fp = caller.window();
                let end = fp.wrapping_byte_add((*entry).size());
                if end > instance.context.stack_limit {
                    return Err(Trap::of(TrapCode::StackOverflow));
                }
                if let Some(closure) = closure {
                    *fp.add(meta.layout.first_cell() as usize) = closure.bits();
                }
                for (param, &word) in meta.params.iter().zip(args) {
                    *fp.add(param.slot as usize) = word;
                }
                let header = fp.byte_add((*entry).header as usize);
                *header = SPECIAL;
                *header.add(1) = (*caller.entry).link;
                if instance.depth.get() == 0 {
                    instance.sampling_begins();
                }
                instance.depth.set(instance.depth.get() + 1);
                let caller_index = (*caller.entry).index();
                let end = if meta.host.is_some() {
                    instance.run_host(Frame { fp, entry })
                } else {
                    let run = instance.run;
                    run(&raw mut instance.context, fp, (*entry).start, entry)
                };
                instance.depth.set(instance.depth.get() - 1);
                if instance.depth.get() == 0 {
                    instance.sampling_ends(index);
                }
                // Modules may have been loaded in the meantime.
                instance.top =
                    Frame { fp: caller.fp, entry: instance.context.functions.add(caller_index as usize) };
                match end {
                    RunEnd::Returned if instance.returned != index => {
                        // Tail calls may end in a function whose result is raw where a cell was promised.
                        let result = instance.context.result;
                        let ty = instance.function(instance.returned).and_then(|m| m.result);
                        match (instance.function(index).and_then(|m| m.result), ty) {
                            (Some(ValueType::Cell(_)), Some(raw)) => {
                                Ok(instance.box_raw_shared(raw, result)?.bits())
                            }
                            (Some(ValueType::Cell(_)), None) => Ok(Value::NIL.bits()),
                            _ => Ok(result),
                        }
                    }
                    RunEnd::Returned => Ok(instance.context.result),
                    // The driver of the tiers never gives a switch to its caller.
                    RunEnd::Unwound | RunEnd::Switch => Err(instance.take_pending()),
                }
            }
        })
    }

    /// Runs a host function whose frame was pushed by Rust.
    unsafe fn run_host(&mut self, frame: Frame) -> RunEnd {
        // SAFETY: by the caller.
        match unsafe { self.host_call(frame) } {
            Ok(bits) => {
                self.context.result = bits;
                // SAFETY: the entry is of a loaded function.
                self.returned = unsafe { (*frame.entry).index() };
                RunEnd::Returned
            }
            Err(trap) => {
                self.set_pending(trap);
                RunEnd::Unwound
            }
        }
    }

    /// Calls the host function of a complete frame (arguments and header written); gives the raw word of its result.
    ///
    /// # Errors
    /// What the function returned.
    ///
    /// # Safety
    /// The frame is the top one and of a host function.
    pub unsafe fn host_call(&mut self, frame: Frame) -> Result<u64, Trap> {
        // SAFETY: the entry is of a loaded host function, whose module stays loaded.
        unsafe {
            let meta: *const FunctionMeta = (*frame.entry).meta;
            let module = &raw const *self.modules[(*frame.entry).module as usize];
            let Some(host) = (*meta).host else { return Err(Trap::of(TrapCode::Unreachable)) };
            let function = &(&(*module).hosts)[host as usize].1;
            self.sampling_calls(frame);
            let outer = self.top;
            let outer_index = if outer.entry.is_null() { 0 } else { (*outer.entry).index() };
            self.top = frame;
            let mark = self.root_mark();
            let mut context = HostContext::new(self, meta);
            // A panic must not unwind through guest frames; it is the host's bug, but the instance stays sound.
            let args = host::args(frame.fp, meta);
            let call = std::panic::AssertUnwindSafe(|| match function.invoke(&mut context, args) {
                Ok(ref ret) => host::lower_ret(&*(self as *const Instance), (*meta).result, ret),
                Err(trap) => Err(trap),
            });
            let result = std::panic::catch_unwind(call).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                let text = text.unwrap_or("no message");
                Err(Trap::new(TrapCode::HostError, format!("{} panicked: {text}", (*meta).name)))
            });
            self.settle();
            // The table may have moved.
            let entry = self.context.functions.add((*meta).index as usize);
            self.sampling_leaves(Frame { fp: frame.fp, entry }, std::ptr::null(), None);
            let result = match result {
                Ok(bits) => Ok(bits),
                Err(mut trap) => {
                    // The root of the exception would die with this call's roots.
                    if let Some(payload) = trap.payload() {
                        let value = self.root(payload);
                        self.truncate_roots(mark);
                        trap.set_payload(Some(self.push_root(value)));
                        self.top =
                            Frame { fp: outer.fp, entry: self.context.functions.add(outer_index as usize) };
                        return Err(trap);
                    }
                    Err(trap)
                }
            };
            self.truncate_roots(mark);
            self.top = Frame { fp: outer.fp, entry: self.context.functions.add(outer_index as usize) };
            result
        }
    }

    /// Makes a trap that came out of a host function the pending one.
    pub fn set_pending(&mut self, trap: Trap) {
        self.pending = Some(match trap.payload() {
            Some(root) => {
                let value = self.root(root);
                Pending::Exception(value, trap.backtrace().cloned())
            }
            None => Pending::Trap(trap),
        });
    }

    /// The pending trap as an error for Rust.
    fn take_pending(&mut self) -> Trap {
        match self.pending.take() {
            Some(Pending::Trap(trap)) => trap,
            Some(Pending::Exception(value, backtrace)) => {
                let root = self.push_root(value);
                let text = self.describe(value);
                let mut trap = Trap::exception(root, text);
                if let Some(backtrace) = backtrace {
                    trap.set_backtrace(backtrace);
                }
                trap
            }
            None => Trap::new(TrapCode::HostError, "unwound without a reason; this is a bug in the engine"),
        }
    }

    fn describe(&self, value: Value) -> String {
        if value.is_string() {
            // SAFETY: a live string.
            return format!("uncaught exception: {}", unsafe { crate::string::text(&value) });
        }
        format!("uncaught exception of kind {}", value.kind().text())
    }

    /// Calls a value with boxed arguments, as `cell.call` does.
    ///
    /// # Errors
    /// What the callee raises.
    pub(crate) fn call_from_host(
        &mut self,
        from: *const FunctionMeta,
        callee: Root,
        args: &[Root],
    ) -> Result<Root, Trap> {
        // SAFETY: host contexts hold a live function or null.
        let from = unsafe { from.as_ref() }.map_or(0, |m| m.index);
        let value = self.root(callee);
        let args: Vec<Value> = args.iter().map(|&r| self.root(r)).collect();
        let result = self.call_value(from, value, &args)?;
        Ok(self.push_root(result))
    }

    pub(crate) fn call_named(&mut self, name: &str, args: &[Root]) -> Result<Root, Trap> {
        let Some(index) = self.modules.iter().rev().find_map(|m| m.function_named(name)) else {
            return Err(Trap::new(TrapCode::InvalidArgument, format!("no function is called {name:?}")));
        };
        self.call_function_from_host(index, args)
    }

    /// Calls a function for a host, which may look at arguments and result later, while the guest goes on: lists among them are
    /// marked as shared.
    pub(crate) fn call_function_from_host(&mut self, index: u32, args: &[Root]) -> Result<Root, Trap> {
        let args: Vec<Value> = args.iter().map(|&r| self.root(r)).collect();
        args.iter().copied().for_each(crate::list::share_value);
        let result = self.call_function(index, None, &args)?;
        crate::list::share_value(result);
        Ok(self.push_root(result))
    }

    pub(crate) fn call_protocol_from_host(
        &mut self,
        from: *const FunctionMeta,
        entry: Protocol,
        args: &[Root],
    ) -> Result<Root, Trap> {
        // SAFETY: host contexts hold a live function or null.
        let from = unsafe { from.as_ref() }.map_or(0, |m| m.index);
        let args: Vec<Value> = args.iter().map(|&r| self.root(r)).collect();
        let result = self.call_protocol(from, entry, &args)?;
        Ok(self.push_root(result))
    }

    /// Calls a protocol entry of the module of function `from` with boxed arguments.
    ///
    /// # Errors
    /// type-mismatch where the entry is empty; what the callee raises.
    pub fn call_protocol(&mut self, from: u32, entry: Protocol, args: &[Value]) -> Result<Value, Trap> {
        let own = self.functions.get(from as usize).copied().unwrap_or(FunctionEntry::NONE);
        let callee = self.protocol(&own, entry);
        if callee.is_null() {
            return Err(Trap::new(
                TrapCode::TypeMismatch,
                format!("the language has no answer for {}", entry.text()),
            ));
        }
        // SAFETY: protocol entries are loaded functions.
        let index = unsafe { (*callee).index() };
        self.call_function(index, None, args)
    }

    /// Calls a protocol entry from inside a routine, while `frame` is the top frame.
    ///
    /// # Errors
    /// As for [`Instance::call_protocol`].
    ///
    /// # Safety
    /// The frame is live and on top; its cells are valid.
    pub unsafe fn call_protocol_inside(
        &mut self,
        frame: Frame,
        entry: Protocol,
        args: &[Value],
    ) -> Result<Value, Trap> {
        let outer = self.top;
        // SAFETY: entries of live frames are in the table.
        let (outer_index, index) = unsafe { ((*outer.entry).index(), (*frame.entry).index()) };
        self.top = frame;
        let result = self.call_protocol(index, entry, args);
        self.top = Frame { fp: outer.fp, entry: self.context.functions.wrapping_add(outer_index as usize) };
        result
    }

    /// Keeps a value alive across guest code that a routine runs.
    pub fn keep(&self, value: Value) -> Root {
        self.push_root(value)
    }

    /// The value kept last, which is then given up.
    pub fn release(&self, root: Root) -> Value {
        let value = self.root(root);
        self.truncate_roots(root.0 as usize);
        value
    }

    /// Calls a value with boxed arguments; other arities and other values go to the protocol of `from`'s module.
    ///
    /// # Errors
    /// What the callee raises.
    pub fn call_value(&mut self, from: u32, callee: Value, args: &[Value]) -> Result<Value, Trap> {
        let meta = if callee.is_object_of(ObjectKind::Closure) {
            // SAFETY: a live closure.
            self.function(unsafe { (*callee.as_object_unchecked()).meta })
        } else {
            None
        };
        let Some(meta) = meta else { return self.call_odd(from, Protocol::Call, callee, args) };
        let Some(meta) = meta.answering(args.len()).and_then(|index| self.function(index)) else {
            return self.call_odd(from, Protocol::Arity, callee, args);
        };
        let (index, arity, rest) = (meta.index, meta.params.len(), meta.rest);
        let closure = meta.environment.then_some(callee);
        if rest {
            let fixed = arity - 1;
            let list = crate::list::from_slice(&mut self.heap, &args[fixed..])?;
            let mut all = args[..fixed].to_vec();
            all.push(Value::object(list));
            return self.call_function(index, closure, &all);
        }
        self.call_function(index, closure, args)
    }

    fn call_odd(&mut self, from: u32, entry: Protocol, callee: Value, args: &[Value]) -> Result<Value, Trap> {
        let list = crate::list::from_slice(&mut self.heap, args)?;
        self.call_protocol(from, entry, &[callee, Value::object(list)])
    }

    /// Calls a function with boxed arguments, as many as it has parameters.
    ///
    /// # Errors
    /// type-mismatch where an argument is not of its parameter's type; what the callee raises.
    pub fn call_function(
        &mut self,
        index: u32,
        closure: Option<Value>,
        args: &[Value],
    ) -> Result<Value, Trap> {
        let Some(meta) = self.function(index) else {
            return Err(Trap::new(TrapCode::InvalidArgument, "no such function"));
        };
        if meta.params.len() != args.len() || meta.environment != closure.is_some() {
            return Err(Trap::new(
                TrapCode::InvalidArgument,
                format!("{} takes {} arguments", meta.name, meta.params.len()),
            ));
        }
        let mut words = [0; 8];
        let mut many = Vec::new();
        let words: &mut [u64] = if args.len() <= 8 {
            &mut words[..args.len()]
        } else {
            many.resize(args.len(), 0);
            &mut many
        };
        for (i, (param, &arg)) in meta.params.iter().zip(args).enumerate() {
            let Some(word) = self.argument(param.ty, arg) else {
                return Err(self.wrong_argument(meta, i, arg));
            };
            words[i] = word;
        }
        let result = meta.result;
        // SAFETY: every word was unboxed under its parameter's type.
        let bits = unsafe { self.call_raw(index, closure, words) }?;
        match result {
            None => Ok(Value::NIL),
            Some(ty) => self.box_raw_shared(ty, bits),
        }
    }

    /// Runs `f` with a host context of the embedder. Roots made in it die with it.
    pub fn enter<R>(&mut self, f: impl FnOnce(&mut HostContext<'_>) -> R) -> R {
        let mark = self.root_mark();
        // SAFETY: the instance is borrowed mutably for the whole call.
        let mut context = unsafe { HostContext::new(self, std::ptr::null()) };
        let result = f(&mut context);
        self.settle();
        self.truncate_roots(mark);
        result
    }

    // ---- Unwinding ----

    /// Finds who handles the pending trap or exception, raised at `pc` (the word behind the start of the instruction) in
    /// `frame`; goes on there (`Reload`) or leaves the run (`Exit`).
    ///
    /// # Safety
    /// `frame` is the top frame and all frames below are live.
    #[cold]
    pub unsafe fn unwind(&mut self, frame: Frame, pc: *const Word) -> Status {
        let mut origin = (frame, pc);
        let (mut at, mut pc) = (frame, pc);
        loop {
            // SAFETY: live frames; the return pcs of frames whose caller is guest code lie behind calls in its code.
            unsafe {
                let entry = *at.entry;
                let meta = entry.meta();
                if meta.host.is_none() && !meta.handlers.is_empty() {
                    let word = (pc.offset_from(entry.code) - 1) as u32;
                    let handler = meta.handlers.iter().find(|h| (h.start..h.end).contains(&word));
                    if let Some(&handler) = handler {
                        let caught = self.caught(at, &entry);
                        let fresh = self.context.functions.add(entry.index() as usize);
                        at.entry = fresh;
                        match caught {
                            Caught::As(value) => {
                                *at.fp.add(handler.slot as usize) = value.bits();
                                self.context.fp = at.fp;
                                self.context.entry = fresh;
                                self.context.pc = (*fresh).code.add(handler.target as usize);
                                return Status::Reload;
                            }
                            Caught::Not => {}
                            // What ran used the room of the frames above, so the backtrace begins here.
                            Caught::Failed => origin = (at, pc),
                        }
                    }
                }
                let header = at.header();
                let back = *header & !FLAGS_MASK;
                if back == 0 {
                    // The frame that Rust entered through.
                    self.trace_back(origin.0, origin.1);
                    return Status::Exit;
                }
                pc = std::ptr::with_exposed_provenance(back as usize);
                match at.caller(&self.context) {
                    Some(below) => at = below,
                    None => return Status::Exit,
                }
            }
        }
    }

    /// The value that a handler in `at` gets for what is pending.
    unsafe fn caught(&mut self, at: Frame, entry: &FunctionEntry) -> Caught {
        match self.pending.take() {
            None => Caught::Not,
            Some(Pending::Exception(value, _)) => Caught::As(value),
            Some(Pending::Trap(trap)) => {
                let module = self.modules[entry.module as usize].clone();
                if !module.catchable.has(trap.code()) {
                    self.pending = Some(Pending::Trap(trap));
                    return Caught::Not;
                }
                let outer = self.top;
                // SAFETY: entries of live frames are loaded functions.
                let outer_index = if outer.entry.is_null() { 0 } else { unsafe { (*outer.entry).index() } };
                // Frames above the handler's are gone: what runs next may use their room.
                self.top = at;
                let value = crate::string::from_str(&mut self.heap, trap.message())
                    .map_err(Trap::from)
                    .and_then(|text| {
                        if module.protocol[Protocol::TrapValue as usize] == 0 {
                            return Ok(text);
                        }
                        let code = Value::small_int_unchecked(trap.code() as i64);
                        self.call_protocol(entry.index(), Protocol::TrapValue, &[code, text])
                    });
                let entry = self.context.functions.wrapping_add(outer_index as usize);
                self.top = Frame { fp: outer.fp, entry };
                match value {
                    Ok(value) => Caught::As(value),
                    Err(inner) => {
                        self.set_pending(inner);
                        Caught::Failed
                    }
                }
            }
        }
    }

    /// Adds a backtrace to what is pending, unless it has one.
    unsafe fn trace_back(&mut self, frame: Frame, pc: *const Word) {
        let has = match &self.pending {
            Some(Pending::Trap(trap)) => trap.backtrace().is_some() || trap.code() == TrapCode::Exit,
            Some(Pending::Exception(_, backtrace)) => backtrace.is_some(),
            None => true,
        };
        if has {
            return;
        }
        // SAFETY: by the caller.
        let backtrace = unsafe { self.backtrace(frame, pc) };
        match &mut self.pending {
            Some(Pending::Trap(trap)) => trap.set_backtrace(backtrace),
            Some(Pending::Exception(_, slot)) => *slot = Some(backtrace),
            None => {}
        }
    }

    /// The frames from `frame` down; `pc` is the word behind the start of the instruction that runs in it.
    ///
    /// # Safety
    /// `frame` is the top frame and all frames below are live.
    pub unsafe fn backtrace(&self, frame: Frame, pc: *const Word) -> Backtrace {
        let mut trace = Backtrace::default();
        let mut outer = std::collections::VecDeque::new();
        let mut at = Some(frame);
        let mut pc = pc;
        while let Some(f) = at {
            // SAFETY: live frames.
            unsafe {
                let entry = &*f.entry;
                if entry.meta.is_null() {
                    break;
                }
                if trace.inner.len() < BACKTRACE_INNER {
                    trace.inner.push(self.describe_frame(entry, pc));
                } else {
                    outer.push_back((f.entry, pc));
                    if outer.len() > BACKTRACE_OUTER {
                        outer.pop_front();
                        trace.elided += 1;
                    }
                }
                pc = std::ptr::with_exposed_provenance((*f.header() & !FLAGS_MASK) as usize);
                at = f.caller(&self.context);
            }
        }
        // SAFETY: entries of live frames.
        trace.outer =
            outer.into_iter().map(|(entry, pc)| unsafe { self.describe_frame(&*entry, pc) }).collect();
        trace
    }

    unsafe fn describe_frame(&self, entry: &FunctionEntry, pc: *const Word) -> BacktraceFrame {
        // SAFETY: the entry of a live frame.
        let meta = unsafe { entry.meta() };
        let mut frame = BacktraceFrame {
            function: meta.name.to_string(),
            source: None,
            line: 0,
            column: 0,
            start: 0,
            end: 0,
        };
        if meta.host.is_none() && !pc.is_null() {
            let word = ((pc as usize).wrapping_sub(entry.code as usize) / 8).wrapping_sub(1) as u32;
            let source = meta.span_at(word).and_then(|span| {
                Some((span, self.modules.get(entry.module as usize)?.sources.get(span.source as usize)?))
            });
            if let Some((span, source)) = source {
                let (line, column) = source.position(span.start);
                frame = BacktraceFrame {
                    source: Some(source.name.clone()),
                    line,
                    column,
                    start: span.start,
                    end: span.end,
                    ..frame
                };
            }
        }
        frame
    }

    // ---- C functions ----

    /// The address and descriptor of a C import.
    ///
    /// # Errors
    /// host-error where the library or symbol is missing.
    pub fn c_function(&mut self, index: u32) -> Result<(usize, Arc<LinkedModule>, u32), Trap> {
        let function = self.c_functions[index as usize].clone();
        let module = self.modules[function.module as usize].clone();
        if function.address != 0 {
            return Ok((function.address, module, function.index));
        }
        let import = &module.c_functions[function.index as usize];
        let missing = |e: libloading::Error| {
            Trap::new(TrapCode::HostError, format!("C function {}: {e}", import.symbol))
        };
        // SAFETY: loading a library runs its initialisers: that is what the embedder granted by running the module.
        let address = unsafe {
            match &import.library {
                None => {
                    #[cfg(unix)]
                    let this: libloading::Library = libloading::os::unix::Library::this().into();
                    #[cfg(windows)]
                    let this: libloading::Library =
                        libloading::os::windows::Library::this().map_err(missing)?.into();
                    *this.get::<*const ()>(import.symbol.as_bytes()).map_err(missing)? as usize
                }
                Some(name) => {
                    if !self.libraries.iter().any(|(n, _)| n == name) {
                        let library = libloading::Library::new(name).map_err(missing)?;
                        self.libraries.push((name.clone(), library));
                    }
                    let Some((_, library)) = self.libraries.iter().find(|(n, _)| n == name) else {
                        return Err(Trap::of(TrapCode::HostError));
                    };
                    *library.get::<*const ()>(import.symbol.as_bytes()).map_err(missing)? as usize
                }
            }
        };
        self.c_functions[index as usize].address = address;
        Ok((address, module, function.index))
    }
}

const FLAGS_MASK: u64 = crate::frame::FLAGS;

/// What a handler makes of what is pending.
enum Caught {
    /// A value.
    As(Value),
    /// Nothing: its module does not catch it.
    Not,
    /// Something else, which came up instead of the value.
    Failed,
}

/// Everything outside the heap that keeps objects alive.
struct InstanceRoots {
    instance: *mut Instance,
    frame: Frame,
    extra: (*mut Value, usize),
}

impl crate::heap::Roots for InstanceRoots {
    fn trace(&mut self, minor: bool, visitor: &mut crate::heap::Visitor<'_>) {
        // SAFETY: the instance is live, its heap aside nobody else touches it; frames are live and their cells valid by
        // the contract of `collect`.
        unsafe {
            let instance = self.instance;
            visitor.visit_range(self.extra.0, self.extra.1);
            let mut at = Some(self.frame);
            for number in 0.. {
                let Some(frame) = at else { break };
                let Some(meta) = (*frame.entry).meta.as_ref() else { break };
                let layout = &meta.layout;
                visitor.visit_range(frame.fp.add(layout.first_cell() as usize).cast(), layout.cells as usize);
                if layout.spilled_cells != 0 {
                    let first = frame.fp.add(layout.first_spilled_cell() as usize);
                    visitor.visit_range(first.cast(), layout.spilled_cells as usize);
                }
                let header = frame.header();
                if minor && *header & CLEAN != 0 {
                    break;
                }
                if number % CLEAN_STEP == 0 {
                    *header |= CLEAN;
                }
                at = frame.caller(&(*instance).context);
            }
            for &g in &(*instance).cell_globals {
                visitor.visit_range((&raw mut (&mut (*instance).globals)[g as usize]).cast(), 1);
            }
            if !minor || !(*instance).constants_scanned {
                let constants = &mut (*instance).constants;
                visitor.visit_range(constants.as_mut_ptr(), constants.len());
            }
            let results = &mut (*instance).results;
            visitor.visit_range(results.as_mut_ptr(), results.len());
            for trailed in &mut (*instance).trail {
                visitor.visit(&mut trailed.object);
                visitor.visit(&mut trailed.old);
            }
            let mut roots = (*instance).roots.borrow_mut();
            visitor.visit_range(roots.as_mut_ptr(), roots.len());
            if let Some(Pending::Exception(value, _)) = &mut (*instance).pending {
                visitor.visit(value);
            }
        }
    }
}
