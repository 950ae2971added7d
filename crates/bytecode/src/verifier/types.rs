//! Cell types: what is a subtype of what, and what an operand's constraint admits.

use crate::module::Module;
use crate::ops::Constraint;
use crate::types::*;
use std::collections::HashSet;

/// The module with what is asked for often.
pub(super) struct Context<'m> {
    pub module: &'m Module,
    /// The type `string`, or a type that does not exist where the module has no use for it.
    pub string: CellType,
    members: HashSet<(UnionId, RecordId)>,
}

/// The type of a cell value: a cell type of the module, or one that an op makes and the module may not have interned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type<'m> {
    /// Nil: a member of every nullable type.
    Nil,
    /// Values of the heap type, and nil if the flag says so.
    Heap(&'m HeapType, bool),
    /// What an op has just made: not nil, and perhaps of a type that the module has not interned.
    Made(Made),
}

/// The heap types that ops make from their operands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Made {
    List(CellType),
    Record(RecordId),
    Closure(SigId),
    Tuple(u16),
}

impl Made {
    fn heap(self) -> HeapType {
        match self {
            Made::List(element) => HeapType::ListCell(element),
            Made::Record(id) => HeapType::Record(id),
            Made::Closure(id) => HeapType::Closure(id),
            Made::Tuple(kind) => HeapType::Tuple(kind),
        }
    }
}

impl<'m> Context<'m> {
    /// The tables have been checked.
    pub fn new(module: &'m Module) -> Context<'m> {
        let members = module
            .unions
            .iter()
            .enumerate()
            .flat_map(|(u, union)| union.variants.iter().map(move |&r| (UnionId(u as u32), r)))
            .collect();
        let id = module.types.find(&HeapType::String).unwrap_or(TypeId(u32::MAX));
        Context { module, string: CellType { id, nullable: false }, members }
    }

    pub fn get(&self, ty: CellType) -> Type<'m> {
        Type::Heap(&self.module.types[ty.id], ty.nullable)
    }

    /// Whether every value of `a` is one of `b`.
    pub fn includes(&self, b: Type<'_>, a: Type<'_>) -> bool {
        subtype(a, b, |u, r| self.members.contains(&(u, r)))
    }

    pub fn show(&self, ty: Type<'_>) -> String {
        match ty {
            Type::Nil => "nil".into(),
            Type::Heap(heap, nullable) => self.show_heap(heap, nullable),
            Type::Made(made) => self.show_heap(&made.heap(), false),
        }
    }

    fn show_heap(&self, heap: &HeapType, nullable: bool) -> String {
        // Types that ops make are perhaps not interned themselves.
        let mut types = self.module.types.clone();
        let id = types.intern(heap.clone());
        crate::text::cell_type(&types, CellType { id, nullable })
    }
}

fn subtype(a: Type<'_>, b: Type<'_>, member: impl Fn(UnionId, RecordId) -> bool) -> bool {
    let (heap_b, null_b) = match b {
        Type::Nil | Type::Made(_) => return false,
        Type::Heap(heap, nullable) => (heap, nullable),
    };
    let made;
    let null_b = null_b || matches!(heap_b, HeapType::Any | HeapType::Results);
    let (heap_a, null_a) = match a {
        Type::Nil => return null_b,
        Type::Heap(heap, nullable) => (heap, nullable),
        Type::Made(what) => {
            made = what.heap();
            (&made, false)
        }
    };
    if null_a && !null_b {
        return false;
    }
    match (heap_a, heap_b) {
        (a, b) if a == b => true,
        (_, HeapType::Results) => true,
        (HeapType::Results, _) => false,
        (_, HeapType::Any) => true,
        (HeapType::Record(r), HeapType::Union(u)) => member(*u, *r),
        (HeapType::Closure(_), HeapType::Function) => true,
        (_, _) => false,
    }
}

/// Whether every value of cell type `a` is one of `b`, in a module whose ids exist.
///
/// Equal types; non-null below nullable; everything but `results` below `any`; everything below `results`; a
/// record below the unions that it is a variant of; closures below `function`. The rest takes a `cell.cast`.
pub fn is_subtype(module: &Module, a: CellType, b: CellType) -> bool {
    let (Some(heap_a), Some(heap_b)) = (module.types.get(a.id), module.types.get(b.id)) else { return false };
    subtype(Type::Heap(heap_a, a.nullable), Type::Heap(heap_b, b.nullable), |u, r| {
        module.unions.get(u.index()).is_some_and(|union| union.variants.contains(&r))
    })
}

/// Whether a register of this type may stand where the op's row has the constraint.
pub(super) fn admits(constraint: Constraint, ty: Type<'_>) -> bool {
    let Type::Heap(heap, nullable) = ty else { return false };
    let fits = match constraint {
        Constraint::None => return false,
        Constraint::Cell => return *heap != HeapType::Results,
        Constraint::Results => return true,
        Constraint::Name => *heap == HeapType::Name,
        Constraint::String => *heap == HeapType::String,
        Constraint::List => matches!(
            heap,
            HeapType::ListInt | HeapType::ListFloat | HeapType::ListBool | HeapType::ListCell(_)
        ),
        Constraint::ListInt => *heap == HeapType::ListInt,
        Constraint::ListFloat => *heap == HeapType::ListFloat,
        Constraint::ListBool => *heap == HeapType::ListBool,
        Constraint::ListCell => matches!(heap, HeapType::ListCell(_)),
        Constraint::Map => matches!(heap, HeapType::Map { .. }),
        Constraint::MapInt => matches!(heap, HeapType::Map { key: KeyPolicy::Int, .. }),
        Constraint::MapString => matches!(heap, HeapType::Map { key: KeyPolicy::String, .. }),
        Constraint::MapCell => matches!(
            heap,
            HeapType::Map { key: KeyPolicy::Value | KeyPolicy::Text | KeyPolicy::Protocol, .. }
        ),
        Constraint::Record => matches!(heap, HeapType::Record(_)),
        Constraint::Union => matches!(heap, HeapType::Record(_) | HeapType::Union(_)),
        Constraint::Closure => matches!(heap, HeapType::Closure(_)),
        Constraint::RefInt => *heap == HeapType::RefInt,
        Constraint::RefFloat => *heap == HeapType::RefFloat,
        Constraint::RefCell => matches!(heap, HeapType::RefCell(_)),
        Constraint::Tuple => matches!(heap, HeapType::Tuple(_)),
    };
    fits && !nullable
}

/// What a definition with this constraint produces, unless that is a rule of the op.
pub(super) fn produced(constraint: Constraint) -> Option<Type<'static>> {
    let heap: &'static HeapType = match constraint {
        Constraint::Name => &HeapType::Name,
        Constraint::String => &HeapType::String,
        Constraint::ListInt => &HeapType::ListInt,
        Constraint::ListFloat => &HeapType::ListFloat,
        Constraint::ListBool => &HeapType::ListBool,
        Constraint::RefInt => &HeapType::RefInt,
        Constraint::RefFloat => &HeapType::RefFloat,
        Constraint::Results => return Some(Type::Heap(&HeapType::Results, true)),
        Constraint::None
        | Constraint::Cell
        | Constraint::List
        | Constraint::ListCell
        | Constraint::Map
        | Constraint::MapInt
        | Constraint::MapString
        | Constraint::MapCell
        | Constraint::Record
        | Constraint::Union
        | Constraint::Closure
        | Constraint::RefCell
        | Constraint::Tuple => return None,
    };
    Some(Type::Heap(heap, false))
}
