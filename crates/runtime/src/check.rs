//! Whether values are of declared cell types, and stores that depend on it.
//!
//! Lists, maps and boxes of cells carry the code of their element type in the header (see
//! [`type_code`](crate::linked::type_code)), 0 where nobody has typed them yet. Element types are invariant: typed code
//! reads elements without a check and stores what the type allows, so an object may be seen under one element type only.
//! An untyped object takes the type of the first typed view, after its elements were checked.

use upshift_bytecode::{CellType, HeapType, TrapCode};

use crate::heap::Heap;
use crate::instance::Instance;
use crate::linked::{TablesInner, type_code, type_of_code};
use crate::list;
use crate::object::{Header, List, ObjectKind, Ref};
use crate::trap::Trap;
use crate::value::Value;

/// The code of `any`: what anything may be stored under.
pub const ANY_CODE: u32 = 1;

/// What the cells of a type are told by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Test {
    /// Whether nil is one.
    pub nullable: bool,
    /// What all others are.
    pub what: Told,
}

/// What cells of a type, nil left out, are told by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// They are ints, small or in objects.
    Int,
    /// They are floats.
    Float,
    /// They are true or false.
    Bool,
    /// They are strings, short or objects.
    String,
    /// They are objects of a kind.
    Kind(ObjectKind),
    /// They are lists of cells whose headers have this code of their elements' type, or none so far.
    Elements(u32),
    /// They are records of one of these shapes, in ascending order.
    Shapes(Vec<u32>),
}

/// What the cells of the type with a code are told by; `None` where it takes more than that.
pub fn test(tables: &TablesInner, code: u32) -> Option<Test> {
    let ty = type_of_code(code);
    let what = match tables.types.get(ty.id)? {
        HeapType::Int => Told::Int,
        HeapType::Float => Told::Float,
        HeapType::Bool => Told::Bool,
        HeapType::String => Told::String,
        HeapType::ListCell(element) => Told::Elements(type_code(*element)),
        HeapType::ListInt => Told::Kind(ObjectKind::ListInt),
        HeapType::ListFloat => Told::Kind(ObjectKind::ListFloat),
        HeapType::ListBool => Told::Kind(ObjectKind::ListBool),
        HeapType::RefInt => Told::Kind(ObjectKind::RefInt),
        HeapType::RefFloat => Told::Kind(ObjectKind::RefFloat),
        HeapType::Function => Told::Kind(ObjectKind::Closure),
        HeapType::Record(shape) => Told::Shapes(vec![shape.0]),
        HeapType::Union(union) => Told::Shapes(tables.unions.get(union.0 as usize)?.shapes.to_vec()),
        _ => return None,
    };
    Some(Test { nullable: ty.nullable, what })
}

/// Whether a value is of a cell type.
pub fn is(instance: &Instance, value: Value, cell: CellType) -> bool {
    if value.is_nil() {
        return cell.nullable;
    }
    let Some(ty) = instance.heap_type(cell.id) else { return false };
    let kind = value.object_kind();
    // SAFETY: object values point to live objects.
    let header = || unsafe { *value.as_object_unchecked() };
    match ty {
        HeapType::Any => value != Value::NONE && value != Value::MANY && !value.is_hole(),
        HeapType::Results => !value.is_hole(),
        HeapType::Int => value.is_int(),
        HeapType::Float => value.is_float(),
        HeapType::Bool => value.is_bool(),
        HeapType::Name => value.is_name(),
        HeapType::String => value.is_string(),
        HeapType::ListInt => kind == Some(ObjectKind::ListInt),
        HeapType::ListFloat => kind == Some(ObjectKind::ListFloat),
        HeapType::ListBool => kind == Some(ObjectKind::ListBool),
        HeapType::ListCell(element) => kind == Some(ObjectKind::ListCell) && adopt(instance, value, *element),
        HeapType::Map { key, order, value: element } => {
            kind == Some(ObjectKind::Map)
                // SAFETY: a live map.
                && unsafe {
                    crate::map::key_policy(value.as_ptr()) == *key && crate::map::order_policy(value.as_ptr()) == *order
                }
                && adopt(instance, value, *element)
        }
        HeapType::Record(shape) => kind == Some(ObjectKind::Record) && header().meta == shape.0,
        HeapType::Union(union) => {
            kind == Some(ObjectKind::Record) && instance.union(union.0).binary_search(&header().meta).is_ok()
        }
        HeapType::Closure(signature) => {
            kind == Some(ObjectKind::Closure)
                && instance.function(header().meta).is_some_and(|f| f.signature == *signature)
        }
        HeapType::Function => kind == Some(ObjectKind::Closure),
        HeapType::RefInt => kind == Some(ObjectKind::RefInt),
        HeapType::RefFloat => kind == Some(ObjectKind::RefFloat),
        HeapType::RefCell(element) => kind == Some(ObjectKind::RefCell) && adopt(instance, value, *element),
        HeapType::Tuple(number) => kind == Some(ObjectKind::Tuple) && header().meta as u16 == *number,
        HeapType::Bytes(number) => kind == Some(ObjectKind::Bytes) && header().meta as u16 == *number,
    }
}

