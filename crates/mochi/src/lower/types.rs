//! Static types as bytecode types, and the records of structs and variants.

use std::fmt::Write;

use upshift_bytecode::{ANY, CellType, Field, HeapType, KeyPolicy, OrderPolicy, RecordId, ValueType};

use super::{BIGINT_KIND, BIGRAT_KIND, Lowerer};
use crate::infer::{Ty, TyId, TyKind};
use crate::resolve::{CtorId, StructId};

/// What has fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    Struct(StructId),
    Variant(CtorId),
}

impl Lowerer<'_> {
    /// Makes the tables of types: records first as shells, so that types can refer to them, then types, then fields.
    pub(super) fn declare_types(&mut self) {
        for info in &self.resolution.structs {
            let id = self.module.record(self.names.get(info.name), 0, Vec::new());
            self.structs.push(id);
        }
        for (index, info) in self.resolution.ctors.iter().enumerate() {
            // By position, not by name: a union may (wrongly) declare a variant twice.
            let union = &self.resolution.unions[info.union.index()];
            let tag = union.ctors.iter().position(|c| c.index() == index).unwrap_or(0);
            let id = self.module.record(self.names.get(info.name), tag as u16, Vec::new());
            self.ctors.push(id);
        }
        for info in &self.resolution.unions {
            let variants = info.ctors.iter().map(|c| self.ctors[c.index()]).collect();
            let id = self.module.union(self.names.get(info.name), variants);
            self.unions.push(id);
        }
        for ty in self.types.all().to_vec() {
            let heap = self.heap_type(ty.kind);
            let cell = CellType { nullable: ty.nullable, ..self.module.module.types.cell(heap) };
            let cell = if cell.id == ANY.id { ANY } else { cell };
            self.cells.push(cell);
            self.values.push(match (ty.kind, ty.nullable) {
                (TyKind::Int, false) => ValueType::Int,
                (TyKind::Bool, false) => ValueType::Bool,
                (TyKind::Float, false) => ValueType::Float,
                _ => ValueType::Cell(cell),
            });
        }
        for (i, info) in self.resolution.structs.iter().enumerate() {
            let types = self.types.fields(StructId(i as u32));
            let fields = self.fields(&self.program[info.fields], types);
            self.module.module.records[self.structs[i].index()].fields = fields;
        }
        for (i, info) in self.resolution.ctors.iter().enumerate() {
            let types = self.types.ctor_fields(CtorId(i as u32));
            let fields = self.fields(&self.program[info.fields], types);
            self.module.module.records[self.ctors[i].index()].fields = fields;
        }
    }

    fn fields(&self, declared: &[crate::syntax::ast::FieldDecl], types: &[TyId]) -> Vec<Field> {
        let field = |(d, &ty): (&crate::syntax::ast::FieldDecl, &TyId)| Field {
            name: self.names.get(d.name.name).to_string(),
            ty: self.value(ty),
        };
        declared.iter().zip(types).map(field).collect()
    }

    /// The heap type of non-null values of a kind, boxed. The parts of a type have smaller ids, so their cells are known.
    fn heap_type(&mut self, kind: TyKind) -> HeapType {
        match kind {
            TyKind::Any | TyKind::Null => HeapType::Any,
            TyKind::Int => HeapType::Int,
            TyKind::Float => HeapType::Float,
            TyKind::Bool => HeapType::Bool,
            TyKind::String => HeapType::String,
            TyKind::BigInt => HeapType::Bytes(BIGINT_KIND),
            TyKind::BigRat => HeapType::Bytes(BIGRAT_KIND),
            TyKind::List(element) => match self.values[element.index()] {
                ValueType::Int => HeapType::ListInt,
                ValueType::Float => HeapType::ListFloat,
                ValueType::Bool => HeapType::ListBool,
                ValueType::Cell(cell) => HeapType::ListCell(cell),
            },
            TyKind::Map(key, value) => HeapType::Map {
                key: self.key_policy(key),
                order: OrderPolicy::SortedByText,
                value: self.cells[value.index()],
            },
            TyKind::Struct(id) => HeapType::Record(self.structs[id.index()]),
            TyKind::Union(id) => HeapType::Union(self.unions[id.index()]),
            TyKind::Fun(params, result) => {
                let params: Vec<ValueType> =
                    self.types.params(params).iter().map(|p| self.values[p.index()]).collect();
                let result = self.result(result);
                HeapType::Closure(self.module.signature(&params, result))
            }
        }
    }

    /// How a map with keys of this type holds them.
    pub(super) fn key_policy(&self, key: TyId) -> KeyPolicy {
        match self.types.get(key) {
            Ty { kind: TyKind::Int, nullable: false } => KeyPolicy::Int,
            Ty { kind: TyKind::String, nullable: false } => KeyPolicy::String,
            _ => KeyPolicy::Text,
        }
    }

    /// What a register of the type holds.
    pub(super) fn value(&self, ty: TyId) -> ValueType {
        self.values[ty.index()]
    }

    /// What a cell holds when a value of the type is in one.
    pub(super) fn cell(&self, ty: TyId) -> CellType {
        self.cells[ty.index()]
    }

    /// The type of the box of a captured variable.
    pub(super) fn box_type(&mut self, ty: TyId) -> CellType {
        let heap = match self.value(ty) {
            ValueType::Int | ValueType::Bool => HeapType::RefInt,
            ValueType::Float => HeapType::RefFloat,
            ValueType::Cell(cell) => HeapType::RefCell(cell),
        };
        self.module.module.types.cell(heap)
    }

    /// The type as the library's `mochi.cast` reads it: `i` int, `f` float, `b` bool, `s` string, `I` bigint, `R` bigrat,
    /// `a` any, `?X` nullable, `[X` list, `]X` list that stores cells, `{KV` map, `r<id>;` record, `u<id>|<id>..;` union of these
    /// records, `F` function. Behind it stands `#<id>:X,Y,..` for each record in it whose declaration says more of its fields than they
    /// are, and for those with unions in their fields.
    ///
    /// What is cast to the type `declared` becomes of the type `ty`, which may say `any` where the other says more.
    pub(super) fn descriptor(&self, declared: TyId, ty: TyId) -> String {
        let (mut text, mut records) = (String::new(), Vec::new());
        self.describe(declared, ty, &mut text, &mut records);
        let mut next = 0;
        while let Some(&record) = records.get(next) {
            next += 1;
            let (declared, actual) = match record {
                Record::Struct(id) => (self.types.cast_fields(id), self.types.fields(id)),
                Record::Variant(id) => (self.types.cast_ctor_fields(id), self.types.ctor_fields(id)),
            };
            let mut fields = format!("#{}:", self.record_of(record).0);
            for (&declared, &actual) in declared.iter().zip(actual) {
                self.describe(declared, actual, &mut fields, &mut records);
                fields.push(',');
            }
            let differ = declared.iter().zip(actual).any(|(declared, actual)| declared != actual);
            // The type of a slot does not tell a union's variants.
            let has_unions = fields.contains('u');
            if differ || has_unions {
                text.push_str(&fields);
            }
        }
        text
    }

    fn record_of(&self, record: Record) -> RecordId {
        match record {
            Record::Struct(id) => self.structs[id.index()],
            Record::Variant(id) => self.ctors[id.index()],
        }
    }

    /// Notes the records in it.
    fn describe(&self, declared: TyId, actual: TyId, text: &mut String, records: &mut Vec<Record>) {
        let ty = self.types.get(declared);
        if ty.nullable && !matches!(ty.kind, TyKind::Any | TyKind::Null) {
            text.push('?');
        }
        match ty.kind {
            TyKind::Any | TyKind::Null => text.push('a'),
            TyKind::Int => text.push('i'),
            TyKind::Float => text.push('f'),
            TyKind::Bool => text.push('b'),
            TyKind::String => text.push('s'),
            TyKind::BigInt => text.push('I'),
            TyKind::BigRat => text.push('R'),
            TyKind::List(element) => {
                let actual = match self.types.get(actual).kind {
                    TyKind::List(actual) => actual,
                    TyKind::Any => TyId::ANY,
                    _ => element,
                };
                let raw = |ty| !matches!(self.value(ty), ValueType::Cell(_));
                text.push(if raw(element) && !raw(actual) { ']' } else { '[' });
                self.describe(element, actual, text, records);
            }
            TyKind::Map(key, value) => {
                let (key, actual) = match self.types.get(actual).kind {
                    TyKind::Map(key, actual) => (key, actual),
                    TyKind::Any => (self.types.any_keys, TyId::ANY),
                    _ => (key, value),
                };
                text.push('{');
                text.push(match self.key_policy(key) {
                    KeyPolicy::Int => 'i',
                    KeyPolicy::String => 's',
                    KeyPolicy::Value | KeyPolicy::Text | KeyPolicy::Protocol => 'a',
                });
                self.describe(value, actual, text, records);
            }
            TyKind::Struct(id) => {
                let record = Record::Struct(id);
                let _ = write!(text, "r{};", self.record_of(record).0);
                if !records.contains(&record) {
                    records.push(record);
                }
            }
            TyKind::Union(id) => {
                let mut before = 'u';
                for &ctor in &self.resolution.unions[id.index()].ctors {
                    let record = Record::Variant(ctor);
                    let _ = write!(text, "{before}{}", self.record_of(record).0);
                    before = '|';
                    if !records.contains(&record) {
                        records.push(record);
                    }
                }
                text.push(';');
            }
            TyKind::Fun(..) => text.push('F'),
        }
    }
}
