//! Records and their shapes.
//!
//! A shape is a record layout of an instance: how many cells and raw words a record has, and where each declared field
//! stands. Cells come first in the object, then raw words, each in declaration order. Front ends name fields by their
//! declared index; code that runs uses slots. Shape ids are the instance's: those of a module start at the base that
//! [`ShapeTable::add_module`] returns.

use std::ptr;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use upshift_bytecode::module::Module;
use upshift_bytecode::types::ValueType;

use crate::heap::{Heap, OutOfMemory};
use crate::object::{Header, ObjectKind, Record};
use crate::value::Value;

/// A declared field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShapeField {
    /// The name.
    pub name: Arc<str>,
    /// What it holds; type ids are those of the module that declares the record.
    pub ty: ValueType,
    /// The word behind the header where it stands.
    pub slot: u32,
}

/// A record layout.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// The name that the language gives it.
    pub name: Arc<str>,
    /// The variant tag.
    pub tag: u16,
    /// The number of cells, which come first.
    pub cells: u32,
    /// The number of raw words behind them.
    pub raws: u32,
    /// The fields in declaration order.
    pub fields: Vec<ShapeField>,
    by_name: FxHashMap<Arc<str>, u32>,
}

impl Shape {
    /// The layout of a declared record.
    pub fn new(name: &str, tag: u16, fields: &[(&str, ValueType)]) -> Shape {
        let cells = fields.iter().filter(|(_, ty)| ty.is_cell()).count() as u32;
        let (mut cell, mut raw) = (0, cells);
        let fields: Vec<ShapeField> = fields
            .iter()
            .map(|&(name, ty)| {
                let next = if ty.is_cell() { &mut cell } else { &mut raw };
                *next += 1;
                ShapeField { name: name.into(), ty, slot: *next - 1 }
            })
            .collect();
        let by_name = fields.iter().enumerate().rev().map(|(i, f)| (f.name.clone(), i as u32)).collect();
        Shape { name: name.into(), tag, cells, raws: fields.len() as u32 - cells, fields, by_name }
    }

    /// The size of a record in bytes.
    pub fn size(&self) -> usize {
        Record::FIELDS + 8 * (self.cells as usize + self.raws as usize)
    }

    /// The declared index of a field.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|&i| i as usize)
    }

    /// The field that stands in a slot.
    pub fn field_at(&self, slot: u16) -> Option<&ShapeField> {
        self.fields.iter().find(|f| f.slot == u32::from(slot))
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&ShapeField> {
        self.field_index(name).map(|i| &self.fields[i])
    }
}

/// The shapes of an instance.
#[derive(Clone, Debug, Default)]
pub struct ShapeTable {
    shapes: Vec<Arc<Shape>>,
    /// Cells and size of each, for the collector.
    sizes: Vec<(u32, u32)>,
}

impl ShapeTable {
    /// Adds a shape and returns its id.
    pub fn add(&mut self, shape: Shape) -> u32 {
        let id = self.shapes.len() as u32;
        self.sizes.push((shape.cells, shape.size() as u32));
        self.shapes.push(Arc::new(shape));
        id
    }

    /// Replaces the shape with an id that was added before: for ids that are numbered elsewhere.
    pub fn put(&mut self, id: u32, shape: Arc<Shape>) {
        self.sizes[id as usize] = (shape.cells, shape.size() as u32);
        self.shapes[id as usize] = shape;
    }

    /// Adds the records of a module and returns the id of the first: that of record 0.
    pub fn add_module(&mut self, module: &Module) -> u32 {
        let base = self.shapes.len() as u32;
        for record in &module.records {
            let fields: Vec<(&str, ValueType)> =
                record.fields.iter().map(|f| (f.name.as_str(), f.ty)).collect();
            self.add(Shape::new(&record.name, record.tag, &fields));
        }
        base
    }

    /// A shape by its id.
    pub fn get(&self, id: u32) -> Option<&Arc<Shape>> {
        self.shapes.get(id as usize)
    }