/// Whether the elements of a list, map or box are of the type; an untyped one takes it.
fn adopt(instance: &Instance, value: Value, element: CellType) -> bool {
    let object: *mut Header = value.as_object_unchecked();
    let code = type_code(element);
    // SAFETY: a live object.
    let own = unsafe { (*object).meta };
    if own != 0 {
        return own == code;
    }
    if code != ANY_CODE && !each_element(value, &mut |v| instance.is(v, element)) {
        return false;
    }
    // SAFETY: a live object. Nested types are finite, so this recursion is as deep as the type's text. The check of the
    // elements may have met this object again and given it the type of an element, which it then keeps.
    unsafe {
        if (*object).meta == 0 {
            (*object).meta = code;
        }
        (*object).meta == code
    }
}

fn each_element(value: Value, f: &mut dyn FnMut(Value) -> bool) -> bool {
    // SAFETY: a live object of the kind.
    unsafe {
        match value.object_kind() {
            Some(ObjectKind::ListCell) => {
                let l = value.as_ptr::<List>();
                (0..list::len(l)).all(|i| list::get::<Value>(l, i as i64).is_some_and(&mut *f))
            }
            Some(ObjectKind::Map) => {
                let m = value.as_ptr::<crate::object::MapObject>();
                crate::map::raw_values(m, f)
            }
            Some(ObjectKind::RefCell) => f(Value::from_bits((*value.as_ptr::<Ref>()).content)),
            _ => false,
        }
    }
}

/// Whether a value may be stored in a list of cells, map or box, whose element type its header names.
#[inline]
pub fn element_fits(instance: &Instance, container: Value, element: Value) -> bool {
    // SAFETY: callers pass live objects.
    let code = unsafe { (*container.as_object_unchecked()).meta };
    code <= ANY_CODE || instance.is(element, type_of_code(code))
}

/// How a store into a list went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// Done.
    Done,
    /// There is no such element.
    OutOfRange,
    /// The list stores values of another type.
    WrongType,
}

/// Replaces an element of a list of any storage.
pub fn list_set(instance: &Instance, heap: &mut Heap, list: Value, i: i64, item: Value) -> Store {
    let l = list.as_ptr::<List>();
    // SAFETY: a live list of the kind that is matched.
    let done = unsafe {
        match list.object_kind() {
            Some(ObjectKind::ListInt) => match item.as_int() {
                Some(x) => list::set_raw(l, i, x),
                None => return Store::WrongType,
            },
            Some(ObjectKind::ListFloat) => match item.as_float() {
                Some(x) => list::set_raw(l, i, x),
                None => return Store::WrongType,
            },
            Some(ObjectKind::ListBool) => match item.as_bool() {
                Some(x) => list::set_raw(l, i, x),
                None => return Store::WrongType,
            },
            Some(ObjectKind::ListCell) if element_fits(instance, list, item) => {
                list::set_cell(heap, l, i, item)
            }
            _ => return Store::WrongType,
        }
    };
    if done { Store::Done } else { Store::OutOfRange }
}

/// Appends to a list of any storage.
///
/// # Errors
/// type-mismatch where the list stores other values; memory-limit.
pub fn list_push(instance: &Instance, heap: &mut Heap, list: Value, item: Value) -> Result<(), Trap> {
    let wrong = || Trap::new(TrapCode::TypeMismatch, "the list stores values of another type");
    let l = list.as_ptr::<List>();
    // SAFETY: a live list of the kind that is matched.
    unsafe {
        match list.object_kind() {
            Some(ObjectKind::ListInt) => list::push(heap, l, item.as_int().ok_or_else(wrong)?)?,
            Some(ObjectKind::ListFloat) => list::push(heap, l, item.as_float().ok_or_else(wrong)?)?,
            Some(ObjectKind::ListBool) => list::push(heap, l, item.as_bool().ok_or_else(wrong)?)?,
            Some(ObjectKind::ListCell) if element_fits(instance, list, item) => list::push(heap, l, item)?,
            _ => return Err(wrong()),
        }
    }
    Ok(())
}
