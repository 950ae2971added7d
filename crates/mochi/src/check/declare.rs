//! Type declarations, signatures of functions, and annotations.

use crate::builtins::{self, Info};
use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    BindId, ExternKind, FieldDecl, FunId, List, Name, StmtId, StmtKind, TypeDeclId, TypeDeclKind, TypeId,
    TypeKind,
};

use super::scope::TypeName;
use super::types::{FunEffects, FunTy, Kind, StructId, Ty, VarId};
use super::{Check, Checker, Returns, stop};

/// Types without parts that have a name.
const BUILTIN_TYPES: &[(&str, Ty)] = &[
    ("int", Ty::INT),
    ("int64", Ty::INT64),
    ("float", Ty::FLOAT),
    ("bigint", Ty::BIGINT),
    ("bigrat", Ty::BIGRAT),
    ("string", Ty::STR),
    ("bool", Ty::BOOL),
    ("unit", Ty::UNIT),
    ("any", Ty::ANY),
];

/// How far an alias is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    New,
    Open,
    Done,
}

struct Alias {
    name: Name,
    ty: TypeId,
    /// Its statement's position in the block.
    at: usize,
    progress: Progress,
}

impl Checker<'_> {
    /// Makes the types that statements declare known: their names, aliases, fields and constructors. `top`: whether they
    /// are the statements of the top level.
    pub(super) fn declare_types(&mut self, stmts: &[StmtId], top: bool) {
        let ast = self.ast;
        let mut aliases = Vec::new();
        for (at, &stmt) in stmts.iter().enumerate() {
            match ast[stmt].kind {
                StmtKind::Type(id) => {
                    let decl = &ast[id];
                    let name = decl.name.name;
                    match decl.kind {
                        TypeDeclKind::Struct { .. } => {
                            self.new_struct(name);
                        }
                        TypeDeclKind::Union(variants) => {
                            let union = self.types.new_union(name);
                            for variant in &ast[variants] {
                                let id = self.new_struct(variant.name.name);
                                self.types.add_variant(union, id);
                            }
                            let ty = self.types.union_ty(union);
                            self.scope.name_type(name, TypeName::Ty(ty));
                        }
                        TypeDeclKind::Alias(ty) => {
                            self.scope.name_type(name, TypeName::Alias(aliases.len()));
                            aliases.push(Alias { name, ty, at, progress: Progress::New });
                        }
                    }
                }
                StmtKind::Stream { name, .. } => {
                    self.new_struct(name.name);
                }
                StmtKind::Agent { name, .. } => {
                    let id = self.new_struct(name.name);
                    self.types.make_fields_optional(id);
                }
                StmtKind::Extern(id) => {
                    let decl = &ast[id];
                    if let (ExternKind::Type, [name]) = (decl.kind, &ast[decl.path]) {
                        self.scope.name_type(name.name, TypeName::Ty(Ty::ANY));
                    }
                }
                _ => {}
            }
        }
        self.resolve_aliases(&mut aliases, top);
        for (at, &stmt) in stmts.iter().enumerate() {
            self.current = if top { at } else { self.current };
            match ast[stmt].kind {
                StmtKind::Type(id) => self.declare_fields(id),
                StmtKind::Stream { name, fields } => {
                    let id = self.scope.constructor(name.name).expect("the name was declared above");
                    let fields = self.fields(fields);
                    self.types.set_members(id, fields, Vec::new());
                }
                StmtKind::Agent { name, body } => self.declare_agent(name.name, &ast[body.stmts]),
                _ => {}
            }
        }
    }

    fn new_struct(&mut self, name: Name) -> StructId {
        let id = self.types.new_struct(name);
        let ty = self.types.struct_ty(id);
        self.scope.name_type(name, TypeName::Ty(ty));
        self.scope.name_constructor(name, id);
        id
    }

    /// Finds out what aliases stand for. They may refer to each other in any order, over any number of steps, so this is
    /// a depth-first search with a stack of its own.
    fn resolve_aliases(&mut self, aliases: &mut [Alias], top: bool) {
        for first in 0..aliases.len() {
            let mut open = vec![first];
            while let Some(&at) = open.last() {
                match aliases[at].progress {
                    Progress::Done => {
                        open.pop();
                    }
                    Progress::New => {
                        aliases[at].progress = Progress::Open;
                        self.push_alias_needs(aliases[at].ty, aliases, &mut open);
                    }
                    Progress::Open => {
                        self.current = if top { aliases[at].at } else { self.current };
                        let ty = self.resolve(aliases[at].ty);
                        self.scope.name_type(aliases[at].name, TypeName::Ty(ty));
                        aliases[at].progress = Progress::Done;
                        open.pop();
                    }
                }
            }
        }
    }

    /// Adds the new aliases that occur in an annotation.
    fn push_alias_needs(&self, id: TypeId, aliases: &[Alias], out: &mut Vec<usize>) {
        match self.ast[id].kind {
            TypeKind::Error => {}
            TypeKind::Name(name) => {
                if let Some(TypeName::Alias(at)) = self.scope.type_name(name)
                    && aliases
                        .get(at)
                        .is_some_and(|alias| alias.progress == Progress::New && alias.name == name)
                {
                    out.push(at);
                }
            }
            TypeKind::Generic { args, .. } => {
                self.ast[args].iter().for_each(|&arg| self.push_alias_needs(arg, aliases, out));
            }
            TypeKind::Fun { params, result } => {
                self.ast[params]
                    .iter()
                    .chain(&result)
                    .for_each(|&part| self.push_alias_needs(part, aliases, out));
            }
            TypeKind::Struct(fields) => {
                self.ast[fields].iter().for_each(|field| self.push_alias_needs(field.ty, aliases, out));
            }
            TypeKind::Optional(inner) => self.push_alias_needs(inner, aliases, out),
        }
    }

    fn fields(&mut self, fields: List<FieldDecl>) -> Vec<(Name, Ty)> {
        let ast = self.ast;
        ast[fields].iter().map(|field| (field.name.name, self.resolve(field.ty))).collect()
    }

    /// Fills in the fields of a declared type and makes its constructors known.
    fn declare_fields(&mut self, id: TypeDeclId) {
        let ast = self.ast;
        let name = ast[id].name.name;
        match ast[id].kind {
            TypeDeclKind::Alias(_) => {}
            TypeDeclKind::Struct { fields, .. } => {
                // Several declarations of one name share the last one's struct.
                if let Some(id) = self.scope.constructor(name) {
                    let fields = self.fields(fields);
                    self.types.set_members(id, fields, Vec::new());
                }
            }
            TypeDeclKind::Union(variants) => {
                let Some(TypeName::Ty(union)) = self.scope.type_name(name) else { return };
                for variant in &ast[variants] {
                    let name = variant.name.name;
                    let Some(id) = self.scope.constructor(name) else { continue };
                    let fields = self.fields(variant.fields);
                    let params: Vec<Ty> = fields.iter().map(|&(_, ty)| ty).collect();
                    self.types.set_members(id, fields, Vec::new());
                    let ty = if params.is_empty() { union } else { self.types.plain_fun(&params, union) };
                    self.scope.bind(name, ty, false);
                }
            }
        }
    }

    fn declare_agent(&mut self, name: Name, body: &[StmtId]) {
        let ast = self.ast;
        let Some(id) = self.scope.constructor(name) else { return };
        let (mut fields, mut methods) = (Vec::new(), Vec::new());
        for &stmt in body {
            match ast[stmt].kind {
                StmtKind::Let { bind, .. } => {
                    let ty = ast[bind].ty.map_or(Ty::ANY, |ty| self.resolve(ty));
                    fields.push((ast[bind].name, ty));
                }
                StmtKind::Intent(fun) => {
                    if let Some(bind) = ast[fun].bind {
                        methods.push((ast[bind].name, self.signature(fun, Ty::ANY)));
                    }
                }
                _ => {}
            }
        }
        self.types.set_members(id, fields, methods);
    }

    /// Makes the functions known that statements of the top level declare.
    pub(super) fn declare_functions(&mut self, stmts: &[StmtId]) {
        let ast = self.ast;
        for (at, &stmt) in stmts.iter().enumerate() {
            if let StmtKind::Fun(id) = ast[stmt].kind
                && let Some(bind) = ast[id].bind
            {
                self.current = at;
                self.check_effects(id, ast[stmt].span);
                let ty = self.signature(id, Ty::UNIT);
                self.scope.bind(ast[bind].name, ty, false);
            }
        }
    }

    /// Compares the effects that a function declares with those that it has.
    pub(super) fn check_effects(&mut self, id: FunId, place: Span) {
        let ast = self.ast;
        let fun = &ast[id];
        let labels = &ast[fun.effects];
        let Some(&first) = labels.first() else { return };
        for label in labels {
            if builtins::Effects::from_label(self.text_of(label.name)).is_none() {
                let message = format!("there is no effect `{}`", self.text_of(label.name));
                let diagnostic = Diagnostic::error(Code::T064, place, message);
                return self.report(diagnostic.with_label(label.span, "this is no effect"));
            }
        }
        let declared = super::effects::declared_effects(ast, self.names, id);
        let extra = self.effects[id.index()].body.effects.minus(declared);
        if !extra.is_pure() {
            let who = fun
                .bind
                .map_or("this function".to_owned(), |bind| format!("`{}`", self.text_of(ast[bind].name)));
            let message =
                format!("{who} declares only {} but also has the effect {}", declared.text(), extra.text());
            let diagnostic = Diagnostic::error(Code::T065, place, message);
            self.report(diagnostic.with_label(first.span, "the declared effects"));
        }
    }

    /// The type parameters of a function, under their names until the end of the scope.
    pub(super) fn enter_generics(&mut self, id: FunId) -> Box<[VarId]> {
        let ast = self.ast;
        let names = &ast[ast[id].type_params];
        if names.is_empty() {
            return Box::default();
        }
        let vars = match self.generics.get(&id) {
            Some(vars) => vars.clone(),
            None => {
                let vars: Box<[VarId]> =
                    names.iter().map(|name| self.types.new_var(Some(name.name))).collect();
                self.generics.insert(id, vars.clone());
                vars
            }
        };
        for (name, &var) in names.iter().zip(&vars) {
            let ty = self.types.var_ty(var);
            self.scope.name_type(name.name, TypeName::Ty(ty));
        }
        vars
    }

    /// Type of a parameter.
    pub(super) fn param_type(&mut self, id: BindId) -> Ty {
        if let Some(ty) = self.param_types[id.index()] {
            return ty;
        }
        let ty = self.ast[id].ty.map_or(Ty::ANY, |ty| self.resolve(ty));
        self.param_types[id.index()] = Some(ty);
        ty
    }

    /// Declared type of a function's result.
    pub(super) fn result_type(&mut self, id: FunId) -> Option<Ty> {
        if self.result_types[id.index()].is_none() {
            self.result_types[id.index()] = self.ast[id].result.map(|ty| self.resolve(ty));
        }
        self.result_types[id.index()]
    }

    /// Type of a declared function; `missing` is that of a result without annotation.
    pub(super) fn signature(&mut self, id: FunId, missing: Ty) -> Ty {
        let ast = self.ast;
        let mark = self.scope.enter();
        let generics = self.enter_generics(id);
        let params = ast[ast[id].params].iter().map(|&bind| self.param_type(bind)).collect();
        let result = self.result_type(id).unwrap_or(missing);
        self.scope.leave(mark);
        let effects = self.effects[id.index()].published;
        self.types.fun(FunTy { params, rest: None, result, effects, generics })
    }

    /// Makes the signatures of methods known, once the fields of all types are.
    pub(super) fn declare_methods(&mut self, stmts: &[StmtId], top: bool) {
        let ast = self.ast;
        for (at, &stmt) in stmts.iter().enumerate() {
            self.current = if top { at } else { self.current };
            if let StmtKind::Type(id) = ast[stmt].kind
                && let TypeDeclKind::Struct { methods, .. } = ast[id].kind
                && let Some(target) = self.scope.constructor(ast[id].name.name)
            {
                let types = ast[methods].iter().filter_map(|&method| {
                    let ty = self.method_signature(method);
                    ast[method].bind.map(|bind| (ast[bind].name, ty))
                });
                let types = types.collect();
                let fields = self.types.struct_info(target).fields.clone();
                self.types.set_members(target, fields, types);
            }
        }
    }

    fn method_signature(&mut self, id: FunId) -> Ty {
        let ast = self.ast;
        let fun = &ast[id];
        if let Some(&param) = ast[fun.params].iter().find(|&&param| ast[param].ty.is_none()) {
            let message =
                format!("the parameter `{}` of a method needs a type", self.text_of(ast[param].name));
            let diagnostic = Diagnostic::error(Code::T005, fun.span, message);
            self.report(diagnostic.with_label(ast[param].span, "which type?"));
        }
        self.signature(id, Ty::UNIT)
    }

    /// Checks the bodies of a type's methods, which see fields and sibling methods as variables.
    pub(super) fn check_methods(&mut self, id: TypeDeclId) -> Check<()> {
        let ast = self.ast;
        let TypeDeclKind::Struct { methods, .. } = ast[id].kind else { return Ok(()) };
        let Some(target) = self.scope.constructor(ast[id].name.name).filter(|_| !methods.is_empty()) else {
            return Ok(());
        };
        let mark = self.scope.enter();
        let info = self.types.struct_info(target);
        for &(name, ty) in info.fields.iter().chain(&info.methods) {
            self.scope.bind(name, ty, true);
        }
        for &method in &ast[methods] {
            self.check_effects(method, ast[method].span);
            let result = self.result_type(method).unwrap_or(Ty::UNIT);
            self.fun_body(method, Returns::Declared(result))?;
        }
        self.scope.leave(mark);
        Ok(())
    }

    /// The type that an annotation names.
    pub(super) fn resolve(&mut self, id: TypeId) -> Ty {
        let ast = self.ast;
        match ast[id].kind {
            TypeKind::Error => Ty::POISON,
            TypeKind::Name(name) => self.resolve_name(name, ast[id].span),
            TypeKind::Generic { name, args } => {
                let args = &ast[args];
                let expected = match self.text_of(name.name) {
                    "list" => 1,
                    "map" => 2,
                    // Upstream knows no other generic types and takes them for `any`.
                    _ => return Ty::ANY,
                };
                if args.len() != expected {
                    let plural = if expected == 1 { "" } else { "s" };
                    let name = self.text_of(name.name);
                    let message =
                        format!("`{name}` takes {expected} type argument{plural}, not {}", args.len());
                    self.report(Diagnostic::error(Code::T049, ast[id].span, message));
                    return self.unknown();
                }
                match *args {
                    [element] => {
                        let element = self.resolve(element);
                        self.types.list(element)
                    }
                    [key, value] => {
                        let (key, value) = (self.resolve(key), self.resolve(value));
                        self.types.map(key, value)
                    }
                    _ => Ty::ANY,
                }
            }
            TypeKind::Fun { params, result } => {
                let params: Vec<Ty> = ast[params].iter().map(|&param| self.resolve(param)).collect();
                let result = result.map_or(Ty::UNIT, |result| self.resolve(result));
                self.types.plain_fun(&params, result)
            }
            TypeKind::Struct(fields) => {
                let fields = self.fields(fields);
                self.types.inline(fields)
            }
            TypeKind::Optional(inner) => {
                let inner = self.resolve(inner);
                self.types.option(inner)
            }
        }
    }

    /// What stands for a type that could not be found.
    fn unknown(&self) -> Ty {
        if self.strict() { Ty::ANY } else { Ty::POISON }
    }

    fn resolve_name(&mut self, name: Name, span: Span) -> Ty {
        let text = self.text_of(name);
        if let Some(&(_, ty)) = BUILTIN_TYPES.iter().find(|&&(known, _)| known == text) {
            return ty;
        }
        match self.scope.type_name(name) {
            Some(TypeName::Ty(ty)) => return ty,
            Some(TypeName::Alias(_)) => {
                let message = format!("the type `{text}` refers to itself");
                self.report(Diagnostic::error(Code::T025, span, message).with_help("spell the type out"));
                return self.unknown();
            }
            None => {}
        }
        if let [b'A'..=b'Z'] = text.as_bytes() {
            return Ty::ANY;
        }
        let mut diagnostic = Diagnostic::error(Code::T025, span, format!("there is no type `{text}`"));
        if text == "void" {
            diagnostic = diagnostic.with_help("leave the result type out, or write `unit`");
        } else {
            let declared = self.scope.type_names().map(|name| self.text_of(name));
            let builtin = BUILTIN_TYPES.iter().map(|&(text, _)| text);
            diagnostic = self.suggest(diagnostic, name, declared.chain(builtin));
        }
        self.report(diagnostic);
        self.unknown()
    }

    /// The type of a builtin function, from its signature.
    pub(super) fn builtin_type(&mut self, info: &Info) -> Ty {
        let generics: Box<[VarId]> =
            if info.is_generic() { [0, 1].map(|_| self.types.new_var(None)).into() } else { Box::default() };
        let params = info.params.iter().map(|&param| self.signature_type(param, &generics)).collect();
        let rest = info.rest.map(|rest| self.signature_type(rest, &generics));
        let result = self.signature_type(info.result, &generics);
        let effects = FunEffects { effects: info.effects, assigns: info.builtin == builtins::Builtin::Eval };
        self.types.fun(FunTy { params, rest, result, effects, generics })
    }

    fn signature_type(&mut self, ty: builtins::Ty, generics: &[VarId]) -> Ty {
        match ty {
            builtins::Ty::Any => Ty::ANY,
            builtins::Ty::Unit => Ty::UNIT,
            builtins::Ty::Bool => Ty::BOOL,
            builtins::Ty::Int => Ty::INT,
            builtins::Ty::Int64 => Ty::INT64,
            builtins::Ty::Float => Ty::FLOAT,
            builtins::Ty::BigInt => Ty::BIGINT,
            builtins::Ty::Str => Ty::STR,
            builtins::Ty::Var(number) => self.types.var_ty(generics[number as usize]),
            builtins::Ty::List(element) => {
                let element = self.signature_type(*element, generics);
                self.types.list(element)
            }
            builtins::Ty::Map(key, value) => {
                let (key, value) =
                    (self.signature_type(*key, generics), self.signature_type(*value, generics));
                self.types.map(key, value)
            }
            builtins::Ty::Option(payload) => {
                let payload = self.signature_type(*payload, generics);
                self.types.option(payload)
            }
            builtins::Ty::Fun(params, result) => {
                let params: Vec<Ty> =
                    params.iter().map(|&param| self.signature_type(param, generics)).collect();
                let result = self.signature_type(*result, generics);
                self.types.plain_fun(&params, result)
            }
        }
    }

    /// The struct that a type is, for errors about fields.
    pub(super) fn as_struct(&self, ty: Ty) -> Option<StructId> {
        match self.types.kind(ty) {
            Kind::Struct(id) => Some(id),
            _ => None,
        }
    }

    /// The error about a field that a struct does not have.
    pub(super) fn unknown_field<T>(&self, place: Span, field: Name, ty: Ty) -> Check<T> {
        let message = format!("{} has no field `{}`", self.show(ty), self.text_of(field));
        let members: Vec<Name> = match self.types.kind(ty) {
            Kind::Struct(id) => {
                let info = self.types.struct_info(id);
                info.fields.iter().chain(&info.methods).map(|&(name, _)| name).collect()
            }
            Kind::Inline(id) => self.types.inline_fields(id).iter().map(|&(name, _)| name).collect(),
            _ => Vec::new(),
        };
        stop(self.suggest(
            Diagnostic::error(Code::T026, place, message),
            field,
            members.into_iter().map(|name| self.text_of(name)),
        ))
    }
}