    /// The number of shapes.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    #[inline(always)]
    pub(crate) fn cells_of(&self, id: u32) -> usize {
        self.sizes[id as usize].0 as usize
    }

    #[inline(always)]
    pub(crate) fn size_of(&self, id: u32) -> usize {
        self.sizes[id as usize].1 as usize
    }
}

/// A new record whose raw fields are 0 and whose cells are hole.
///
/// `shape` is a shape of the heap.
pub fn new(heap: &mut Heap, shape: u32) -> Result<*mut Record, OutOfMemory> {
    let (size, tag) = (heap.shapes.size_of(shape), heap.shapes.shapes[shape as usize].tag);
    Ok(heap.alloc_zeroed(ObjectKind::Record, tag, shape, size)?.cast())
}

/// A new record with fields as they stand in a window: raw fields in order, cell fields in order.
///
/// # Safety
/// `raws` and `cells` point to as many raw words and valid cells as the shape has of each.
#[inline]
pub unsafe fn from_window(
    heap: &mut Heap,
    shape: u32,
    tag: u16,
    raws: *const u64,
    cells: *const Value,
) -> Result<*mut Record, OutOfMemory> {
    let (ncells, size) = heap.shapes.sizes[shape as usize];
    let nraws = (size as usize - Record::FIELDS) / 8 - ncells as usize;
    let record = heap.alloc(ObjectKind::Record, tag, shape, size as usize)?.cast::<Record>();
    // SAFETY: the object has `ncells + nraws` words behind its header; the sources by the contract.
    unsafe {
        copy_few(cells.cast(), Record::field(record, 0), ncells as usize);
        copy_few(raws, Record::field(record, ncells as usize), nraws);
    }
    Ok(record)
}

#[inline(always)]
unsafe fn copy_few(from: *const u64, to: *mut u64, count: usize) {
    // SAFETY: the caller's ranges are valid and apart.
    unsafe {
        for i in 0..count {
            to.add(i).write(from.add(i).read());
        }
    }
}

/// A new record with the fields of another.
///
/// # Safety
/// `record` points to a live record.
pub unsafe fn copy(heap: &mut Heap, record: *mut Record) -> Result<*mut Record, OutOfMemory> {
    // SAFETY: by the contract; allocation moves nothing.
    unsafe {
        let Header { bits, meta, .. } = (*record).header;
        let size = heap.shapes.size_of(meta);
        let new = heap.alloc(ObjectKind::Record, bits, meta, size)?.cast::<Record>();
        ptr::copy_nonoverlapping(
            Record::field::<u64>(record, 0),
            Record::field::<u64>(new, 0),
            (size - Record::FIELDS) / 8,
        );
        Ok(new)
    }
}

/// Reads a cell field.
///
/// # Safety
/// `record` points to a live record whose shape has the cell slot.
#[inline(always)]
pub unsafe fn get_cell(record: *mut Record, slot: usize) -> Value {
    // SAFETY: by the contract.
    unsafe { *Record::field(record, slot) }
}

/// Writes a cell field, with the barrier.
///
/// # Safety
/// `record` points to a live record of the heap whose shape has the cell slot; the value is one of the heap.
#[inline(always)]
pub unsafe fn set_cell(heap: &mut Heap, record: *mut Record, slot: usize, value: Value) {
    // SAFETY: by the contract.
    unsafe {
        *Record::field(record, slot) = value;
        heap.write_barrier(record);
    }
}

/// The shape of a record.
///
/// # Safety
/// `record` points to a live record.
#[inline(always)]
pub unsafe fn shape_of(record: *mut Record) -> u32 {
    // SAFETY: by the contract.
    unsafe { (*record).header.meta }
}

/// The variant tag of a record.
///
/// # Safety
/// `record` points to a live record.
#[inline(always)]
pub unsafe fn tag_of(record: *mut Record) -> u16 {
    // SAFETY: by the contract.
    unsafe { (*record).header.bits }
}
