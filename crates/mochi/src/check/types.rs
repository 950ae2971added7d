//! Static types, hash-consed.
//!
//! A [`Ty`] is a number; equal types have equal numbers, except that function types which differ only in their effects
//! are two (compare with [`Types::equal`]). Structs and unions are nominal and refer to their declaration, so types are
//! never cyclic.
//!
//! Programs can make types that double in size with each line (`let b = {k: a, l: fun(x) => a}`). Types beyond
//! [`MAX_DEPTH`] or [`MAX_SIZE`] become `any`, which bounds the recursion and the time of all relations over types.

use std::collections::{HashMap, HashSet};

use crate::builtins::Effects;
use crate::syntax::ast::{Interner, Name};

/// How deep a type may nest.
const MAX_DEPTH: u32 = 100;
/// How many parts a type may have.
const MAX_SIZE: u32 = 4000;

/// A type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ty(u32);

/// Declares the types without parts.
macro_rules! atoms {
    ($($name:ident $kind:ident;)*) => {
        impl Ty {
            $(pub(super) const $name: Ty = Ty(Atom::$kind as u32);)*
        }

        #[derive(Clone, Copy)]
        enum Atom {
            $($kind,)*
        }

        const ATOMS: &[Kind] = &[$(Kind::$kind),*];
    };
}

atoms! {
    ANY Any;
    POISON Poison;
    UNIT Unit;
    BOOL Bool;
    INT Int;
    INT64 Int64;
    FLOAT Float;
    BIGINT BigInt;
    BIGRAT BigRat;
    STR Str;
}

/// What a type is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    Any,
    /// What follows from an error that was reported already; whatever touches it is not checked.
    Poison,
    Unit,
    Bool,
    Int,
    Int64,
    Float,
    BigInt,
    BigRat,
    Str,
    List(Ty),
    Map(Ty, Ty),
    Option(Ty),
    /// Groups of a query by key: key and element.
    Group(Ty, Ty),
    Fun(FunTyId),
    Struct(StructId),
    Union(UnionId),
    Inline(InlineId),
    Var(VarId),
}

macro_rules! ids {
    ($($name:ident)*) => { $(
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(super) struct $name(u32);

        impl $name {
            fn index(self) -> usize {
                self.0 as usize
            }
        }
    )* };
}

ids!(FunTyId StructId UnionId InlineId VarId);

/// A function type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct FunTy {
    pub(super) params: Box<[Ty]>,
    pub(super) rest: Option<Ty>,
    pub(super) result: Ty,
    /// Effects of a call.
    pub(super) effects: FunEffects,
    /// Type parameters, which each call instantiates.
    pub(super) generics: Box<[VarId]>,
}

/// What a call of a function may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct FunEffects {
    pub(super) effects: Effects,
    /// Whether it assigns variables that are not its own. That has no label, but facts about variables do not survive it.
    pub(super) assigns: bool,
}

impl FunEffects {
    pub(super) fn union(self, other: FunEffects) -> FunEffects {
        FunEffects { effects: self.effects.union(other.effects), assigns: self.assigns | other.assigns }
    }
}

/// A declared struct, variant, stream or agent.
#[derive(Debug)]
pub(super) struct StructInfo {
    pub(super) name: Name,
    /// In the order of declaration.
    pub(super) fields: Vec<(Name, Ty)>,
    pub(super) methods: Vec<(Name, Ty)>,
    /// Positions in `fields` and `methods` (behind the fields) by name.
    index: HashMap<Name, usize>,
    /// The union that it is a variant of.
    pub(super) union: Option<UnionId>,
    /// Whether literals may leave out fields.
    pub(super) optional_fields: bool,
}

/// A declared union.
#[derive(Debug)]
pub(super) struct UnionInfo {
    pub(super) name: Name,
    /// In the order of declaration.
    pub(super) variants: Vec<StructId>,
}

#[derive(Clone, Copy)]
struct Extent {
    depth: u32,
    size: u32,
}

