//! From solved nodes to a table of types, kinds of calls and reasons of demotions.

use std::collections::{HashMap, HashSet};

use super::generate::{CallSite, Generator};
use super::graph::{Graph, KEYS, Kind, NULL, NodeId, Val, Why};
use super::{CallKind, Declared, DeclaredKind, Demotion, ParamsId, Slot, Ty, TyId, TyKind, Types};
use crate::resolve::{BindSource, CtorId, Resolved, StructId, TypeName, UnionId};
use crate::source::Span;
use crate::syntax::ast::{BindId, ExprId, FunId, Interner, Name, TypeId, TypeKind};

/// Solves what the generator made and names the results.
pub(super) fn finish(mut generator: Generator<'_>, names: &Interner) -> Types {
    generator.solver.solve();
    // A function variable that may be called before it is set is none then.
    let resolution = generator.resolution;
    loop {
        let mut more = false;
        for index in 0..resolution.bind_count() {
            let node = generator.binds[index];
            let val = generator.solver.graph.final_val(node);
            if resolution.bind(BindId::new(index)).called_early && val.kind == Kind::Fun && !val.null {
                generator.solver.flow(NULL, node);
                more = true;
            }
        }
        if !more {
            break;
        }
        generator.solver.solve();
    }
    let mut types = Types {
        types: Vec::new(),
        index: HashMap::new(),
        params: Vec::new(),
        exprs: Vec::new(),
        binds: Vec::new(),
        results: Vec::new(),
        fields: Vec::new(),
        ctor_fields: Vec::new(),
        calls: HashMap::with_capacity(generator.calls.len()),
        casts: HashMap::new(),
        cast_fields: Vec::new(),
        declared: HashMap::new(),
        zeros: HashSet::new(),
        any_keys: TyId::ANY,
        stores: HashMap::new(),
        borrowed: vec![false; resolution.bind_count()],
        shares: vec![false; generator.program.exprs.len()],
        in_place: vec![false; generator.program.exprs.len()],
        demotions: Vec::new(),
        slot_count: 0,
        proven_count: 0,
    };
    for kind in [TyKind::Any, TyKind::Null] {
        types.intern(Ty { kind, nullable: true });
    }
    let scalars = [TyKind::Int, TyKind::Float, TyKind::Bool, TyKind::String, TyKind::BigInt, TyKind::BigRat];
    for kind in scalars {
        types.intern(Ty { kind, nullable: false });
    }
    let mut namer = Namer { graph: &generator.solver.graph, types, memo: Vec::new(), params: HashMap::new() };
    namer.memo = vec![UNNAMED; namer.graph.len()];
    namer.types.any_keys = namer.name(KEYS);
    let exprs = generator.exprs.iter().map(|&node| namer.name(node)).collect();
    let binds = generator.binds.iter().map(|&node| namer.name(node)).collect();
    let results = generator.results.iter().map(|&node| namer.name(node)).collect();
    let mut records = (0..resolution.structs.len() + resolution.ctors.len())
        .map(|record| {
            let fields = namer.graph.fields(record as u32);
            fields.iter().map(|field| namer.name(field.1)).collect::<Vec<_>>()
        })
        .collect::<Vec<_>>();
    let calls: Vec<_> = generator.calls.iter().map(|call| (call.0, namer.call(&generator, call))).collect();
    let casts: Vec<_> = generator.casts.iter().map(|&(id, node)| (id, namer.name(node))).collect();
    let cast_fields: Vec<Vec<TyId>> = generator
        .cast_fields
        .iter()
        .map(|fields| fields.iter().map(|&node| namer.name(node)).collect())
        .collect();
    let mut stores = Vec::new();
    for &(value, slot) in &generator.stores {
        let slot_ty = namer.name(slot);
        if namer.types.get(slot_ty).kind == TyKind::Any {
            let kind = match generator.numbers[&slot] {
                Kind::Float => TyKind::Float,
                Kind::BigInt => TyKind::BigInt,
                _ => TyKind::BigRat,
            };
            stores.push((value, namer.types.intern(Ty { kind, nullable: false })));
        }
    }
    let mut types = namer.types;
    types.ctor_fields = records.split_off(resolution.structs.len());
    types.fields = records;
    types.exprs = exprs;
    types.binds = binds;
    types.results = results;
    types.calls.extend(calls);
    types.casts.extend(casts);
    types.cast_fields = cast_fields;
    let is_any = |id: TyId| types.get(id).kind == TyKind::Any;
    let has_zero = |declared: &Declared| {
        !declared.nullable && !matches!(declared.kind, DeclaredKind::BigInt | DeclaredKind::BigRat)
    };
    let zeros = generator.declared.iter().filter(|(bind, declared)| {
        let ty = types.get(types.bind(*bind));
        ty.nullable && ty.kind != TyKind::Any && has_zero(declared)
    });
    let zeros: HashSet<BindId> = zeros.map(|(bind, _)| *bind).collect();
    let binds = generator.declared.iter().filter(|(bind, _)| is_any(types.bind(*bind)));
    let binds: HashMap<_, _> = binds.copied().collect();
    types.declared = binds;
    types.zeros = zeros;
    types.stores.extend(stores);
    explain(&generator, names, &mut types);
    types
}

