//! The walk over the tree that resolves names.
//!
//! One pass in source order. The variables that are visible at a point are a chain per name, nearest first; leaving
//! a scope cuts the chains back. What depends on uses further down (globals, captures by copy or by box, functions that a
//! variable always holds) is settled in [`Walker::finish`].

use std::collections::{HashMap, HashSet};

use super::{
    BindInfo, BindSource, CallNames, CtorId, CtorInfo, FunInfo, Resolution, Resolved, Storage, StructId,
    StructInfo, TypeName, UnionId, UnionInfo, UpdateInfo, builtin_names,
};
use crate::source::Span;
use crate::syntax::ast::{
    BindId, BindKind, Block, Body, ExprId, ExprKind, ExternId, FunId, FunKind, Ident, ImportId, Interner,
    MapEntry, MapKey, Name, PatId, PatternKind, Program, StmtId, StmtKind, TypeDeclKind, TypeId, TypeKind,
};
use crate::syntax::walk::{Node, push_children};

/// Resolves the names of a program. Interns the names of the builtins.
pub fn resolve(program: &Program, names: &mut Interner) -> Resolution {
    let builtins = builtin_names(program, names);
    let first = Walker::new(program, names.len(), builtins, HashSet::new()).program();
    if first.reassigned.is_empty() {
        return first.finish();
    }
    // Which functions are variables decides what names mean, and is known only now.
    let builtins = builtin_names(program, names);
    Walker::new(program, names.len(), builtins, first.reassigned).program().finish()
}

/// A visible variable.
#[derive(Clone, Copy)]
struct Entry {
    bind: BindId,
    /// The next entry of the same name, further out.
    outer: Option<u32>,
}

/// What running the top level, or calling a function of the top level, may do to globals, in order.
#[derive(Clone, Copy)]
enum Event {
    /// A declaration of the top level has run.
    Declare(BindId),
    /// A function is mentioned and so may be called from then on.
    Mention(FunId),
    /// A field is read that may be a method.
    MentionMethod(Name),
    /// A variable of the top level is used inside a function.
    Read(BindId),
    /// A variable of the top level is called inside a function, if it holds a function.
    Call(BindId),
}

struct Walker<'p> {
    program: &'p Program,
    out: Resolution,
    heads: Vec<Option<u32>>,
    entries: Vec<Entry>,
    undo: Vec<(Name, Option<u32>)>,
    depth: u32,
    fun: Option<FunId>,
    method: Option<(StructId, FunId)>,
    /// The first variable of each name that the top level declares outside of blocks.
    top: HashMap<Name, BindId>,
    is_top: Vec<bool>,
    /// Those of `top` that a function uses.
    global: HashSet<BindId>,
    imports: HashMap<BindId, ImportId>,
    externs: HashMap<BindId, ExternId>,
    used: Vec<bool>,
    captures: HashSet<(FunId, BindId)>,
    assigned: Vec<(BindId, u32)>,
    lambdas: Vec<(BindId, FunId)>,
    /// The struct of the first element of the list literal that a variable begins with.
    list_literals: HashMap<BindId, StructId>,
    methods: HashMap<Name, Vec<FunId>>,
    /// The top-level function or method that the walk is in.
    unit: Option<FunId>,
    /// Names of top-level functions that are variables, as the program assigns them.
    variables: HashSet<Name>,
    /// Names of top-level functions that were found to be assigned.
    reassigned: HashSet<Name>,
    main_events: Vec<Event>,
    unit_events: HashMap<FunId, Vec<Event>>,
}

