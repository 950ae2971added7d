//! The tables of a module, before any code is looked at.

use super::types::is_subtype;
use super::{Fault, Rule, fault};
use crate::frame::HEADER_SLOTS;
use crate::module::*;
use crate::types::*;
use std::collections::HashSet;

/// A fault with the function whose declaration is at fault, if it is one.
type Placed = (Option<FuncId>, Fault);

/// More slots than any frame can have; keeps sums within 32 bits.
const MAX_FRAME: u64 = 1 << 26;

/// More feedback sites than a module can use; bounds what an instance allocates for them.
const MAX_SITES: u32 = 1 << 26;

/// More window slots than a call can need.
const MAX_WINDOW: u32 = 1 << 20;

pub(super) fn check(module: &Module) -> Result<(), Placed> {
    Tables { module }.check().map_err(|f| (None, f))?;
    for (i, function) in module.functions.iter().enumerate() {
        Tables { module }.function(function).map_err(|f| (Some(FuncId(i as u32)), f))?;
    }
    Ok(())
}

struct Tables<'m> {
    module: &'m Module,
}

/// Where a type stands: in the heap, or where `results` is allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Heap,
    Register,
}

impl Tables<'_> {
    fn exists(&self, index: usize, length: usize, id: impl std::fmt::Display) -> Result<(), Fault> {
        if index < length { Ok(()) } else { fault(Rule::Id, format!("there is no {id}")) }
    }

    fn cell_type(&self, ty: CellType, place: Place) -> Result<(), Fault> {
        let Some(heap) = self.module.types.get(ty.id) else {
            return fault(Rule::Id, format!("there is no {}", ty.id));
        };
        if *heap == HeapType::Results && place == Place::Heap {
            return fault(Rule::ResultsInHeap, "`results` is no type for the heap");
        }
        if matches!(heap, HeapType::Any | HeapType::Results) && !ty.nullable {
            return fault(Rule::Table, "`any` and `results` include nil");
        }
        Ok(())
    }

    fn value_type(&self, ty: ValueType, place: Place) -> Result<(), Fault> {
        match ty {
            ValueType::Int | ValueType::Bool | ValueType::Float => Ok(()),
            ValueType::Cell(cell) => self.cell_type(cell, place),
        }
    }

    fn heap_type(&self, id: TypeId, ty: &HeapType) -> Result<(), Fault> {
        let m = self.module;
        match ty {
            HeapType::ListCell(component)
            | HeapType::RefCell(component)
            | HeapType::Map { value: component, .. } => {
                if component.id >= id {
                    return fault(
                        Rule::Id,
                        format!("{id} is made of {}, which does not stand before it", component.id),
                    );
                }
                self.cell_type(*component, Place::Heap)
            }
            HeapType::Record(r) => self.exists(r.index(), m.records.len(), r),
            HeapType::Union(u) => self.exists(u.index(), m.unions.len(), u),
            HeapType::Closure(s) => self.exists(s.index(), m.signatures.len(), s),
            HeapType::Any
            | HeapType::Results
            | HeapType::Int
            | HeapType::Float
            | HeapType::Bool
            | HeapType::Name
            | HeapType::String
            | HeapType::ListInt
            | HeapType::ListFloat
            | HeapType::ListBool
            | HeapType::Function
            | HeapType::RefInt
            | HeapType::RefFloat
            | HeapType::Tuple(_)
            | HeapType::Bytes(_) => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let m = self.module;
        for (id, ty) in m.types.iter() {
            self.heap_type(id, ty)?;
        }
        for record in &m.records {
            if record.fields.len() > usize::from(u16::MAX) {
                return fault(Rule::Table, format!("record {:?} has too many fields", record.name));
            }
            for field in &record.fields {
                self.value_type(field.ty, Place::Heap)?;
            }
        }
        for union in &m.unions {
            let mut tags = HashSet::new();
            for r in &union.variants {
                self.exists(r.index(), m.records.len(), r)?;
                if !tags.insert(m.records[r.index()].tag) {
                    return fault(
                        Rule::Table,
                        format!("union {:?} has two variants with one tag", union.name),
                    );
                }
            }
        }
        for (i, signature) in m.signatures.iter().enumerate() {
            if signature.params.len() > MAX_WINDOW as usize / 2 {
                return fault(Rule::Table, format!("sig{i} has too many parameters"));
            }
            for &ty in signature.params.iter().chain(&signature.result) {
                self.value_type(ty, Place::Register)?;
            }
            let rest = match signature.params.last() {
                Some(ValueType::Cell(c)) => m.types[c.id] == HeapType::ListCell(ANY),
                Some(_) | None => false,
            };
            if signature.rest && !rest {
                return fault(
                    Rule::Table,
                    format!("sig{i} has no list.cell(any) as last parameter for the rest"),
                );
            }
        }
        for host in &m.hosts {
            self.exists(host.signature.index(), m.signatures.len(), host.signature)?;
        }
        for c in &m.c_functions {
            let floats = c.params.iter().filter(|p| **p == CType::Double).count();
            if floats > 8 || c.params.len() - floats > 6 {
                return fault(Rule::Table, format!("C function {:?} has too many parameters", c.symbol));
            }
            if c.params.contains(&CType::Void) || c.result == CType::CString {
                return fault(
                    Rule::Table,
                    format!("C function {:?} has a type where it cannot stand", c.symbol),
                );
            }
        }
        for global in &m.globals {
            self.value_type(global.ty, Place::Heap)?;
        }
        if m.feedback_sites > MAX_SITES {
            return fault(Rule::Table, "too many feedback sites");
        }
        for source in &m.sources {
            let starts = &source.line_starts;
            if starts.first().is_some_and(|&s| s != 0) || !starts.is_sorted() {
                return fault(Rule::Table, format!("the lines of source {:?} are out of order", source.name));
            }
        }
        if TrapCode::ALL.len() < 32 && m.catchable.0 >> TrapCode::ALL.len() != 0 {
            return fault(Rule::Table, "the set of catchable traps has members that are no traps");
        }
        for function in &m.functions {
            self.exists(function.signature.index(), m.signatures.len(), function.signature)?;
        }
        self.protocol()?;
        if let Some(entry) = m.entry {
            self.exists(entry.index(), m.functions.len(), entry)?;
            let f = &m.functions[entry.index()];
            if f.environment.is_some() || !m.signatures[f.signature.index()].params.is_empty() {
                return fault(Rule::Table, "the entry function has parameters");
            }
        }
        Ok(())
    }

    /// Every parameter is a cell that takes what the engine passes, all results are as [`Protocol::result`] says.
    fn protocol(&self) -> Result<(), Fault> {
        let m = self.module;
        if m.protocol.0.len() != Protocol::ALL.len() {
            return fault(Rule::Protocol, "the protocol table has another number of entries");
        }
        for &entry in Protocol::ALL {
            let signature = match m.protocol.get(entry) {
                None => continue,
                Some(Callee::Function(f)) => {
                    self.exists(f.index(), m.functions.len(), f)?;
                    if m.functions[f.index()].environment.is_some() {
                        return fault(
                            Rule::Environment,
                            format!("protocol entry {} needs a closure", entry.text()),
                        );
                    }
                    m.functions[f.index()].signature
                }
                Some(Callee::Host(h)) => {
                    self.exists(h.index(), m.hosts.len(), h)?;
                    m.hosts[h.index()].signature
                }
            };
            let signature = &m.signatures[signature.index()];
            if signature.params.len() != entry.arity() {
                let wanted = entry.arity();
                return fault(
                    Rule::Protocol,
                    format!("protocol entry {} takes {wanted} parameters", entry.text()),
                );
            }
            if signature.params.iter().any(|p| *p != ValueType::Cell(ANY)) {
                return fault(
                    Rule::Protocol,
                    format!("parameters of protocol entry {} are `any`", entry.text()),
                );
            }
            let (fits, wanted) = match (entry.result(), signature.result) {
                (ProtocolResult::Nothing, r) => (r.is_none(), "nothing"),
                (ProtocolResult::Bool, r) => (r == Some(ValueType::Bool), "bool"),
                (ProtocolResult::Int, r) => (r == Some(ValueType::Int), "int"),
                (ProtocolResult::String, Some(ValueType::Cell(c))) => {
                    (m.types[c.id] == HeapType::String && !c.nullable, "string")
                }
                (ProtocolResult::Any, Some(ValueType::Cell(c))) => (is_subtype(m, c, ANY), "a cell"),
                (ProtocolResult::Results, Some(ValueType::Cell(_))) => (true, "a cell"),
                (ProtocolResult::String, _) => (false, "string"),
                (ProtocolResult::Any | ProtocolResult::Results, _) => (false, "a cell"),
            };
            if !fits {
                return fault(Rule::Protocol, format!("protocol entry {} gives {wanted}", entry.text()));
            }
        }
        Ok(())
    }

    /// Each number of arguments has one answer, and an answer can run with any closure of the function.
    fn arities(&self, f: &Function, own: &Signature) -> Result<(), Fault> {
        let m = self.module;
        let answers = |s: &Signature| (s.rest, if s.rest { 0 } else { s.params.len() });
        let mut seen = HashSet::from([answers(own)]);
        for &id in &f.arities {
            self.exists(id.index(), m.functions.len(), id)?;
            let other = &m.functions[id.index()];
            // That it exists was checked before any function.
            let signature = &m.signatures[other.signature.index()];
            if !seen.insert(answers(signature)) {
                let what = if signature.rest { "surplus arguments" } else { "as many arguments" };
                return fault(Rule::Arity, format!("{id} takes {what}, like another arity"));
            }
            if other.environment != f.environment {
                return fault(Rule::Arity, format!("{id} has another environment than the function"));
            }
            let closure = other.cells.first().and_then(|c| m.types.get(c.id));
            if other.environment.is_some() && matches!(closure, Some(HeapType::Closure(_)) | None) {
                return fault(
                    Rule::Arity,
                    format!("the closure that {id} gets is none of its own: its first cell is a `function`"),
                );
            }
        }
        Ok(())
    }

    /// What a function declares.
    fn function(&self, f: &Function) -> Result<(), Fault> {
        let m = self.module;
        let signature = &m.signatures[f.signature.index()];
        for &ty in f.cells.iter().chain(&f.spilled_cells) {
            self.cell_type(ty, Place::Register)?;
        }
        if f.raws.iter().chain(&f.spilled_raws).any(|b| *b == Bank::Cell) {
            return fault(Rule::Frame, "a raw local is of the cell bank");
        }
        let lists = [f.cells.len(), f.raws.len(), f.spilled_raws.len(), f.spilled_cells.len()];
        let slots: u64 = lists.iter().map(|&n| n as u64).sum();
        let slots = slots + u64::from(signature.counts().0) + u64::from(HEADER_SLOTS);
        if slots > MAX_FRAME || f.window > MAX_WINDOW {
            return fault(Rule::Frame, "the frame is too large");
        }
        let mut declared = f.cells.iter();
        if let Some(captures) = &f.environment {
            for &ty in captures {
                self.cell_type(ty, Place::Heap)?;
            }
            if captures.len() > usize::from(u16::MAX) {
                return fault(Rule::Frame, "too many captures");
            }
            let fits = declared.next().is_some_and(|c| match &m.types[c.id] {
                HeapType::Closure(s) => *s == f.signature,
                HeapType::Function | HeapType::Any | HeapType::Results => true,
                _ => false,
            });
            if !fits {
                return fault(
                    Rule::Environment,
                    "the first cell of a function with an environment is the closure itself",
                );
            }
        }
        self.arities(f, signature)?;
        for ty in &signature.params {
            let ValueType::Cell(param) = *ty else { continue };
            if !declared.next().is_some_and(|&c| is_subtype(m, param, c)) {
                return fault(Rule::Frame, "the cells of the function do not begin with its cell parameters");
            }
        }
        if !f.spans.is_sorted_by(|a, b| a.0 < b.0) {
            return fault(Rule::Table, "the spans are out of order");
        }
        Ok(())
    }
}