const UNNAMED: TyId = TyId(u32::MAX);

impl Types {
    pub(super) fn intern(&mut self, ty: Ty) -> TyId {
        if let Some(&id) = self.index.get(&ty) {
            return id;
        }
        let id = TyId(self.types.len() as u32);
        self.types.push(ty);
        self.index.insert(ty, id);
        id
    }
}

struct Namer<'g> {
    graph: &'g Graph,
    types: Types,
    memo: Vec<TyId>,
    params: HashMap<Vec<TyId>, ParamsId>,
}

impl Namer<'_> {
    /// The type of a node. Types are at most [`super::MAX_DEPTH`] deep and do not contain themselves, so this recurses.
    fn name(&mut self, node: NodeId) -> TyId {
        let root = self.graph.find(node);
        let known = self.memo[root as usize];
        if known != UNNAMED {
            return known;
        }
        let val = self.graph.final_val(root);
        let kind = match val.kind {
            Kind::Bottom if val.null => TyKind::Null,
            Kind::Bottom | Kind::Any => TyKind::Any,
            Kind::Int => TyKind::Int,
            Kind::Float => TyKind::Float,
            Kind::Bool => TyKind::Bool,
            Kind::Str => TyKind::String,
            Kind::BigInt => TyKind::BigInt,
            Kind::BigRat => TyKind::BigRat,
            Kind::List => TyKind::List(self.name(val.a)),
            Kind::Map => {
                let key = self.name(val.a);
                TyKind::Map(key, self.name(val.b))
            }
            Kind::Struct => TyKind::Struct(StructId(val.a)),
            Kind::Union => TyKind::Union(UnionId(val.a)),
            Kind::Fun => {
                let sig = &self.graph.sigs[val.a as usize];
                let params: Vec<TyId> = sig.params.iter().map(|&param| self.name(param)).collect();
                let result = self.name(sig.result);
                let next = ParamsId(self.types.params.len() as u32);
                let id = *self.params.entry(params.clone()).or_insert(next);
                if id == next {
                    self.types.params.push(params);
                }
                TyKind::Fun(id, result)
            }
        };
        let nullable = val.null || matches!(kind, TyKind::Any | TyKind::Null);
        let id = match kind {
            TyKind::Any | TyKind::Null => self.types.intern(Ty { kind, nullable: true }),
            _ => {
                // The form without null always exists, so that narrowing can name it.
                let plain = self.types.intern(Ty { kind, nullable: false });
                if nullable { self.types.intern(Ty { kind, nullable }) } else { plain }
            }
        };
        self.memo[root as usize] = id;
        id
    }

    fn call(&mut self, generator: &Generator<'_>, &(_, site, args): &(ExprId, CallSite, u32)) -> CallKind {
        let args = args as usize;
        match site {
            CallSite::Known(kind) => kind,
            CallSite::Named(callee) => {
                let Some(names) = generator.resolution.callee(callee) else { return CallKind::Undefined };
                let mut other = None;
                for &bind in generator.resolution.candidates(names) {
                    let node = generator.binds[bind.index()];
                    let val = self.graph.final_val(node);
                    match val.kind {
                        Kind::Fun => {
                            let partial = args < self.graph.sigs[val.a as usize].params.len();
                            return CallKind::Closure { bind: Some(bind), ty: self.name(node), partial };
                        }
                        Kind::Any => {
                            return CallKind::Dynamic { bind: Some(bind), fallback: names.otherwise };
                        }
                        Kind::Bottom => {}
                        _ => other = other.or(Some(bind)),
                    }
                }
                match names.otherwise {
                    Resolved::Function(fun) if args < generator.program[fun].params.len() => {
                        CallKind::Partial(fun)
                    }
                    Resolved::Function(fun) => CallKind::Direct(fun),
                    Resolved::Method(fun) if args < generator.program[fun].params.len() => {
                        CallKind::PartialMethod(fun)
                    }
                    Resolved::Method(fun) => CallKind::Sibling(fun),
                    Resolved::Builtin(builtin) => CallKind::Builtin(builtin),
                    Resolved::Variant(ctor) => CallKind::Construct(ctor),
                    Resolved::Module(_) | Resolved::Extern(_) => CallKind::Extern,
                    // A variable that surely holds something else: an error when it is called.
                    Resolved::Undeclared | Resolved::Bind(_) | Resolved::Struct(_) => match other {
                        Some(_) => CallKind::Dynamic { bind: other, fallback: Resolved::Undeclared },
                        None => CallKind::Undefined,
                    },
                }
            }
            CallSite::Value(node) => {
                let val = self.graph.final_val(node);
                if val.kind == Kind::Fun {
                    let partial = args < self.graph.sigs[val.a as usize].params.len();
                    return CallKind::Closure { bind: None, ty: self.name(node), partial };
                }
                CallKind::Dynamic { bind: None, fallback: Resolved::Undeclared }
            }
            CallSite::Method { base, name } => self.method(generator, base, name, args),
        }
    }

    fn method(&mut self, generator: &Generator<'_>, base: NodeId, name: Name, args: usize) -> CallKind {
        let val = self.graph.final_val(base);
        let methods = &generator.solver.methods;
        let is = |known: &[Option<Name>]| known.contains(&Some(name));
        let field = match val.kind {
            Kind::Struct => self.graph.field(val.a, name),
            Kind::Map if !is(&[methods.keys, methods.values, methods.get]) => Some(val.b),
            _ => None,
        };
        if let Some(field) = field {
            let val = self.graph.final_val(field);
            return match val.kind {
                Kind::Fun => {
                    let partial = args < self.graph.sigs[val.a as usize].params.len();
                    CallKind::Closure { bind: None, ty: self.name(field), partial }
                }
                _ => CallKind::DynamicMethod,
            };
        }
        let builtin = match val.kind {
            Kind::Struct => {
                return match generator.resolution.method(StructId(val.a), name) {
                    Some(fun) if args < generator.program[fun].params.len() => CallKind::PartialMethod(fun),
                    Some(fun) => CallKind::Method(fun),
                    None => CallKind::DynamicMethod,
                };
            }
            // The map may hold a function under the name.
            Kind::Map => !matches!(self.graph.final_val(val.b).kind, Kind::Fun | Kind::Any),
            Kind::Str => is(&[methods.contains, methods.starts_with, methods.pad_start]),
            Kind::Int | Kind::Float | Kind::BigInt => is(&[methods.pad_start]),
            Kind::List => is(&[methods.contains, methods.join]),
            _ => false,
        };
        if builtin { CallKind::BuiltinMethod } else { CallKind::DynamicMethod }
    }
}