impl<'p> Walker<'p> {
    fn new(
        program: &'p Program,
        name_count: usize,
        builtins: HashMap<Name, crate::builtins::Builtin>,
        variables: HashSet<Name>,
    ) -> Walker<'p> {
        let binds = program.binds.iter().map(|bind| BindInfo {
            name: bind.name,
            span: bind.span,
            kind: bind.kind,
            source: BindSource::Tree,
            ty: bind.ty,
            fun: bind.fun,
            storage: Storage::Register,
            captured: false,
            assignments: 0,
            assigned_inside: false,
            read_early: false,
            called_early: false,
            known_fun: None,
        });
        let out = Resolution {
            names: vec![Resolved::Undeclared; program.exprs.len()],
            calls: vec![0; program.exprs.len()],
            patterns: vec![Resolved::Undeclared; program.patterns.len()],
            binds: binds.collect(),
            funs: vec![FunInfo::default(); program.funs.len()],
            builtins,
            ..Resolution::default()
        };
        let by_bind =
            |(index, import): (usize, &crate::syntax::ast::Import)| (import.bind, ImportId::new(index));
        Walker {
            program,
            out,
            heads: vec![None; name_count],
            entries: Vec::new(),
            undo: Vec::new(),
            depth: 0,
            fun: None,
            method: None,
            top: HashMap::new(),
            is_top: vec![false; program.binds.len()],
            global: HashSet::new(),
            imports: program.imports.iter().enumerate().map(by_bind).collect(),
            externs: (program.externs.iter().enumerate())
                .filter_map(|(index, item)| Some((item.bind?, ExternId::new(index))))
                .collect(),
            used: vec![false; program.binds.len()],
            captures: HashSet::new(),
            assigned: Vec::new(),
            lambdas: Vec::new(),
            list_literals: HashMap::new(),
            methods: HashMap::new(),
            unit: None,
            variables,
            reassigned: HashSet::new(),
            main_events: Vec::new(),
            unit_events: HashMap::new(),
        }
    }

    /// Walks over everything.
    fn program(mut self) -> Walker<'p> {
        self.declare_types();
        self.declare_top_level();
        for &stmt in &self.program[self.program.body.stmts] {
            self.stmt(stmt);
        }
        self
    }

    /// Type declarations count everywhere, wherever they stand.
    fn declare_types(&mut self) {
        for (index, decl) in self.program.type_decls.iter().enumerate() {
            let id = crate::syntax::ast::TypeDeclId::new(index);
            let name = decl.name.name;
            match decl.kind {
                TypeDeclKind::Struct { fields, methods } => {
                    let of = StructId(self.out.structs.len() as u32);
                    let mut list = Vec::with_capacity(methods.len());
                    for &method in &self.program[methods] {
                        self.out.funs[method.index()].method_of = Some(of);
                        if let Some(bind) = self.program[method].bind {
                            let name = self.program.bind_name(bind);
                            list.push((name, method));
                            self.methods.entry(name).or_default().push(method);
                        }
                    }
                    let span = decl.span;
                    self.out.structs.push(StructInfo { name, decl: Some(id), fields, methods: list, span });
                    self.out.types.insert(name, TypeName::Struct(of));
                }
                TypeDeclKind::Union(variants) => {
                    let union = UnionId(self.out.unions.len() as u32);
                    let mut ctors = Vec::with_capacity(variants.len());
                    for variant in &self.program[variants] {
                        let ctor = CtorId(self.out.ctors.len() as u32);
                        let (name, fields, span) = (variant.name.name, variant.fields, variant.span);
                        self.out.ctors.push(CtorInfo { name, union, fields, span });
                        self.out.ctor_names.insert(name, ctor);
                        ctors.push(ctor);
                    }
                    self.out.unions.push(UnionInfo { name, decl: id, ctors });
                    self.out.types.insert(name, TypeName::Union(union));
                }
                TypeDeclKind::Alias(ty) => {
                    self.out.types.insert(name, TypeName::Alias(ty));
                }
            }
        }
        for stmt in &self.program.stmts {
            if let StmtKind::Stream { name, fields } = stmt.kind {
                let id = StructId(self.out.structs.len() as u32);
                let span = stmt.span;
                self.out.structs.push(StructInfo {
                    name: name.name,
                    decl: None,
                    fields,
                    methods: Vec::new(),
                    span,
                });
                self.out.types.entry(name.name).or_insert(TypeName::Struct(id));
            }
        }
    }

    fn declare_top_level(&mut self) {
        for &stmt in &self.program[self.program.body.stmts] {
            let bind = match self.program[stmt].kind {
                StmtKind::Fun(fun) => {
                    let bind = self.program[fun].bind;
                    let name = bind.map(|bind| self.program.bind_name(bind));
                    if let (Some(bind), Some(name)) = (bind, name)
                        && self.variables.contains(&name)
                    {
                        // It has its function before anything runs.
                        self.is_top[bind.index()] = true;
                        self.top.entry(name).or_insert(bind);
                        self.out.binds[bind.index()].known_fun = Some(fun);
                        self.declare(bind);
                        continue;
                    }
                    self.out.funs[fun.index()].top_level = true;
                    if let Some(name) = name {
                        self.out.functions.insert(name, fun);
                    }
                    continue;
                }
                StmtKind::Let { bind, .. } | StmtKind::Fetch { bind, .. } => bind,
                StmtKind::Import(import) => self.program[import].bind,
                StmtKind::Extern(item) => match self.program[item].bind {
                    Some(bind) => bind,
                    None => continue,
                },
                _ => continue,
            };
            self.is_top[bind.index()] = true;
            self.top.entry(self.program.bind_name(bind)).or_insert(bind);
        }
    }

    // ---- Scopes ----

    fn open(&mut self) -> usize {
        self.depth += 1;
        self.undo.len()
    }

    fn close(&mut self, mark: usize) {
        self.depth -= 1;
        while self.undo.len() > mark {
            let (name, head) = self.undo.pop().expect("longer than the mark");
            self.heads[name.index()] = head;
        }
    }

    fn declare(&mut self, bind: BindId) {
        let name = self.out.binds[bind.index()].name;
        let outer = self.heads[name.index()];
        self.undo.push((name, outer));
        self.heads[name.index()] = Some(self.entries.len() as u32);
        self.entries.push(Entry { bind, outer });
        if self.is_top[bind.index()] {
            let first = self.top[&name];
            self.event(Event::Declare(first));
        }
    }

    fn made_up(&mut self, name: Ident, source: BindSource, ty: TypeId) -> BindId {
        self.param(name.name, name.span, source, Some(ty))
    }

    /// The variable of a method's receiver, which has no name.
    fn receiver(&mut self, of: StructId) -> BindId {
        let info = &self.out.structs[of.index()];
        self.param(info.name, info.span, BindSource::Receiver { of }, None)
    }

    /// A parameter of the current function that no program names.
    fn param(&mut self, name: Name, span: Span, source: BindSource, ty: Option<TypeId>) -> BindId {
        let bind = BindId::new(self.out.binds.len());
        self.out.binds.push(BindInfo {
            name,
            span,
            kind: BindKind::Param,
            source,
            ty,
            fun: self.fun,
            storage: Storage::Register,
            captured: false,
            assignments: 0,
            assigned_inside: false,
            read_early: false,
            called_early: false,
            known_fun: None,
        });
        self.is_top.push(false);
        self.used.push(false);
        bind
    }

    /// Notes that the current function uses a method's receiver to get at a sibling.
    fn touch_receiver(&mut self) {
        if let Some((_, method)) = self.method
            && let Some(bind) = self.out.funs[method.index()].receiver
        {
            self.touch(bind);
        }
    }

    fn event(&mut self, event: Event) {
        match self.unit {
            None => self.main_events.push(event),
            Some(unit) => self.unit_events.entry(unit).or_default().push(event),
        }
    }

    /// Notes that the current function uses a variable.
    fn touch(&mut self, bind: BindId) {
        self.touch_by(bind, Event::Read);
    }

    fn touch_by(&mut self, bind: BindId, event: fn(BindId) -> Event) {
        self.used[bind.index()] = true;
        let owner = self.out.binds[bind.index()].fun;
        if owner == self.fun {
            return;
        }
        if self.is_top[bind.index()] {
            let first = self.top[&self.out.binds[bind.index()].name];
            self.global.insert(first);
            self.event(event(first));
            return;
        }
        self.out.binds[bind.index()].captured = true;
        let mut fun = self.fun;
        while let Some(id) = fun
            && fun != owner
        {
            if !self.captures.insert((id, bind)) {
                break;
            }
            self.out.funs[id.index()].captures.push(bind);
            fun = self.program[id].parent;
        }
    }

    /// The nearest variable of a name that is not one of the top level, then a sibling method, then one of the top level.
    fn variable(&self, name: Name) -> Option<Resolved> {
        let nearest = self.heads[name.index()].map(|entry| self.entries[entry as usize].bind);
        if let Some(bind) = nearest
            && !self.is_top[bind.index()]
        {
            return Some(Resolved::Bind(bind));
        }
        if let Some((of, _)) = self.method
            && let Some(method) = self.out.method(of, name)
        {
            return Some(Resolved::Method(method));
        }
        match (nearest, self.fun) {
            (Some(bind), _) => Some(Resolved::Bind(bind)),
            (None, Some(_)) => self.top.get(&name).map(|&bind| Resolved::Bind(bind)),
            (None, None) => None,
        }
    }

    /// What a name means where no variable has it.
    fn no_variable(&self, name: Name) -> Resolved {
        if let Some(&fun) = self.out.functions.get(&name) {
            return Resolved::Function(fun);
        }
        if let Some(&ctor) = self.out.ctor_names.get(&name) {
            return Resolved::Variant(ctor);
        }
        if let Some(&TypeName::Struct(of)) = self.out.types.get(&name)
            && self.out.structs[of.index()].fields.is_empty()
        {
            return Resolved::Struct(of);
        }
        self.out.builtin(name).map_or(Resolved::Undeclared, Resolved::Builtin)
    }

    /// Imports and extern declarations are no variables.
    fn declared(&self, bind: BindId) -> Resolved {
        match self.program.binds.get(bind.index()).map(|bind| bind.kind) {
            Some(BindKind::Import) => Resolved::Module(self.imports[&bind]),
            Some(BindKind::Extern) => {
                self.externs.get(&bind).map_or(Resolved::Undeclared, |&id| Resolved::Extern(id))
            }
            _ => Resolved::Bind(bind),
        }
    }

    fn is_inside(&self, fun: FunId) -> bool {
        let mut current = self.fun;
        while let Some(id) = current {
            if id == fun {
                return true;
            }
            current = self.program[id].parent;
        }
        false
    }

    fn mention(&mut self, fun: FunId, as_value: bool) {
        self.event(Event::Mention(fun));
        let inside = self.is_inside(fun);
        let info = &mut self.out.funs[fun.index()];
        info.used_as_value |= as_value;
        info.recursive |= inside;
    }

    fn fun_of_bind(&self, bind: BindId) -> Option<FunId> {
        let info = &self.out.binds[bind.index()];
        if info.kind != BindKind::Fun { None } else { info.known_fun }
    }

    fn use_name(&mut self, name: Name) -> Resolved {
        let resolved = match self.variable(name) {
            Some(Resolved::Bind(bind)) => self.declared(bind),
            Some(other) => other,
            None => self.no_variable(name),
        };
        match resolved {
            Resolved::Bind(bind) => {
                self.touch(bind);
                if let Some(fun) = self.fun_of_bind(bind) {
                    self.mention(fun, true);
                }
            }
            Resolved::Function(fun) => self.mention(fun, true),
            Resolved::Method(fun) => {
                self.touch_receiver();
                self.mention(fun, true);
            }
            _ => {}
        }
        resolved
    }

    fn use_callee(&mut self, callee: ExprId, name: Name) {
        let start = self.out.candidates.len() as u32;
        let mut otherwise = None;
        let mut next = self.heads[name.index()];
        let mut seen_method = self.method.is_none();
        while let Some(entry) = next {
            let Entry { bind, outer } = self.entries[entry as usize];
            next = outer;
            if !seen_method && self.is_top[bind.index()] {
                seen_method = true;
                otherwise = self.sibling(name);
                if otherwise.is_some() {
                    break;
                }
            }
            match self.declared(bind) {
                Resolved::Bind(_) => {
                    self.out.candidates.push(bind);
                    if self.out.binds[bind.index()].kind == BindKind::Fun {
                        // A nested function hides what is further out, unless it is assigned; that is settled later, and
                        // further candidates do no harm.
                        if let Some(fun) = self.fun_of_bind(bind) {
                            self.mention(fun, false);
                        }
                        break;
                    }
                }
                other => {
                    otherwise = Some(other);
                    break;
                }
            }
        }
        if otherwise.is_none() && !seen_method {
            otherwise = self.sibling(name);
        }
        if otherwise.is_none()
            && self.fun.is_some()
            && let Some(&bind) = self.top.get(&name)
            && !self.out.candidates[start as usize..].iter().any(|&known| self.is_top[known.index()])
        {
            match self.declared(bind) {
                Resolved::Bind(bind) => self.out.candidates.push(bind),
                other => otherwise = Some(other),
            }
        }
        let otherwise = otherwise.unwrap_or_else(|| self.no_variable(name));
        let otherwise =
            if matches!(otherwise, Resolved::Struct(_)) { Resolved::Undeclared } else { otherwise };
        for index in start as usize..self.out.candidates.len() {
            self.touch_by(self.out.candidates[index], Event::Call);
        }
        if let Resolved::Function(fun) | Resolved::Method(fun) = otherwise {
            self.mention(fun, false);
        }
        if matches!(otherwise, Resolved::Method(_)) {
            self.touch_receiver();
        }
        let variables = (start, self.out.candidates.len() as u32);
        self.out.call_names.push(CallNames { variables, otherwise });
        self.out.calls[callee.index()] = self.out.call_names.len() as u32;
    }

    fn sibling(&self, name: Name) -> Option<Resolved> {
        self.method.and_then(|(of, _)| self.out.method(of, name)).map(Resolved::Method)
    }

    // ---- Statements ----

    fn block(&mut self, block: Block) {
        let mark = self.open();
        for &stmt in &self.program[block.stmts] {
            self.stmt(stmt);
        }
        self.close(mark);
    }

    fn stmt(&mut self, id: StmtId) {
        match self.program[id].kind {
            StmtKind::Error
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Fact(_)
            | StmtKind::Rule { .. }
            | StmtKind::Stream { .. } => {}
            StmtKind::Let { bind, value } => {
                if let Some(value) = value {
                    self.expr(value);
                    if let ExprKind::Fun(fun) = self.program[value].kind {
                        self.lambdas.push((bind, fun));
                    }
                    self.note_list_literal(bind, value);
                }
                self.declare(bind);
            }
            StmtKind::Assign { target, value } => {
                self.target(target);
                self.expr(value);
            }
            StmtKind::Fun(fun) => {
                if self.depth > 0 {
                    self.nested_fun(fun);
                } else {
                    let outer = self.unit.replace(fun);
                    self.fun(fun);
                    self.unit = outer;
                }
            }
            StmtKind::Intent(fun) => self.nested_fun(fun),
            StmtKind::Return(value) => self.maybe(value),
            StmtKind::If { branches, otherwise } => {
                for branch in &self.program[branches] {
                    self.expr(branch.cond);
                    self.block(branch.body);
                }
                if let Some(block) = otherwise {
                    self.block(block);
                }
            }
            StmtKind::While { cond, body } => {
                self.expr(cond);
                self.block(body);
            }
            StmtKind::ForIn { bind, items, body } => {
                self.expr(items);
                self.scoped_block(bind, body);
            }
            StmtKind::ForRange { bind, start, end, body } => {
                self.expr(start);
                self.expr(end);
                self.scoped_block(bind, body);
            }
            StmtKind::Expr(value) | StmtKind::Expect(value) => self.expr(value),
            StmtKind::Test { body, .. } | StmtKind::Bench { body, .. } | StmtKind::Agent { body, .. } => {
                self.block(body)
            }
            StmtKind::Type(decl) => {
                if let TypeDeclKind::Struct { methods, .. } = self.program[decl].kind {
                    for &method in &self.program[methods] {
                        self.a_method(method);
                    }
                }
            }
            StmtKind::Import(import) => self.declare(self.program[import].bind),
            StmtKind::Extern(item) => {
                if let Some(bind) = self.program[item].bind {
                    self.declare(bind);
                }
            }
            StmtKind::Fetch { url, bind, with } => {
                self.expr(url);
                self.maybe(with);
                self.declare(bind);
            }
            StmtKind::Update { target, set, filter } => self.update(id, target, &self.program[set], filter),
            StmtKind::On { bind, body, .. } => self.scoped_block(bind, body),
            StmtKind::Emit { fields, .. } | StmtKind::Model { fields, .. } => {
                for field in &self.program[fields] {
                    self.expr(field.value);
                }
            }
        }
    }

    fn scoped_block(&mut self, bind: BindId, body: Block) {
        let mark = self.open();
        self.declare(bind);
        self.block(body);
        self.close(mark);
    }

    fn target(&mut self, target: ExprId) {
        let ExprKind::Name(name) = self.program[target].kind else {
            return self.expr(target);
        };
        let resolved = match self.variable(name) {
            Some(Resolved::Bind(bind)) => self.declared(bind),
            Some(other) => other,
            None => self.no_variable(name),
        };
        if let Resolved::Function(_) = resolved {
            self.reassigned.insert(name);
        }
        if let Resolved::Bind(bind) = resolved {
            self.touch(bind);
            self.assigned.push((bind, self.program[target].span.start));
            let fun = self.fun;
            let info = &mut self.out.binds[bind.index()];
            info.assignments += 1;
            info.assigned_inside |= info.fun != fun;
        }
        self.out.names[target.index()] = resolved;
    }

    fn nested_fun(&mut self, fun: FunId) {
        if let Some(bind) = self.program[fun].bind {
            self.out.binds[bind.index()].known_fun = Some(fun);
            self.declare(bind);
        }
        self.fun(fun);
    }

    fn a_method(&mut self, method: FunId) {
        let Some(of) = self.out.funs[method.index()].method_of else { return };
        let outer_unit = self.unit.replace(method);
        let outer = self.method.replace((of, method));
        let outer_fun = self.fun.replace(method);
        let mark = self.open();
        self.out.funs[method.index()].receiver = Some(self.receiver(of));
        let fields = self.program[self.out.structs[of.index()].fields].iter().enumerate();
        let binds: Vec<BindId> = fields
            .map(|(index, field)| {
                let source = BindSource::MethodField { method, of, field: index as u32 };
                let bind = self.made_up(field.name, source, field.ty);
                self.declare(bind);
                bind
            })
            .collect();
        self.fun(method);
        self.close(mark);
        self.fun = outer_fun;
        self.method = outer;
        self.unit = outer_unit;
        self.out.funs[method.index()].field_binds = self.keep_used(&binds);
    }

    fn keep_used(&self, binds: &[BindId]) -> Vec<Option<BindId>> {
        binds.iter().map(|&bind| self.used[bind.index()].then_some(bind)).collect()
    }

    fn fun(&mut self, id: FunId) {
        let fun = &self.program[id];
        let outer = self.fun.replace(id);
        let outer_method =
            if fun.kind == FunKind::Decl && self.unit == Some(id) { self.method.take() } else { self.method };
        let mark = self.open();
        for &param in &self.program[fun.params] {
            self.declare(param);
        }
        self.body(fun.body);
        self.close(mark);
        self.fun = outer;
        self.method = outer_method;
    }

    fn body(&mut self, body: Body) {
        match body {
            Body::Expr(value) => self.expr(value),
            Body::Block(block) => self.block(block),
        }
    }

    fn update(&mut self, id: StmtId, target: Ident, set: &[MapEntry], filter: Option<ExprId>) {
        let resolved = self.use_name(target.name);
        let of = self.updated_struct(resolved, set, filter);
        let mark = self.open();
        let mut binds = Vec::new();
        if let Some(of) = of {
            for (index, field) in self.program[self.out.structs[of.index()].fields].iter().enumerate() {
                let source = BindSource::UpdateField { stmt: id, of, field: index as u32 };
                let bind = self.made_up(field.name, source, field.ty);
                self.declare(bind);
                binds.push(bind);
            }
        }
        for entry in set {
            self.key(entry.key);
            self.expr(entry.value);
        }
        self.maybe(filter);
        self.close(mark);
        let field_binds = self.keep_used(&binds);
        self.out.updates.insert(id, UpdateInfo { target: resolved, of, field_binds });
    }

    /// The struct of the elements that `update` changes: what the annotation or the literal that the list begins with says, else that
    /// of those with all fields that are set of which most fields are mentioned. It decides which names are fields; what the
    /// elements are is known only when types are.
    fn updated_struct(&self, target: Resolved, set: &[MapEntry], filter: Option<ExprId>) -> Option<StructId> {
        if let Resolved::Bind(bind) = target {
            let annotated = self.out.binds[bind.index()].ty.and_then(|ty| self.element_struct(ty));
            if let Some(of) = annotated.or_else(|| self.list_literals.get(&bind).copied()) {
                return Some(of);
            }
        }
        let mut mentioned = Vec::new();
        let mut rest: Vec<Node> = set.iter().map(|entry| entry.value).chain(filter).map(Node::Expr).collect();
        while let Some(node) = rest.pop() {
            if let Node::Expr(id) = node {
                mentioned.extend(self.program.as_name(id));
            }
            push_children(self.program, node, &mut rest);
        }
        let is_field = |of: StructId, name| self.out.field_index(self.program, of, name).is_some();
        let has_all = |of: &StructId| {
            set.iter().all(|entry| self.program.key_name(entry.key).is_some_and(|name| is_field(*of, name)))
        };
        let mentions = |of: &StructId| mentioned.iter().filter(|&&name| is_field(*of, name)).count();
        // Of several with as many, the first.
        (0..self.out.structs.len() as u32).rev().map(StructId).filter(has_all).max_by_key(mentions)
    }

    /// The struct of the elements of a list type.
    fn element_struct(&self, ty: TypeId) -> Option<StructId> {
        let mut ty = ty;
        // An alias of an alias and so on; a ring of them is cut.
        for _ in 0..32 {
            match self.program[ty].kind {
                TypeKind::Optional(inner) => ty = inner,
                TypeKind::Name(name) => match self.out.types.get(&name) {
                    Some(&TypeName::Alias(of)) => ty = of,
                    _ => return None,
                },
                TypeKind::Generic { args, .. } => {
                    let &element = self.program[args].first()?;
                    let TypeKind::Name(name) = self.program[element].kind else { return None };
                    return match self.out.literal(self.program, name) {
                        Some(Resolved::Struct(of)) => Some(of),
                        _ => None,
                    };
                }
                _ => return None,
            }
        }
        None
    }

    /// Notes of which struct the first element of a list literal is.
    fn note_list_literal(&mut self, bind: BindId, value: ExprId) {
        if let ExprKind::List(items) = self.program[value].kind
            && let Some(&first) = self.program[items].first()
            && let ExprKind::Struct { name, .. } = self.program[first].kind
            && let Some(Resolved::Struct(of)) = self.out.literal(self.program, name.name)
        {
            self.list_literals.insert(bind, of);
        }
    }

    // ---- Expressions ----

    fn maybe(&mut self, id: Option<ExprId>) {
        if let Some(id) = id {
            self.expr(id);
        }
    }

    fn exprs(&mut self, ids: &[ExprId]) {
        for &id in ids {
            self.expr(id);
        }
    }

    fn key(&mut self, key: MapKey) {
        if let MapKey::Expr(key) = key {
            self.expr(key);
        }
    }

    fn expr(&mut self, id: ExprId) {
        let program = self.program;
        match program[id].kind {
            ExprKind::Error
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::None
            | ExprKind::Query(_)
            | ExprKind::Logic(_) => {}
            ExprKind::Name(name) => self.out.names[id.index()] = self.use_name(name),
            ExprKind::Field { base, name, .. } => {
                self.expr(base);
                if self.methods.contains_key(&name.name) {
                    self.event(Event::MentionMethod(name.name));
                }
            }
            ExprKind::Index { base, index, .. } => {
                self.expr(base);
                self.expr(index);
            }
            ExprKind::Slice { base, start, end, step } => {
                self.expr(base);
                self.maybe(start);
                self.maybe(end);
                self.maybe(step);
            }
            ExprKind::Call { callee, args } => {
                match program[callee].kind {
                    ExprKind::Name(name) => self.use_callee(callee, name),
                    _ => self.expr(callee),
                }
                self.exprs(&program[args]);
            }
            ExprKind::Cast { value, .. } => self.expr(value),
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Binary { .. } => {
                let spine = program.binary_spine(id);
                self.expr(spine.first);
                for link in spine.links {
                    self.expr(link.right);
                }
            }
            ExprKind::If { choices, otherwise } => {
                for choice in &program[choices] {
                    self.expr(choice.cond);
                    self.expr(choice.value);
                }
                self.maybe(otherwise);
            }
            ExprKind::List(items) => self.exprs(&program[items]),
            ExprKind::Map(entries) => {
                for entry in &program[entries] {
                    self.key(entry.key);
                    self.expr(entry.value);
                }
            }
            ExprKind::Struct { fields, .. } | ExprKind::Generate { fields, .. } => {
                for field in &program[fields] {
                    self.expr(field.value);
                }
            }
            ExprKind::Fun(fun) => {
                self.mention(fun, true);
                self.fun(fun);
            }
            ExprKind::Match { subject, arms } => {
                self.expr(subject);
                for arm in &program[arms] {
                    let mark = self.open();
                    self.pattern(arm.pattern);
                    self.body(arm.body);
                    self.close(mark);
                }
            }
            ExprKind::Fetch { url, with } => {
                self.expr(url);
                self.maybe(with);
            }
            ExprKind::Load { with, .. } => self.maybe(with),
            ExprKind::Save { value, with, .. } => {
                self.expr(value);
                self.maybe(with);
            }
        }
    }

    fn pattern(&mut self, id: PatId) {
        match self.program[id].kind {
            PatternKind::Error | PatternKind::Wildcard => {}
            PatternKind::Literal(value) => self.expr(value),
            PatternKind::Name { name, bind } => {
                let resolved = match self.no_variable(name.name) {
                    found @ (Resolved::Variant(_) | Resolved::Struct(_)) => found,
                    _ => match self.out.ctor_names.get(&name.name) {
                        Some(&ctor) => Resolved::Variant(ctor),
                        None => Resolved::Bind(bind),
                    },
                };
                if resolved == Resolved::Bind(bind) {
                    self.declare(bind);
                }
                self.out.patterns[id.index()] = resolved;
            }
            PatternKind::Constructor { name, args } => {
                let found = self.out.ctor_names.get(&name.name).map(|&ctor| Resolved::Variant(ctor));
                let found = found.or_else(|| match self.out.types.get(&name.name) {
                    Some(&TypeName::Struct(of)) => Some(Resolved::Struct(of)),
                    _ => None,
                });
                self.out.patterns[id.index()] = found.unwrap_or(Resolved::Undeclared);
                for &arg in &self.program[args] {
                    self.pattern(arg);
                }
            }
        }
    }

    // ---- What depends on the whole program ----

    fn finish(mut self) -> Resolution {
        let count = self.out.binds.len();
        self.out.slots = (0..count).map(BindId::new).collect();
        let mut declarations: HashMap<BindId, u32> = HashMap::new();
        for index in 0..count {
            if !self.is_top[index] {
                continue;
            }
            let first = self.top[&self.out.binds[index].name];
            if !self.global.contains(&first) {
                continue;
            }
            let bind = BindId::new(index);
            self.out.slots[index] = first;
            *declarations.entry(first).or_default() += 1;
            if bind != first {
                let BindInfo { assignments, assigned_inside, span, .. } = self.out.binds[index];
                let info = &mut self.out.binds[first.index()];
                // Declaring it again assigns it.
                info.assignments += assignments + 1;
                info.assigned_inside |= assigned_inside;
                self.assigned.push((first, span.start));
            }
        }
        for index in 0..count {
            let slot = self.out.slots[index];
            let shared = self.out.binds[slot.index()];
            let info = &mut self.out.binds[index];
            info.storage = if self.global.contains(&slot) {
                Storage::Global
            } else if info.captured && info.assignments > 0 {
                Storage::Ref
            } else {
                Storage::Register
            };
            info.assignments = shared.assignments;
            info.assigned_inside = shared.assigned_inside;
            if info.assignments > 0 {
                info.known_fun = None;
            }
        }
        for place in &mut self.assigned {
            place.0 = self.out.slots[place.0.index()];
        }
        self.assigned.sort_unstable();
        self.out.assignments = std::mem::take(&mut self.assigned);
        self.find_early_reads();
        for index in 0..count {
            let BindInfo { read_early, called_early, .. } = self.out.binds[self.out.slots[index].index()];
            self.out.binds[index].read_early = read_early;
            self.out.binds[index].called_early = called_early;
        }
        for &(bind, fun) in &self.lambdas {
            let info = &mut self.out.binds[bind.index()];
            if info.assignments == 0 && !info.read_early && !info.called_early {
                info.known_fun = Some(fun);
            }
        }
        for index in 0..self.out.funs.len() {
            let id = FunId::new(index);
            let own = self.program[id].bind;
            let binds = &self.out.binds;
            let keep = |bind: &BindId| Some(*bind) != own || binds[bind.index()].storage == Storage::Ref;
            self.out.funs[index].captures.retain(keep);
        }
        self.out
    }

    /// Follows the top level in order: a function that is mentioned may run from there on, and what it uses must have been
    /// declared by then.
    fn find_early_reads(&mut self) {
        let mut declared: HashSet<BindId> = HashSet::new();
        let mut reached: HashSet<FunId> = HashSet::new();
        let mut work: Vec<FunId> = Vec::new();
        let none = Vec::new();
        let mut mention = |event: Event, work: &mut Vec<FunId>, binds: &mut Vec<BindInfo>| match event {
            Event::Declare(bind) => {
                declared.insert(bind);
            }
            Event::Read(bind) => {
                if !declared.contains(&bind) {
                    binds[bind.index()].read_early = true;
                }
            }
            Event::Call(bind) => {
                if !declared.contains(&bind) {
                    binds[bind.index()].called_early = true;
                }
            }
            Event::Mention(fun) => work.push(fun),
            Event::MentionMethod(name) => work.extend(&self.methods[&name]),
        };
        for &event in &self.main_events {
            mention(event, &mut work, &mut self.out.binds);
            while let Some(fun) = work.pop() {
                if reached.insert(fun) {
                    for &event in self.unit_events.get(&fun).unwrap_or(&none) {
                        mention(event, &mut work, &mut self.out.binds);
                    }
                }
            }
        }
    }
}