/// All types of a program.
pub(super) struct Types {
    kinds: Vec<Kind>,
    extents: Vec<Extent>,
    by_kind: HashMap<Kind, Ty>,
    funs: Vec<FunTy>,
    by_fun: HashMap<FunTy, FunTyId>,
    inlines: Vec<Box<[(Name, Ty)]>>,
    by_inline: HashMap<Box<[(Name, Ty)]>, InlineId>,
    structs: Vec<StructInfo>,
    unions: Vec<UnionInfo>,
    vars: Vec<Option<Name>>,
}

impl Types {
    pub(super) fn new() -> Types {
        let mut types = Types {
            kinds: Vec::new(),
            extents: Vec::new(),
            by_kind: HashMap::new(),
            funs: Vec::new(),
            by_fun: HashMap::new(),
            inlines: Vec::new(),
            by_inline: HashMap::new(),
            structs: Vec::new(),
            unions: Vec::new(),
            vars: Vec::new(),
        };
        for &atom in ATOMS {
            types.intern(atom, Extent { depth: 0, size: 1 });
        }
        types
    }

    fn intern(&mut self, kind: Kind, extent: Extent) -> Ty {
        if let Some(&ty) = self.by_kind.get(&kind) {
            return ty;
        }
        let ty = Ty(self.kinds.len() as u32);
        self.kinds.push(kind);
        self.extents.push(extent);
        self.by_kind.insert(kind, ty);
        ty
    }

    /// The extent of a type with these parts, if it may be as large as that.
    fn around(&self, parts: impl IntoIterator<Item = Ty>) -> Option<Extent> {
        let mut around = Extent { depth: 0, size: 1 };
        for part in parts {
            let extent = self.extents[part.0 as usize];
            around.depth = around.depth.max(extent.depth + 1);
            around.size = around.size.saturating_add(extent.size);
        }
        (around.depth <= MAX_DEPTH && around.size <= MAX_SIZE).then_some(around)
    }

    fn compound(&mut self, kind: Kind, parts: &[Ty]) -> Ty {
        match self.around(parts.iter().copied()) {
            Some(extent) => self.intern(kind, extent),
            None => Ty::ANY,
        }
    }

    pub(super) fn list(&mut self, element: Ty) -> Ty {
        self.compound(Kind::List(element), &[element])
    }

    pub(super) fn map(&mut self, key: Ty, value: Ty) -> Ty {
        self.compound(Kind::Map(key, value), &[key, value])
    }

    pub(super) fn option(&mut self, payload: Ty) -> Ty {
        self.compound(Kind::Option(payload), &[payload])
    }

    pub(super) fn group(&mut self, key: Ty, element: Ty) -> Ty {
        self.compound(Kind::Group(key, element), &[key, element])
    }

    pub(super) fn fun(&mut self, fun: FunTy) -> Ty {
        let Some(extent) = self.around(fun.params.iter().copied().chain(fun.rest).chain([fun.result])) else {
            return Ty::ANY;
        };
        let id = match self.by_fun.get(&fun) {
            Some(&id) => id,
            None => {
                let id = FunTyId(self.funs.len() as u32);
                self.funs.push(fun.clone());
                self.by_fun.insert(fun, id);
                id
            }
        };
        self.intern(Kind::Fun(id), extent)
    }

    /// A function type without effects and type parameters.
    pub(super) fn plain_fun(&mut self, params: &[Ty], result: Ty) -> Ty {
        let (effects, generics) = (FunEffects::default(), Box::default());
        self.fun(FunTy { params: params.into(), rest: None, result, effects, generics })
    }

    pub(super) fn inline(&mut self, fields: Vec<(Name, Ty)>) -> Ty {
        let Some(extent) = self.around(fields.iter().map(|&(_, ty)| ty)) else { return Ty::ANY };
        let fields: Box<[(Name, Ty)]> = fields.into();
        let id = match self.by_inline.get(&fields) {
            Some(&id) => id,
            None => {
                let id = InlineId(self.inlines.len() as u32);
                self.inlines.push(fields.clone());
                self.by_inline.insert(fields, id);
                id
            }
        };
        self.intern(Kind::Inline(id), extent)
    }