// ---- Demotions ----

/// Finds the slots whose type is not what their declaration or their other uses say.
fn explain(generator: &Generator<'_>, names: &Interner, types: &mut Types) {
    let explainer = Explainer { generator, names, types };
    let (program, resolution) = (generator.program, generator.resolution);
    let mut demotions = Vec::new();
    let (mut slots, mut proven) = (0, 0);
    let mut look = |slot: Slot, node: NodeId, id: TyId, ty: Option<TypeId>, span: Span| {
        slots += 1;
        proven += usize::from(!matches!(explainer.types.get(id).kind, TyKind::Any | TyKind::Null));
        demotions.extend(explainer.demotion(slot, node, id, ty, span));
    };
    for index in 0..resolution.bind_count() {
        let bind = BindId::new(index);
        let info = resolution.bind(bind);
        // Nobody wrote the variables of queries' plans.
        let written = info.source == BindSource::Tree && !names[info.name].contains(' ');
        if !written || resolution.slot(bind) != bind || !Generator::has_slot(info.kind) {
            continue;
        }
        look(Slot::Bind(bind), generator.binds[index], types.binds[index], info.ty, info.span);
    }
    for (index, fun) in program.funs.iter().enumerate() {
        let id = types.results[index];
        let nothing = id == TyId::NULL && fun.result.is_none();
        if !nothing {
            look(Slot::Result(FunId::new(index)), generator.results[index], id, fun.result, fun.span);
        }
    }
    for (record, fields) in types.fields.iter().chain(&types.ctor_fields).enumerate() {
        let structs = resolution.structs.len();
        for (at, &id) in fields.iter().enumerate() {
            let node = generator.solver.graph.fields(record as u32)[at].1;
            let (slot, decl) = if record < structs {
                let of = StructId(record as u32);
                (Slot::Field(of, at as u32), resolution.fields(program, of)[at])
            } else {
                let ctor = CtorId((record - structs) as u32);
                (Slot::CtorField(ctor, at as u32), resolution.ctor_fields(program, ctor)[at])
            };
            look(slot, node, id, Some(decl.ty), decl.name.span);
        }
    }
    demotions.sort_by_key(|demotion| demotion.span.start);
    // Instances of a function have slots at the same places.
    demotions.dedup_by(|a, b| a.span == b.span && a.expected == b.expected);
    types.demotions = demotions;
    (types.slot_count, types.proven_count) = (slots, proven);
}

struct Explainer<'a> {
    generator: &'a Generator<'a>,
    names: &'a Interner,
    types: &'a Types,
}

impl Explainer<'_> {
    fn demotion(
        &self,
        slot: Slot,
        node: NodeId,
        id: TyId,
        ty: Option<TypeId>,
        span: Span,
    ) -> Option<Demotion> {
        let why = self.cause(node, 3);
        let expected = match ty {
            Some(ty) => {
                if self.agrees(ty, id, false, 0) {
                    return None;
                }
                let mut text = String::new();
                self.annotation(ty, &mut text);
                text
            }
            // Without an annotation a slot is demoted if kinds clashed in it.
            None => {
                let why = why?;
                let clash = why.had != Kind::Bottom && why.got != Kind::Any && why.got != Kind::Bottom;
                if !clash || !self.has_any(id) {
                    return None;
                }
                why.had.text().to_string()
            }
        };
        let found = self.text(id);
        let cause =
            why.and_then(|why| self.generator.program.exprs.get(why.at as usize)).map(|expr| expr.span);
        let reason = match why {
            Some(Why { got: Kind::Bottom, .. }) => "none flows in".to_string(),
            Some(Why { got: Kind::Any, had, .. }) => format!("{} meets any", had.text()),
            Some(Why { had, got, .. }) => format!("{} meets {}", had.text(), got.text()),
            None => "its values are not known".to_string(),
        };
        Some(Demotion { slot, span, expected, found, cause, reason })
    }

    /// The first reason found in a node or inside of it.
    fn cause(&self, node: NodeId, depth: u32) -> Option<Why> {
        let graph = &self.generator.solver.graph;
        if let Some(why) = graph.why(node) {
            return Some(why);
        }
        let Val { kind, a, b, .. } = graph.final_val(node);
        match kind {
            _ if depth == 0 => None,
            Kind::List => self.cause(a, depth - 1),
            Kind::Map => self.cause(b, depth - 1).or_else(|| self.cause(a, depth - 1)),
            _ => None,
        }
    }

    fn has_any(&self, id: TyId) -> bool {
        match self.types.get(id).kind {
            TyKind::Any => true,
            TyKind::List(elem) => self.has_any(elem),
            TyKind::Map(key, value) => self.has_any(key) || self.has_any(value),
            _ => false,
        }
    }

    /// Whether a type is what an annotation says.
    fn agrees(&self, ty: TypeId, id: TyId, optional: bool, depth: u32) -> bool {
        if depth > super::MAX_DEPTH as u32 {
            return true;
        }
        let program = self.generator.program;
        let found = self.types.get(id);
        if let TypeKind::Optional(inner) = program[ty].kind {
            return self.agrees(inner, id, true, depth + 1);
        }
        let agrees = match program[ty].kind {
            TypeKind::Error | TypeKind::Struct(_) | TypeKind::Optional(_) => return true,
            TypeKind::Name(name) => match &self.names[name] {
                "int" | "int64" => found.kind == TyKind::Int,
                "float" => found.kind == TyKind::Float,
                "bool" => found.kind == TyKind::Bool,
                "string" => found.kind == TyKind::String,
                "bigint" => found.kind == TyKind::BigInt,
                "bigrat" => found.kind == TyKind::BigRat,
                _ => match self.generator.resolution.types.get(&name) {
                    Some(&TypeName::Struct(of)) => found.kind == TyKind::Struct(of),
                    Some(&TypeName::Union(of)) => found.kind == TyKind::Union(of),
                    Some(&TypeName::Alias(ty)) => return self.agrees(ty, id, optional, depth + 1),
                    None => return true,
                },
            },
            TypeKind::Generic { name, args } => match (&self.names[name.name], &program[args], found.kind) {
                ("list", &[elem], TyKind::List(id)) => self.agrees(elem, id, false, depth + 1),
                ("map", &[key, value], TyKind::Map(key_id, value_id)) => {
                    self.agrees(key, key_id, false, depth + 1)
                        && self.agrees(value, value_id, false, depth + 1)
                }
                ("list", &[_], _) | ("map", &[_, _], _) => false,
                _ => return true,
            },
            TypeKind::Fun { params, .. } => match found.kind {
                TyKind::Fun(ids, _) => {
                    let ids = self.types.params(ids);
                    let pairs = program[params].iter().zip(ids);
                    pairs.into_iter().all(|(&ty, &id)| self.agrees(ty, id, false, depth + 1))
                }
                _ => false,
            },
        };
        agrees && (optional || !found.nullable)
    }

    fn annotation(&self, ty: TypeId, out: &mut String) {
        let program = self.generator.program;
        match program[ty].kind {
            TypeKind::Error => out.push('?'),
            TypeKind::Name(name) => out.push_str(&self.names[name]),
            TypeKind::Generic { name, args } => {
                out.push_str(&self.names[name.name]);
                out.push('<');
                self.annotations(&program[args], out);
                out.push('>');
            }
            TypeKind::Fun { params, result } => {
                out.push_str("fun(");
                self.annotations(&program[params], out);
                out.push(')');
                if let Some(result) = result {
                    out.push_str(": ");
                    self.annotation(result, out);
                }
            }
            TypeKind::Struct(fields) => {
                out.push('{');
                for (index, field) in program[fields].iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(&self.names[field.name.name]);
                    out.push_str(": ");
                    self.annotation(field.ty, out);
                }
                out.push('}');
            }
            TypeKind::Optional(inner) => {
                self.annotation(inner, out);
                out.push('?');
            }
        }
    }

    fn annotations(&self, types: &[TypeId], out: &mut String) {
        for (index, &ty) in types.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            self.annotation(ty, out);
        }
    }

    fn text(&self, id: TyId) -> String {
        let (program, resolution) = (self.generator.program, self.generator.resolution);
        let _ = program;
        self.types.text(id, resolution, self.names)
    }
}

impl Types {
    /// A type as a program would write it.
    pub fn text(&self, id: TyId, resolution: &crate::resolve::Resolution, names: &Interner) -> String {
        let text = |id| self.text(id, resolution, names);
        let ty = self.get(id);
        let plain = match ty.kind {
            TyKind::Any => return "any".to_string(),
            TyKind::Null => return "none".to_string(),
            TyKind::Int => "int".to_string(),
            TyKind::Float => "float".to_string(),
            TyKind::Bool => "bool".to_string(),
            TyKind::String => "string".to_string(),
            TyKind::BigInt => "bigint".to_string(),
            TyKind::BigRat => "bigrat".to_string(),
            TyKind::List(elem) => format!("list<{}>", text(elem)),
            TyKind::Map(key, value) => format!("map<{}, {}>", text(key), text(value)),
            TyKind::Struct(of) => names[resolution.structs[of.index()].name].to_string(),
            TyKind::Union(of) => names[resolution.unions[of.index()].name].to_string(),
            TyKind::Fun(params, result) => {
                let params: Vec<String> = self.params(params).iter().map(|&id| text(id)).collect();
                format!("fun({}): {}", params.join(", "), text(result))
            }
        };
        if ty.nullable { format!("{plain}?") } else { plain }
    }
}