    /// A new struct without fields, to be filled in.
    pub(super) fn new_struct(&mut self, name: Name) -> StructId {
        let id = StructId(self.structs.len() as u32);
        self.structs.push(StructInfo {
            name,
            fields: Vec::new(),
            methods: Vec::new(),
            index: HashMap::new(),
            union: None,
            optional_fields: false,
        });
        id
    }

    /// A new union without variants, to be filled in.
    pub(super) fn new_union(&mut self, name: Name) -> UnionId {
        let id = UnionId(self.unions.len() as u32);
        self.unions.push(UnionInfo { name, variants: Vec::new() });
        id
    }

    /// A new type variable; those of builtins have no name.
    pub(super) fn new_var(&mut self, name: Option<Name>) -> VarId {
        let id = VarId(self.vars.len() as u32);
        self.vars.push(name);
        id
    }

    pub(super) fn struct_ty(&mut self, id: StructId) -> Ty {
        self.intern(Kind::Struct(id), Extent { depth: 0, size: 1 })
    }

    pub(super) fn union_ty(&mut self, id: UnionId) -> Ty {
        self.intern(Kind::Union(id), Extent { depth: 0, size: 1 })
    }

    pub(super) fn var_ty(&mut self, id: VarId) -> Ty {
        self.intern(Kind::Var(id), Extent { depth: 0, size: 1 })
    }

    /// What a type is.
    pub(super) fn kind(&self, ty: Ty) -> Kind {
        self.kinds[ty.0 as usize]
    }

    pub(super) fn fun_ty(&self, id: FunTyId) -> &FunTy {
        &self.funs[id.index()]
    }

    /// The function type that a type is.
    pub(super) fn as_fun(&self, ty: Ty) -> Option<&FunTy> {
        match self.kind(ty) {
            Kind::Fun(id) => Some(self.fun_ty(id)),
            _ => None,
        }
    }

    /// The fields of an inline struct.
    pub(super) fn inline_fields(&self, id: InlineId) -> &[(Name, Ty)] {
        &self.inlines[id.index()]
    }

    pub(super) fn struct_info(&self, id: StructId) -> &StructInfo {
        &self.structs[id.index()]
    }

    pub(super) fn union_info(&self, id: UnionId) -> &UnionInfo {
        &self.unions[id.index()]
    }

    pub(super) fn var_text<'n>(&self, id: VarId, names: &'n Interner) -> &'n str {
        self.vars[id.index()].map_or("T", |name| &names[name])
    }

    /// Sets fields and methods. Of several of one name the last counts.
    pub(super) fn set_members(&mut self, id: StructId, fields: Vec<(Name, Ty)>, methods: Vec<(Name, Ty)>) {
        let info = &mut self.structs[id.index()];
        info.index = methods.iter().enumerate().map(|(at, &(name, _))| (name, fields.len() + at)).collect();
        info.index.extend(fields.iter().enumerate().map(|(at, &(name, _))| (name, at)));
        info.fields = fields;
        info.methods = methods;
    }

    /// Lets literals of the struct leave out fields.
    pub(super) fn make_fields_optional(&mut self, id: StructId) {
        self.structs[id.index()].optional_fields = true;
    }

    /// Makes a struct a variant.
    pub(super) fn add_variant(&mut self, union: UnionId, variant: StructId) {
        self.structs[variant.index()].union = Some(union);
        self.unions[union.index()].variants.push(variant);
    }

    /// Type of a field of a nominal struct, by constant time.
    pub(super) fn struct_field(&self, id: StructId, name: Name) -> Option<Ty> {
        let info = self.struct_info(id);
        let &at = info.index.get(&name)?;
        info.fields.get(at).map(|&(_, ty)| ty)
    }

    /// Type of a field or method of a nominal struct.
    pub(super) fn struct_member(&self, id: StructId, name: Name) -> Option<Ty> {
        let info = self.struct_info(id);
        let &at = info.index.get(&name)?;
        info.fields.get(at).or_else(|| info.methods.get(at - info.fields.len())).map(|&(_, ty)| ty)
    }

    /// Type of a field of an inline struct.
    pub(super) fn inline_field(&self, id: InlineId, name: Name) -> Option<Ty> {
        self.inline_fields(id).iter().find(|&&(field, _)| field == name).map(|&(_, ty)| ty)
    }

    /// Whether values of the type are lists, maps or structs, which assignment shares.
    pub(super) fn is_aggregate(&self, ty: Ty) -> bool {
        matches!(self.kind(ty), Kind::List(_) | Kind::Map(..) | Kind::Struct(_) | Kind::Inline(_))
    }

    pub(super) fn is_numeric(&self, ty: Ty) -> bool {
        matches!(ty, Ty::INT | Ty::INT64 | Ty::FLOAT | Ty::BIGINT | Ty::BIGRAT)
    }

    /// Whether values can be sorted.
    pub(super) fn is_ordered(&self, ty: Ty) -> bool {
        match self.kind(ty) {
            Kind::List(element) => element == Ty::ANY || self.is_ordered(element),
            _ => self.is_numeric(ty) || matches!(ty, Ty::STR | Ty::BOOL),
        }
    }

    /// Whether `select distinct` can compare values. Structs go through a list: chains of them may be as long as the
    /// program, and cyclic.
    pub(super) fn is_hashable(&self, ty: Ty) -> bool {
        let (mut seen, mut open) = (HashSet::new(), Vec::new());
        let mut good = self.parts_hashable(ty, &mut open);
        while let (true, Some(id)) = (good, open.pop()) {
            if seen.insert(id) {
                good = self.struct_info(id).fields.iter().all(|&(_, ty)| self.parts_hashable(ty, &mut open));
            }
        }
        good
    }

    /// As `is_hashable`, but leaves declared structs to the caller.
    fn parts_hashable(&self, ty: Ty, open: &mut Vec<StructId>) -> bool {
        match self.kind(ty) {
            Kind::Any | Kind::Poison | Kind::Unit | Kind::Bool | Kind::Str => true,
            Kind::Int | Kind::Int64 | Kind::Float | Kind::BigInt | Kind::BigRat => true,
            Kind::List(inner) | Kind::Option(inner) => self.parts_hashable(inner, open),
            Kind::Map(key, value) => self.parts_hashable(key, open) && self.parts_hashable(value, open),
            Kind::Inline(id) => self.inline_fields(id).iter().all(|&(_, ty)| self.parts_hashable(ty, open)),
            Kind::Struct(id) => {
                open.push(id);
                true
            }
            Kind::Union(id) => {
                open.extend_from_slice(&self.union_info(id).variants);
                true
            }
            Kind::Fun(_) | Kind::Group(..) | Kind::Var(_) => false,
        }
    }

    /// Whether `any` occurs in it.
    pub(super) fn contains_any(&self, ty: Ty) -> bool {
        match self.kind(ty) {
            Kind::Any => true,
            Kind::List(inner) | Kind::Option(inner) => self.contains_any(inner),
            Kind::Map(a, b) | Kind::Group(a, b) => self.contains_any(a) || self.contains_any(b),
            Kind::Fun(id) => {
                let fun = self.fun_ty(id);
                fun.params.iter().chain([&fun.result]).any(|&ty| self.contains_any(ty))
            }
            _ => false,
        }
    }

    /// Replaces type variables; those without a value stay.
    pub(super) fn substitute(&mut self, ty: Ty, values: &HashMap<VarId, Ty>) -> Ty {
        if values.is_empty() {
            return ty;
        }
        match self.kind(ty) {
            Kind::Var(id) => values.get(&id).copied().unwrap_or(ty),
            Kind::List(element) => {
                let element = self.substitute(element, values);
                self.list(element)
            }
            Kind::Option(payload) => {
                let payload = self.substitute(payload, values);
                self.option(payload)
            }
            Kind::Map(key, value) => {
                let (key, value) = (self.substitute(key, values), self.substitute(value, values));
                self.map(key, value)
            }
            Kind::Group(key, element) => {
                let (key, element) = (self.substitute(key, values), self.substitute(element, values));
                self.group(key, element)
            }
            Kind::Fun(id) => {
                let mut fun = self.fun_ty(id).clone();
                for param in &mut fun.params {
                    *param = self.substitute(*param, values);
                }
                fun.rest = fun.rest.map(|rest| self.substitute(rest, values));
                fun.result = self.substitute(fun.result, values);
                self.fun(fun)
            }
            Kind::Inline(id) => {
                let mut fields = self.inline_fields(id).to_vec();
                for (_, ty) in &mut fields {
                    *ty = self.substitute(*ty, values);
                }
                self.inline(fields)
            }
            _ => ty,
        }
    }

    /// The first of these type variables that occurs.
    pub(super) fn find_var(&self, ty: Ty, among: &[VarId]) -> Option<VarId> {
        if among.is_empty() {
            return None;
        }
        match self.kind(ty) {
            Kind::Var(id) => among.contains(&id).then_some(id),
            Kind::List(inner) | Kind::Option(inner) => self.find_var(inner, among),
            Kind::Map(a, b) | Kind::Group(a, b) => {
                self.find_var(a, among).or_else(|| self.find_var(b, among))
            }
            Kind::Fun(id) => {
                let fun = self.fun_ty(id);
                let mut parts = fun.params.iter().chain(&fun.rest).chain([&fun.result]);
                parts.find_map(|&ty| self.find_var(ty, among))
            }
            Kind::Inline(id) => self.inline_fields(id).iter().find_map(|&(_, ty)| self.find_var(ty, among)),
            _ => None,
        }
    }

    /// The type as messages show it.
    pub(super) fn show(&self, ty: Ty, names: &Interner) -> String {
        let mut text = String::new();
        self.write(ty, names, &mut text);
        text
    }

    fn write(&self, ty: Ty, names: &Interner, out: &mut String) {
        // Nobody reads longer ones.
        if out.len() > 200 {
            if !out.ends_with("...") {
                out.push_str("...");
            }
            return;
        }
        match self.kind(ty) {
            Kind::Any | Kind::Poison => out.push_str("any"),
            Kind::Unit => out.push_str("unit"),
            Kind::Bool => out.push_str("bool"),
            Kind::Int => out.push_str("int"),
            Kind::Int64 => out.push_str("int64"),
            Kind::Float => out.push_str("float"),
            Kind::BigInt => out.push_str("bigint"),
            Kind::BigRat => out.push_str("bigrat"),
            Kind::Str => out.push_str("string"),
            Kind::Struct(id) => out.push_str(&names[self.struct_info(id).name]),
            Kind::Union(id) => out.push_str(&names[self.union_info(id).name]),
            Kind::Var(id) => out.push_str(self.var_text(id, names)),
            Kind::List(element) => {
                out.push('[');
                self.write(element, names, out);
                out.push(']');
            }
            Kind::Map(key, value) => {
                out.push('{');
                self.write(key, names, out);
                out.push_str(": ");
                self.write(value, names, out);
                out.push('}');
            }
            Kind::Option(payload) => {
                out.push_str("option[");
                self.write(payload, names, out);
                out.push(']');
            }
            Kind::Group(..) => out.push_str("group"),
            Kind::Inline(id) => {
                out.push_str("struct {");
                for (at, &(name, ty)) in self.inline_fields(id).iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    out.push_str(&names[name]);
                    out.push_str(": ");
                    self.write(ty, names, out);
                }
                out.push('}');
            }
            Kind::Fun(id) => {
                let fun = self.fun_ty(id);
                out.push_str("fun(");
                for (at, &param) in fun.params.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    self.write(param, names, out);
                }
                if let Some(rest) = fun.rest {
                    out.push_str(if fun.params.is_empty() { ".." } else { ", .." });
                    self.write(rest, names, out);
                }
                out.push(')');
                if fun.result != Ty::UNIT {
                    out.push_str(": ");
                    self.write(fun.result, names, out);
                }
            }
        }
    }
}
