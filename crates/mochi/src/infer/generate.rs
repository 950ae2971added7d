//! The walk over the program that makes nodes and constraints.
//!
//! Slots of declarations come first, so that a literal knows the type of its place before its elements are looked at.
//! The walk carries the [facts](super::facts) that hold at each place.

use std::collections::HashMap;
use std::ops::Range;

use super::facts::{Fact, Facts, Key, Reader, runs_code};
use super::graph::{ANY, BOOL, FLOAT, INT, Kind, NOTHING, NULL, NodeId, Role, STR, Val};
use super::solve::{Con, MethodNames, Solver, Target};
use super::{CallKind, Declared, DeclaredKind};
use crate::builtins::{Builtin, Ty as BuiltinTy};
use crate::resolve::{BindSource, CtorId, Resolution, Resolved, Storage, StructId, TypeName};
use crate::syntax::ast::{
    BinaryOp, BindId, BindKind, Block, Body, Expr, ExprId, ExprKind, ExternId, ExternKind, FunId, Interner,
    MapEntry, MapKey, Name, PatId, PatternKind, Program, StmtId, StmtKind, TypeId, TypeKind, UnaryOp,
};

/// How a call will be told about once the nodes are final.
#[derive(Clone, Copy, Debug)]
pub(super) enum CallSite {
    /// Known already.
    Known(CallKind),
    /// By the callees of a name.
    Named(ExprId),
    /// By the node of the callee.
    Value(NodeId),
    /// By the node of the base.
    Method { base: NodeId, name: Name },
}

/// The nodes of everything that has a type.
pub(super) struct Generator<'a> {
    pub program: &'a Program,
    pub resolution: &'a Resolution,
    names: &'a Interner,
    pub solver: Solver,
    pub exprs: Vec<NodeId>,
    pub binds: Vec<NodeId>,
    pub results: Vec<NodeId>,
    fun_sigs: Vec<Option<u32>>,
    pub calls: Vec<(ExprId, CallSite, u32)>,
    /// What variables are declared as.
    pub declared: Vec<(BindId, Declared)>,
    /// The slots that annotations declare to hold wider numbers than ints, and what goes there.
    pub numbers: HashMap<NodeId, Kind>,
    pub stores: Vec<(ExprId, NodeId)>,
    /// What annotations say of slots for containers, which keep the slots inside of them where they become `any`.
    containers: HashMap<NodeId, Val>,
    /// The slots that expressions read an element or field of.
    read_from: HashMap<NodeId, NodeId>,
    /// The declared types of casts to containers, apart from the types of their results.
    pub casts: Vec<(ExprId, NodeId)>,
    /// The declared types of the fields of structs, then variants, likewise, where there are casts.
    pub cast_fields: Vec<Vec<NodeId>>,
    type_params: HashMap<(FunId, Name), NodeId>,
    extern_members: HashMap<(Name, Name), ExternId>,
    struct_nodes: Vec<NodeId>,
    union_nodes: Vec<NodeId>,
    facts: Facts,
    /// Variables that got other values, and calls, which may give them to any, in order: what is put back after an operand must leave
    /// these out.
    forgotten: Vec<Option<BindId>>,
    /// Where calls stand that may run code of the program, in order.
    running: &'a [u32],
    fun: Option<FunId>,
    /// For each loop around the place: whether a `break` leaves it.
    loops: Vec<bool>,
    /// Whether what follows the `match` that was read last is reached.
    after_match: Flow,
}

/// Whether what follows a statement is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Goes,
    Ends,
    /// Only where the subject of a `match` is none of the union's variants: each of these has an arm, and all arms end.
    Unless {
        src: NodeId,
        union: u32,
    },
}

/// An annotation makes at most so many nodes, aliases included.
const ANNOTATION_NODES: u32 = 512;

impl<'a> Generator<'a> {
    pub(super) fn new(
        program: &'a Program,
        resolution: &'a Resolution,
        names: &'a Interner,
        running: &'a [u32],
    ) -> Generator<'a> {
        let methods = MethodNames {
            contains: names.lookup("contains"),
            starts_with: names.lookup("starts_with"),
            pad_start: names.lookup("padStart"),
            keys: names.lookup("keys"),
            values: names.lookup("values"),
            get: names.lookup("get"),
            join: names.lookup("join"),
        };
        let capacity = program.exprs.len() + resolution.bind_count() * 2 + 64;
        let mut this = Generator {
            program,
            resolution,
            names,
            solver: Solver::new(resolution, capacity, methods),
            exprs: vec![NOTHING; program.exprs.len()],
            binds: Vec::with_capacity(resolution.bind_count()),
            results: Vec::with_capacity(program.funs.len()),
            fun_sigs: vec![None; program.funs.len()],
            calls: Vec::new(),
            casts: Vec::new(),
            cast_fields: Vec::new(),
            declared: Vec::new(),
            numbers: HashMap::new(),
            stores: Vec::new(),
            containers: HashMap::new(),
            read_from: HashMap::new(),
            type_params: HashMap::new(),
            extern_members: HashMap::new(),
            struct_nodes: Vec::new(),
            union_nodes: Vec::new(),
            facts: Facts::default(),
            forgotten: Vec::new(),
            running,
            fun: None,
            loops: Vec::new(),
            after_match: Flow::Goes,
        };
        this.declare();
        this
    }

    /// Makes the whole graph.
    pub(super) fn run(&mut self) {
        let program = self.program;
        for &stmt in &program[program.body.stmts] {
            self.stmt(stmt);
        }
    }

    // ---- Declarations ----

    fn declare(&mut self) {
        let (program, resolution) = (self.program, self.resolution);
        for id in 0..resolution.structs.len() as u32 {
            let node = self.solver.node_of(Val::of(Kind::Struct, id));
            self.struct_nodes.push(node);
        }
        for id in 0..resolution.unions.len() as u32 {
            let node = self.solver.node_of(Val::of(Kind::Union, id));
            self.union_nodes.push(node);
        }
        for (index, fun) in program.funs.iter().enumerate() {
            for param in &program[fun.type_params] {
                let node = self.solver.graph.add_with(Role::Open);
                self.type_params.insert((FunId::new(index), param.name), node);
            }
        }
        let structs = resolution.structs.iter().map(|it| it.fields);
        let ctors = resolution.ctors.iter().map(|it| it.fields);
        for (record, fields) in structs.chain(ctors).enumerate() {
            let nodes =
                program[fields].iter().map(|field| (field.name.name, self.annotation(field.ty, None)));
            let nodes = nodes.collect();
            self.solver.graph.set_fields(record as u32, nodes);
        }
        let cast = |e: &Expr| matches!(e.kind, ExprKind::Cast { .. } | ExprKind::Load { .. });
        if program.exprs.iter().any(cast) {
            let structs = resolution.structs.iter().map(|it| it.fields);
            let ctors = resolution.ctors.iter().map(|it| it.fields);
            for fields in structs.chain(ctors) {
                let fields = &program[fields];
                let nodes = fields.iter().map(|field| self.annotation(field.ty, None)).collect();
                self.cast_fields.push(nodes);
            }
        }
        for index in 0..resolution.bind_count() {
            let bind = BindId::new(index);
            let info = resolution.bind(bind);
            let node = match (info.source, info.ty, info.kind) {
                (BindSource::Tree, Some(ty), _) => {
                    let node = self.annotation(ty, info.fun);
                    self.note_declared(bind, node);
                    node
                }
                (BindSource::Tree, None, BindKind::Param) => self.solver.graph.add_with(Role::Param),
                (BindSource::Tree, None, BindKind::Let | BindKind::Var) => {
                    self.solver.graph.add_with(Role::Open)
                }
                _ => self.solver.node(),
            };
            self.binds.push(node);
        }
        for index in 0..resolution.bind_count() {
            let bind = BindId::new(index);
            let info = resolution.bind(bind);
            let node = self.binds[index];
            let slot = resolution.slot(bind);
            if slot != bind {
                // A global that is declared again is one slot, but what each declaration says is for what goes there under it.
                self.solver.graph.unify(self.binds[slot.index()], node);
                self.solver.graph.settle();
            }
            if info.read_early {
                self.solver.flow(NULL, node);
            }
            let (record, field) = match info.source {
                BindSource::Tree => continue,
                BindSource::Receiver { of } => {
                    self.solver.graph.flow(node, Val::of(Kind::Struct, of.0));
                    self.solver.graph.settle();
                    continue;
                }
                BindSource::MethodField { of, field, .. } => (of.0, field),
                // Depends on what the elements are.
                BindSource::UpdateField { .. } => continue,
            };
            let field = self.solver.graph.fields(record)[field as usize].1;
            self.solver.flow(field, node);
        }
        for (index, fun) in program.funs.iter().enumerate() {
            let id = FunId::new(index);
            let node = match fun.result {
                Some(ty) if !self.is_unit(ty) => self.annotation(ty, Some(id)),
                _ => self.solver.graph.add_with(Role::Open),
            };
            self.results.push(node);
        }
        for (index, info) in resolution.structs.iter().enumerate() {
            for &(name, method) in &info.methods {
                let sig = self.sig(method);
                self.solver.graph.add_method(StructId(index as u32), name, sig);
            }
        }
        for (index, item) in program.externs.iter().enumerate() {
            if let [module, member] = program[item.path] {
                self.extern_members.insert((module.name, member.name), ExternId::new(index));
            }
        }
    }

    /// Notes what a variable's annotation says, by its new node.
    fn note_declared(&mut self, bind: BindId, node: NodeId) {
        let val = self.solver.graph.val(node);
        let kind = match val.kind {
            Kind::Int => DeclaredKind::Int,
            Kind::Float => DeclaredKind::Float,
            Kind::Bool => DeclaredKind::Bool,
            Kind::Str => DeclaredKind::String,
            Kind::BigInt => DeclaredKind::BigInt,
            Kind::BigRat => DeclaredKind::BigRat,
            Kind::List => DeclaredKind::List,
            Kind::Map => DeclaredKind::Map,
            _ => return,
        };
        self.declared.push((bind, Declared { kind, nullable: val.null }));
    }

    fn is_unit(&self, ty: TypeId) -> bool {
        match self.program[ty].kind {
            TypeKind::Name(name) => matches!(&self.names[name], "unit" | "void"),
            _ => false,
        }
    }

    /// Parameters and result of a function.
    fn sig(&mut self, fun: FunId) -> u32 {
        if let Some(sig) = self.fun_sigs[fun.index()] {
            return sig;
        }
        let params =
            self.program[self.program[fun].params].iter().map(|&bind| self.binds[bind.index()]).collect();
        let sig = self.solver.graph.add_sig(params, self.results[fun.index()]);
        self.fun_sigs[fun.index()] = Some(sig);
        sig
    }

    /// The slot that an annotation describes, with slots of its own inside.
    fn annotation(&mut self, ty: TypeId, fun: Option<FunId>) -> NodeId {
        let mut budget = ANNOTATION_NODES;
        let mut aliases = Vec::new();
        self.annotate(ty, fun, &mut budget, &mut aliases)
    }

    fn annotate(
        &mut self,
        ty: TypeId,
        fun: Option<FunId>,
        budget: &mut u32,
        aliases: &mut Vec<Name>,
    ) -> NodeId {
        let any = Val::ANY;
        if *budget == 0 {
            return self.solver.node_of(any);
        }
        *budget -= 1;
        let program = self.program;
        let val = match program[ty].kind {
            TypeKind::Error | TypeKind::Struct(_) => any,
            TypeKind::Name(name) => match &self.names[name] {
                "int" | "int64" => Val::scalar(Kind::Int),
                "float" => Val::scalar(Kind::Float),
                "bool" => Val::scalar(Kind::Bool),
                "string" => Val::scalar(Kind::Str),
                "bigint" => Val::scalar(Kind::BigInt),
                "bigrat" => Val::scalar(Kind::BigRat),
                "unit" | "void" => Val::BOTTOM,
                _ => {
                    let mut scope = fun;
                    while let Some(id) = scope {
                        if let Some(&node) = self.type_params.get(&(id, name)) {
                            return node;
                        }
                        scope = program[id].parent;
                    }
                    match self.resolution.types.get(&name) {
                        Some(TypeName::Struct(id)) => Val::of(Kind::Struct, id.0),
                        Some(TypeName::Union(id)) => Val::of(Kind::Union, id.0),
                        Some(&TypeName::Alias(target)) if !aliases.contains(&name) && aliases.len() < 64 => {
                            aliases.push(name);
                            let node = self.annotate(target, None, budget, aliases);
                            aliases.pop();
                            return node;
                        }
                        _ => any,
                    }
                }
            },
            TypeKind::Generic { name, args } => match (&self.names[name.name], &program[args]) {
                ("list", &[elem]) => Val::list(self.annotate(elem, fun, budget, aliases)),
                ("map", &[key, value]) => {
                    let key = self.annotate(key, fun, budget, aliases);
                    Val::map(key, self.annotate(value, fun, budget, aliases))
                }
                ("option", &[inner]) => {
                    let node = self.annotate(inner, fun, budget, aliases);
                    self.solver.graph.declare_null(node);
                    return node;
                }
                _ => any,
            },
            TypeKind::Fun { params, result } => {
                let params: Vec<NodeId> =
                    program[params].iter().map(|&ty| self.annotate(ty, fun, budget, aliases)).collect();
                let result = match result {
                    Some(ty) if !self.is_unit(ty) => self.annotate(ty, fun, budget, aliases),
                    _ => self.solver.node(),
                };
                for &part in params.iter().chain([&result]) {
                    self.solver.graph.mark_typed(part);
                }
                Val::of(Kind::Fun, self.solver.graph.add_sig(params, result))
            }
            TypeKind::Optional(inner) => {
                let node = self.annotate(inner, fun, budget, aliases);
                self.solver.graph.declare_null(node);
                return node;
            }
        };
        match val.kind {
            Kind::Any | Kind::Bottom => self.solver.node_of(val),
            _ => {
                let node = self.solver.graph.add_declared(val);
                match val.kind {
                    Kind::Float | Kind::BigInt | Kind::BigRat => {
                        self.numbers.insert(node, val.kind);
                    }
                    Kind::List | Kind::Map => {
                        self.containers.insert(node, val);
                    }
                    _ => {}
                }
                node
            }
        }
    }

    fn forget(&mut self, bind: BindId) {
        self.facts.forget(bind);
        self.forgotten.push(Some(bind));
    }

    /// Something was called that may run code of the program.
    fn called(&mut self) {
        let reader = self.reader();
        reader.call(&mut self.facts);
        self.forgotten.push(None);
    }

    /// Puts facts back that held when `mark` was the length of the log.
    fn restore(&mut self, facts: &Facts, mark: usize) {
        self.facts.clone_from(facts);
        let reader = self.reader();
        for &bind in &self.forgotten[mark..] {
            match bind {
                Some(bind) => self.facts.forget(bind),
                None => reader.call(&mut self.facts),
            }
        }
    }

    fn reader(&self) -> Reader<'a> {
        Reader { program: self.program, resolution: self.resolution, fun: self.fun, calls: self.running }
    }

    // ---- Statements ----

    fn block(&mut self, block: Block) -> Flow {
        let mut flow = Flow::Goes;
        for &stmt in &self.program[block.stmts] {
            let next = self.stmt(stmt);
            if flow != Flow::Ends {
                flow = next;
            }
        }
        flow
    }

    fn store(&mut self, value: ExprId, slot: NodeId) {
        let node = self.expr(value, Some(slot));
        self.solver.graph.at = value.index() as u32;
        self.solver.flow(node, slot);
        self.stored(value, slot);
    }

    /// Notes what goes to a slot that is declared to hold wider numbers.
    fn stored(&mut self, value: ExprId, slot: NodeId) {
        if self.numbers.contains_key(&slot) {
            self.stores.push((value, slot));
        }
    }

    fn stmt(&mut self, id: StmtId) -> Flow {
        let program = self.program;
        match program[id].kind {
            StmtKind::Error
            | StmtKind::Fact(_)
            | StmtKind::Rule { .. }
            | StmtKind::Stream { .. }
            | StmtKind::Import(_)
            | StmtKind::Extern(_) => {}
            StmtKind::Let { bind, value } => self.let_stmt(bind, value),
            StmtKind::Assign { target, value } => self.assign(target, value),
            StmtKind::Fun(fun) | StmtKind::Intent(fun) => {
                if let Some(bind) = program[fun].bind {
                    let val = Val::of(Kind::Fun, self.sig(fun));
                    self.solver.graph.flow(self.binds[bind.index()], val);
                    if self.resolution.bind(bind).storage == Storage::Ref {
                        // Until there is the function, which may capture its own name.
                        self.solver.flow(NULL, self.binds[bind.index()]);
                    }
                    self.solver.graph.settle();
                }
                self.fun_body(fun);
            }
            StmtKind::Return(value) => {
                let result = self.fun.map(|fun| self.results[fun.index()]);
                match (value, result) {
                    (Some(value), Some(result)) => self.store(value, result),
                    (Some(value), None) => {
                        self.expr(value, None);
                    }
                    (None, Some(result)) => self.solver.flow(NULL, result),
                    (None, None) => {}
                }
                return Flow::Ends;
            }
            StmtKind::If { branches, otherwise } => return self.if_stmt(&program[branches], otherwise),
            StmtKind::While { cond, body } => return self.while_stmt(cond, body, program[id].span),
            StmtKind::ForIn { bind, items, body } => {
                let node = self.expr(items, None);
                let slot = self.binds[bind.index()];
                self.solver.graph.at = items.index() as u32;
                self.solver.add(Con::Iterate { src: node, out: slot });
                let entry = self.enter_loop(program[id].span);
                self.learn_iteration(bind, items, body);
                self.loop_body(body);
                self.facts = entry;
            }
            StmtKind::ForRange { bind, start, end, body } => {
                let slot = self.binds[bind.index()];
                let start_node = self.expr(start, None);
                self.expr(end, None);
                self.solver.graph.at = start.index() as u32;
                let only_int =
                    matches!(self.solver.graph.val(start_node), Val { kind: Kind::Int, null: false, .. });
                // Bounds are ints or the loop fails, so the variable is an int unless it is assigned.
                self.solver.flow(if only_int { start_node } else { INT }, slot);
                let entry = self.enter_loop(program[id].span);
                self.loop_body(body);
                self.facts = entry;
            }
            StmtKind::Break => {
                if let Some(breaks) = self.loops.last_mut() {
                    *breaks = true;
                }
                return Flow::Ends;
            }
            StmtKind::Continue => return Flow::Ends,
            StmtKind::Expr(value) => {
                self.expr(value, None);
                if self.ends(value) {
                    return Flow::Ends;
                }
                if let ExprKind::Match { .. } = program[value].kind {
                    return self.after_match;
                }
            }
            StmtKind::Expect(value) => {
                self.expr(value, None);
            }
            StmtKind::Test { body, .. } | StmtKind::Bench { body, .. } => {
                let facts = self.facts.clone();
                self.block(body);
                self.facts.meet(&facts);
            }
            StmtKind::Agent { body, .. } => {
                self.block(body);
            }
            StmtKind::Type(decl) => {
                if let crate::syntax::ast::TypeDeclKind::Struct { methods, .. } = program[decl].kind {
                    for &method in &program[methods] {
                        self.fun_body(method);
                    }
                }
            }
            StmtKind::Fetch { url, bind, with } => {
                self.expr(url, None);
                self.maybe(with);
                self.solver.flow(ANY, self.binds[bind.index()]);
            }
            StmtKind::Update { set, filter, .. } => self.update(id, &program[set], filter),
            StmtKind::On { bind, body, .. } => {
                self.solver.flow(ANY, self.binds[bind.index()]);
                let facts = std::mem::take(&mut self.facts);
                self.block(body);
                self.facts = facts;
            }
            StmtKind::Emit { fields, .. } | StmtKind::Model { fields, .. } => {
                for field in &program[fields] {
                    let node = self.expr(field.value, None);
                    self.solver.flow(node, ANY);
                }
                self.called();
            }
        }
        Flow::Goes
    }

    fn let_stmt(&mut self, bind: BindId, value: Option<ExprId>) {
        let slot = self.binds[bind.index()];
        match value {
            Some(value) => self.store(value, slot),
            None => {
                // Numbers, texts and containers start as zero or empty.
                let kind = match self.resolution.bind(bind).ty {
                    Some(_) => self.solver.graph.val(slot).kind,
                    None => Kind::Bottom,
                };
                if !matches!(kind, Kind::Int | Kind::Float | Kind::Str | Kind::Bool | Kind::List | Kind::Map)
                {
                    self.solver.flow(NULL, slot);
                }
            }
        }
        self.forget(self.resolution.slot(bind));
    }

    fn assign(&mut self, target: ExprId, value: ExprId) {
        let program = self.program;
        match program[target].kind {
            ExprKind::Name(_) => match self.resolution.name(target) {
                Resolved::Bind(bind) => {
                    let slot = self.binds[bind.index()];
                    self.exprs[target.index()] = slot;
                    self.store(value, slot);
                    let slot = self.resolution.slot(bind);
                    self.forget(slot);
                    if self.is_literal(value) {
                        self.facts.add(Fact::NonNull(slot));
                    }
                }
                _ => {
                    let node = self.expr(value, None);
                    self.solver.flow(node, ANY);
                }
            },
            ExprKind::Index { base, index, .. } => {
                let base_node = self.expr(base, None);
                let want = self.part(base_node, index);
                let key = self.expr(index, None);
                let value_node = self.expr(value, want);
                if let Some(slot) = want {
                    self.stored(value, slot);
                }
                let name = self.literal_text(index);
                self.solver.graph.at = value.index() as u32;
                self.solver.add(Con::StoreIndex { base: base_node, key, value: value_node, name });
                if let Some(out) = want {
                    self.exprs[target.index()] = out;
                }
                // A call in between may give the variable another map than the one that the store is to.
                let reader = self.reader();
                if let (Some(map), Some(key)) = (reader.variable(base), reader.key(index))
                    && (reader.lasts(map) || ![index, value].into_iter().any(|id| reader.has_call(id)))
                {
                    self.facts.add(Fact::Has(map, key));
                }
            }
            ExprKind::Field { base, name, .. } => {
                let base_node = self.expr(base, None);
                let base_val = self.known(base_node);
                let want = match base_val.kind {
                    Kind::Struct => self.solver.graph.field(base_val.a, name.name),
                    Kind::Map => Some(base_val.b),
                    _ => None,
                };
                let value_node = self.expr(value, want);
                if let Some(out) = want {
                    self.exprs[target.index()] = out;
                    self.stored(value, out);
                }
                self.solver.graph.at = value.index() as u32;
                self.solver.add(Con::StoreField { base: base_node, name: name.name, value: value_node });
            }
            _ => {
                self.expr(target, None);
                let node = self.expr(value, None);
                self.solver.flow(node, ANY);
            }
        }
    }

    /// What is in a slot, or what its annotation says if it has become `any`: what goes to the slots inside converts all the same.
    fn known(&mut self, node: NodeId) -> Val {
        let val = self.solver.graph.val(node);
        if val.kind != Kind::Any {
            return val;
        }
        let slot = self.read_from.get(&node).copied().unwrap_or(node);
        self.containers.get(&slot).copied().unwrap_or(val)
    }

    /// The slot of the elements or values of a container, if it is known to be one by now.
    fn inside(&mut self, node: NodeId) -> Option<NodeId> {
        let val = self.known(node);
        match val.kind {
            Kind::List => Some(val.a),
            Kind::Map => Some(val.b),
            _ => None,
        }
    }

    /// The slot that `base[index]` means: that of the elements or values, or of the field whose name the index is.
    fn part(&mut self, base: NodeId, index: ExprId) -> Option<NodeId> {
        let val = self.known(base);
        match val.kind {
            Kind::Struct => self.solver.graph.field(val.a, self.literal_text(index)?),
            _ => self.inside(base),
        }
    }

    fn is_literal(&self, id: ExprId) -> bool {
        use ExprKind::{Bool, Float, Int, List, Map, Str};
        matches!(self.program[id].kind, Int(_) | Float(_) | Bool(_) | Str(_) | List(_) | Map(_))
    }

    fn literal_text(&self, id: ExprId) -> Option<Name> {
        match self.program[id].kind {
            ExprKind::Str(text) => Some(text),
            _ => None,
        }
    }

    fn fun_body(&mut self, id: FunId) {
        let fun = self.program[id];
        let outer = self.fun.replace(id);
        let loops = std::mem::take(&mut self.loops);
        let facts = self.facts.clone();
        let mark = self.forgotten.len();
        let resolution = self.resolution;
        // The body runs at another time: only what can never change stays known.
        let info = resolution.fun(id);
        if info.top_level || info.method_of.is_some() {
            // It may be called from further up.
            self.facts = Facts::default();
        }
        self.facts.retain(|bind| resolution.bind(bind).assignments == 0);
        let result = self.results[id.index()];
        match fun.body {
            Body::Expr(value) => self.store(value, result),
            Body::Block(block) => {
                let flow = self.block(block);
                self.reached(flow, result);
            }
        }
        self.facts = facts;
        self.forgotten.truncate(mark);
        self.loops = loops;
        self.fun = outer;
    }

    fn if_stmt(&mut self, branches: &[crate::syntax::ast::Branch], otherwise: Option<Block>) -> Flow {
        let mut after: Option<Facts> = None;
        let mut leave = |facts: &Facts, flow: Flow| {
            if flow != Flow::Ends {
                match &mut after {
                    Some(after) => after.meet(facts),
                    None => after = Some(facts.clone()),
                }
            }
        };
        for branch in branches {
            self.expr(branch.cond, None);
            let before = self.facts.clone();
            self.reader().learn(&mut self.facts, branch.cond, true);
            let flow = self.block(branch.body);
            leave(&self.facts, flow);
            self.facts = before;
            self.reader().learn(&mut self.facts, branch.cond, false);
        }
        let flow = match otherwise {
            Some(block) => self.block(block),
            None => Flow::Goes,
        };
        leave(&self.facts, flow);
        match after {
            Some(after) => {
                self.facts = after;
                Flow::Goes
            }
            None => Flow::Ends,
        }
    }

    /// Drops facts about what the loop assigns; returns those that hold after it.
    fn enter_loop(&mut self, span: crate::source::Span) -> Facts {
        let (resolution, reader) = (self.resolution, self.reader());
        let assigned = |bind| resolution.is_assigned_between(bind, span.start, span.end);
        self.facts.retain(|bind| reader.lasts(bind) && !assigned(bind));
        self.facts.clone()
    }

    fn loop_body(&mut self, body: Block) -> bool {
        self.loops.push(false);
        self.block(body);
        self.loops.pop().expect("pushed above")
    }

    fn while_stmt(&mut self, cond: ExprId, body: Block, span: crate::source::Span) -> Flow {
        let mut after = self.enter_loop(span);
        self.expr(cond, None);
        self.reader().learn(&mut self.facts, cond, true);
        let breaks = self.loop_body(body);
        if !breaks {
            self.reader().learn(&mut after, cond, false);
        }
        self.facts = after;
        let forever = self.program[cond].kind == ExprKind::Bool(true);
        if forever && !breaks { Flow::Ends } else { Flow::Goes }
    }

    /// In `for k in m` and `for k in keys(m)` the map has the key.
    fn learn_iteration(&mut self, bind: BindId, items: ExprId, body: Block) {
        let mut source = items;
        if let ExprKind::Call { callee, args } = self.program[items].kind
            && let Some(names) = self.resolution.callee(callee)
            && names.otherwise == Resolved::Builtin(Builtin::Keys)
            && self.resolution.candidates(names).is_empty()
            && let [map] = self.program[args]
        {
            source = map;
        }
        let reader = self.reader();
        let assigned = |bind| self.resolution.is_assigned_between(bind, body.span.start, body.span.end);
        let key = self.resolution.slot(bind);
        if let Some(map) = reader.variable(source)
            && [map, key].into_iter().all(|slot| reader.lasts(slot) && !assigned(slot))
        {
            self.facts.add(Fact::Has(map, Key::Bind(key)));
        }
    }

    /// Whether the expression ends the program.
    fn ends(&self, id: ExprId) -> bool {
        if let ExprKind::Call { callee, .. } = self.program[id].kind
            && let Some(names) = self.resolution.callee(callee)
        {
            return names.otherwise == Resolved::Builtin(Builtin::Panic)
                && self.resolution.candidates(names).is_empty();
        }
        false
    }

    fn update(&mut self, id: StmtId, set: &[MapEntry], filter: Option<ExprId>) {
        let Some(info) = self.resolution.update(id) else { return };
        let element = self.solver.node();
        if let Resolved::Bind(list) = info.target {
            self.solver.add(Con::Iterate { src: self.binds[list.index()], out: element });
        }
        if let Some(of) = info.of {
            let fields = self.resolution.fields(self.program, of);
            for (field, bind) in fields.iter().zip(&info.field_binds) {
                let Some(bind) = bind else { continue };
                let out = self.binds[bind.index()];
                self.solver.add(Con::Field { base: element, name: field.name.name, out });
            }
        }
        self.maybe(filter);
        for entry in set {
            if let MapKey::Expr(key) = entry.key {
                self.expr(key, None);
            }
            let Some(name) = self.program.key_name(entry.key) else {
                self.expr(entry.value, None);
                continue;
            };
            let field = info.of.and_then(|of| self.solver.graph.field(of.0, name));
            let value = self.expr(entry.value, field);
            if let Some(field) = field {
                self.stored(entry.value, field);
            }
            self.solver.graph.at = entry.value.index() as u32;
            self.solver.add(Con::StoreField { base: element, name, value });
        }
    }

    // ---- Expressions ----

    fn maybe(&mut self, id: Option<ExprId>) {
        if let Some(id) = id {
            self.expr(id, None);
        }
    }

    /// Makes the node of an expression. A literal in a place whose slot is known uses the slots inside of it.
    fn expr(&mut self, id: ExprId, want: Option<NodeId>) -> NodeId {
        self.solver.graph.at = id.index() as u32;
        let node = self.kind(id, want);
        self.exprs[id.index()] = node;
        node
    }

    fn kind(&mut self, id: ExprId, want: Option<NodeId>) -> NodeId {
        let program = self.program;
        match program[id].kind {
            ExprKind::Error => ANY,
            ExprKind::Int(_) => INT,
            ExprKind::Float(_) => FLOAT,
            ExprKind::Bool(_) => BOOL,
            ExprKind::Str(_) => STR,
            ExprKind::None => NULL,
            ExprKind::Name(_) => self.name(id),
            ExprKind::Field { base, name, .. } => {
                if let ExprKind::Name(module) = program[base].kind
                    && let Resolved::Module(_) | Resolved::Extern(_) = self.resolution.name(base)
                {
                    self.exprs[base.index()] = ANY;
                    return self.extern_member(module, name.name);
                }
                let base = self.expr(base, None);
                self.solver.graph.at = id.index() as u32;
                let out = self.solver.node();
                let val = self.known(base);
                if val.kind == Kind::Struct
                    && let Some(field) = self.solver.graph.field(val.a, name.name)
                {
                    self.read_from.insert(out, field);
                }
                self.solver.add(Con::Field { base, name: name.name, out });
                out
            }
            ExprKind::Index { base, index, .. } => {
                let reader = self.reader();
                let has = match (reader.variable(base), reader.key(index)) {
                    (Some(map), Some(key)) => self.facts.has(Fact::Has(map, key)),
                    _ => false,
                };
                let base = self.expr(base, None);
                let key = self.expr(index, None);
                self.solver.graph.at = id.index() as u32;
                let name = self.literal_text(index);
                let out = self.solver.node();
                if let Some(slot) = self.part(base, index) {
                    self.read_from.insert(out, slot);
                }
                self.solver.add(Con::Index { base, key, has, name, out });
                out
            }
            ExprKind::Slice { base, start, end, step } => {
                let base = self.expr(base, want);
                self.maybe(start);
                self.maybe(end);
                self.maybe(step);
                let out = self.solver.node();
                self.solver.add(Con::Slice { base, list: false, out });
                out
            }
            ExprKind::Call { callee, args } => {
                let out = self.call(id, callee, &program[args], want);
                if runs_code(self.resolution, callee) {
                    self.called();
                }
                out
            }
            ExprKind::Cast { value, ty } => self.cast(id, value, ty),
            ExprKind::Unary { op, operand } => {
                let src = self.expr(operand, None);
                match op {
                    UnaryOp::Not => BOOL,
                    UnaryOp::Neg => {
                        let out = self.solver.node();
                        self.solver.add(Con::Number { src, out });
                        out
                    }
                }
            }
            ExprKind::Binary { .. } => self.spine(id, want),
            ExprKind::If { choices, otherwise } => {
                let out = self.join_node(want);
                let (before, mark) = (self.facts.clone(), self.forgotten.len());
                for choice in &program[choices] {
                    self.expr(choice.cond, None);
                    let (facts, mark) = (self.facts.clone(), self.forgotten.len());
                    self.reader().learn(&mut self.facts, choice.cond, true);
                    let value = self.expr(choice.value, want);
                    self.solver.flow(value, out);
                    self.restore(&facts, mark);
                    self.reader().learn(&mut self.facts, choice.cond, false);
                }
                match otherwise {
                    Some(value) => {
                        let value = self.expr(value, want);
                        self.solver.flow(value, out);
                    }
                    None => self.solver.flow(NULL, out),
                }
                self.restore(&before, mark);
                out
            }
            ExprKind::List(items) => {
                let elem = self.wanted_list(want);
                for &item in &program[items] {
                    self.store(item, elem);
                }
                self.solver.node_of(Val::list(elem))
            }
            ExprKind::Map(entries) => {
                let (key, value) = self.wanted_map(want);
                for entry in &program[entries] {
                    match entry.key {
                        MapKey::Name(_) => self.solver.flow(STR, key),
                        MapKey::Expr(expr) => self.store(expr, key),
                    }
                    self.store(entry.value, value);
                }
                self.solver.node_of(Val::map(key, value))
            }
            ExprKind::Struct { name, fields } => self.struct_literal(name.name, &program[fields], want),
            ExprKind::Fun(fun) => {
                let sig = self.sig(fun);
                // The place tells the types of parameters that are not declared.
                if let Some(want) = want {
                    let val = self.solver.graph.val(want);
                    if val.kind == Kind::Fun {
                        self.solver.graph.flow(want, Val::of(Kind::Fun, sig));
                        self.solver.graph.settle();
                    }
                }
                self.fun_body(fun);
                self.solver.node_of(Val::of(Kind::Fun, sig))
            }
            ExprKind::Match { subject, arms } => self.match_expr(subject, &program[arms], want),
            // Queries are planned.
            ExprKind::Query(_) | ExprKind::Logic(_) => ANY,
            ExprKind::Generate { fields, .. } => {
                for field in &program[fields] {
                    let node = self.expr(field.value, None);
                    self.solver.flow(node, ANY);
                }
                ANY
            }
            ExprKind::Fetch { url, with } => {
                self.expr(url, None);
                self.maybe(with);
                ANY
            }
            ExprKind::Load { ty, with, .. } => {
                self.maybe(with);
                // As a cast of what is read, which is of any type.
                let [declared, dst] = [(); 2].map(|()| {
                    let row = self.annotation(ty, self.fun);
                    self.solver.node_of(Val::list(row))
                });
                self.casts.push((id, declared));
                self.solver.add(Con::Cast { src: ANY, dst });
                dst
            }
            ExprKind::Save { value, with, .. } => {
                let node = self.expr(value, None);
                self.solver.flow(node, ANY);
                self.maybe(with);
                NULL
            }
        }
    }

    /// The node where branches meet. Where a float is wanted, branches convert.
    fn join_node(&mut self, want: Option<NodeId>) -> NodeId {
        if let Some(want) = want
            && self.solver.graph.is_declared_number(want)
        {
            let val = self.solver.graph.val(want);
            let node = self.solver.graph.add_declared(val.non_null());
            if val.null {
                self.solver.graph.declare_null(node);
            }
            return node;
        }
        self.solver.node()
    }

    /// The slots inside of a literal are those of its place, except where these are declared and the place is not: what another slot
    /// says does not check or convert the elements.
    fn wanted(&mut self, want: Option<NodeId>, kind: Kind, inner: impl Fn(Val) -> NodeId) -> Option<Val> {
        let want = want?;
        let val = self.known(want);
        let graph = &self.solver.graph;
        let fits =
            val.kind == kind && (graph.role(want).is_declared() || !graph.role(inner(val)).is_declared());
        fits.then_some(val)
    }

    fn wanted_list(&mut self, want: Option<NodeId>) -> NodeId {
        match self.wanted(want, Kind::List, |val| val.a) {
            Some(val) => val.a,
            None => self.solver.graph.add_with(Role::Open),
        }
    }

    fn wanted_map(&mut self, want: Option<NodeId>) -> (NodeId, NodeId) {
        match self.wanted(want, Kind::Map, |val| val.b) {
            Some(val) => (val.a, val.b),
            None => (self.solver.node(), self.solver.graph.add_with(Role::Open)),
        }
    }

    fn name(&mut self, id: ExprId) -> NodeId {
        match self.resolution.name(id) {
            Resolved::Undeclared => NULL,
            Resolved::Bind(bind) => {
                let slot = self.binds[bind.index()];
                if !self.facts.is_empty() && self.facts.has(Fact::NonNull(self.resolution.slot(bind))) {
                    let dst = self.solver.node();
                    self.solver.add(Con::NonNull { src: slot, dst });
                    return dst;
                }
                slot
            }
            Resolved::Function(fun) => {
                let sig = self.sig(fun);
                self.solver.node_of(Val::of(Kind::Fun, sig))
            }
            Resolved::Method(fun) => {
                let sig = self.sig(fun);
                self.escape_sig(sig);
                ANY
            }
            Resolved::Variant(ctor) => self.variant_value(ctor),
            Resolved::Struct(of) => self.struct_nodes[of.index()],
            Resolved::Builtin(_) | Resolved::Module(_) => ANY,
            Resolved::Extern(id) => self.extern_value(id),
        }
    }

    fn escape_sig(&mut self, sig: u32) {
        let node = self.solver.node_of(Val::of(Kind::Fun, sig));
        self.solver.flow(node, ANY);
    }

    fn variant_value(&mut self, ctor: CtorId) -> NodeId {
        let union = self.union_nodes[self.resolution.ctors[ctor.index()].union.index()];
        if self.resolution.ctors[ctor.index()].fields.is_empty() {
            return union;
        }
        // A constructor as a function is called through `any`.
        for (_, field) in self.ctor_fields(ctor) {
            self.solver.flow(ANY, field);
        }
        self.solver.flow(union, ANY);
        ANY
    }

    fn ctor_fields(&self, ctor: CtorId) -> Vec<(Name, NodeId)> {
        let record = self.resolution.structs.len() as u32 + ctor.0;
        self.solver.graph.fields(record).to_vec()
    }

    fn extern_value(&mut self, id: ExternId) -> NodeId {
        match self.program[id].kind {
            ExternKind::Let(ty) | ExternKind::Var(ty) => self.checked(ty),
            ExternKind::Type | ExternKind::Object | ExternKind::Fun { .. } => ANY,
        }
    }

    /// What comes from outside under a declared type.
    fn checked(&mut self, ty: TypeId) -> NodeId {
        let node = self.annotation(ty, self.fun);
        self.solver.flow(ANY, node);
        node
    }

    fn extern_member(&mut self, module: Name, member: Name) -> NodeId {
        match self.extern_members.get(&(module, member)) {
            Some(&id) => self.extern_value(id),
            None => ANY,
        }
    }

    fn spine(&mut self, id: ExprId, want: Option<NodeId>) -> NodeId {
        let spine = self.program.binary_spine(id);
        let plus_only = spine.links.iter().all(|link| link.op == BinaryOp::Add);
        let pass = if plus_only { want } else { None };
        let mut left = self.expr(spine.first, pass);
        let logic = |op: BinaryOp| matches!(op, BinaryOp::And | BinaryOp::Or);
        let saved = spine.links.iter().any(|link| logic(link.op)).then(|| self.facts.clone());
        let mark = self.forgotten.len();
        let mut last = None;
        let mut left_id = spine.first;
        for link in &spine.links {
            // The right operand of `&&` sees what the left one proves, that of `||` what its failure proves.
            if let Some(saved) = &saved
                && last.is_some_and(|last| logic(last) && last != link.op)
            {
                self.restore(saved, mark);
            }
            if logic(link.op) {
                let known = if last == Some(link.op) { right_of(self.program, left_id) } else { left_id };
                self.reader().learn(&mut self.facts, known, link.op == BinaryOp::And);
            }
            let right = self.expr(link.right, pass);
            self.solver.graph.at = link.expr.index() as u32;
            left = self.binary(link.op, left, right);
            self.exprs[link.expr.index()] = left;
            last = Some(link.op);
            left_id = link.expr;
        }
        if let Some(saved) = &saved {
            self.restore(saved, mark);
        }
        left
    }

    fn binary(&mut self, op: BinaryOp, left: NodeId, right: NodeId) -> NodeId {
        match op {
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Add | BinaryOp::Sub => {
                let out = self.solver.node();
                self.solver.add(Con::Arith { op, left, right, out });
                out
            }
            BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::In => BOOL,
            BinaryOp::And => {
                let out = self.solver.node();
                self.solver.flow(left, out);
                self.solver.flow(right, out);
                out
            }
            BinaryOp::Or | BinaryOp::Coalesce => {
                let out = self.solver.node();
                self.solver.add(Con::NonNull { src: left, dst: out });
                self.solver.flow(right, out);
                out
            }
            BinaryOp::Union | BinaryOp::UnionAll | BinaryOp::Except | BinaryOp::Intersect => {
                let elem = self.solver.node();
                self.solver.add(Con::SameElements { src: left, elem });
                self.solver.add(Con::SameElements { src: right, elem });
                self.solver.node_of(Val::list(elem))
            }
        }
    }

    fn cast(&mut self, id: ExprId, value: ExprId, ty: TypeId) -> NodeId {
        let dst = self.annotation(ty, self.fun);
        if matches!(self.solver.graph.val(dst).kind, Kind::List | Kind::Map) {
            // What the elements are cast to does not depend on what becomes of the slots that they are in.
            let declared = self.annotation(ty, self.fun);
            self.casts.push((id, declared));
        }
        // An empty literal takes the type; elements of others are converted, so they must not be seen under it.
        let empty = match self.program[value].kind {
            ExprKind::List(items) => items.is_empty(),
            ExprKind::Map(entries) => entries.is_empty(),
            _ => false,
        };
        if empty {
            let kind = self.solver.graph.val(dst).kind;
            let src = self.expr(value, Some(dst));
            let same = self.solver.graph.val(src).kind == kind;
            if same {
                self.solver.flow(src, dst);
            } else {
                self.solver.add(Con::Cast { src, dst });
            }
            return dst;
        }
        let src = self.expr(value, None);
        self.solver.add(Con::Cast { src, dst });
        dst
    }

    fn struct_literal(
        &mut self,
        name: Name,
        fields: &[crate::syntax::ast::FieldInit],
        want: Option<NodeId>,
    ) -> NodeId {
        let (record, node) = match self.resolution.literal(self.program, name) {
            Some(Resolved::Struct(of)) => (of.0, self.struct_nodes[of.index()]),
            Some(Resolved::Variant(ctor)) => {
                let union = self.resolution.ctors[ctor.index()].union;
                (self.resolution.structs.len() as u32 + ctor.0, self.union_nodes[union.index()])
            }
            _ => {
                let (key, value) = self.wanted_map(want);
                if !fields.is_empty() {
                    self.solver.flow(STR, key);
                }
                for field in fields {
                    self.store(field.value, value);
                }
                return self.solver.node_of(Val::map(key, value));
            }
        };
        for init in fields {
            match self.solver.graph.field(record, init.name.name) {
                Some(slot) => self.store(init.value, slot),
                None => {
                    let node = self.expr(init.value, None);
                    self.solver.flow(node, ANY);
                }
            }
        }
        for (name, slot) in self.solver.graph.fields(record).to_vec() {
            if !fields.iter().any(|init| init.name.name == name) {
                self.solver.flow(NULL, slot);
            }
        }
        node
    }

    fn match_expr(
        &mut self,
        subject: ExprId,
        arms: &[crate::syntax::ast::Arm],
        want: Option<NodeId>,
    ) -> NodeId {
        let src = self.expr(subject, None);
        let out = self.join_node(want);
        let before = self.facts.clone();
        let mut covered = Vec::new();
        let mut all = false;
        let mut end = true;
        for arm in arms {
            self.pattern(arm.pattern, src);
            match self.program[arm.pattern].kind {
                PatternKind::Wildcard => all = true,
                PatternKind::Name { .. } => match self.resolution.pattern(arm.pattern) {
                    Resolved::Bind(_) => all = true,
                    Resolved::Variant(ctor) => covered.push(ctor),
                    _ => {}
                },
                PatternKind::Constructor { args, .. } => {
                    let plain = self.program[args].iter().all(|&arg| match self.program[arg].kind {
                        PatternKind::Wildcard => true,
                        PatternKind::Name { .. } => matches!(self.resolution.pattern(arg), Resolved::Bind(_)),
                        _ => false,
                    });
                    if let (true, Resolved::Variant(ctor)) = (plain, self.resolution.pattern(arm.pattern)) {
                        covered.push(ctor);
                    }
                }
                _ => {}
            }
            match arm.body {
                Body::Expr(value) => {
                    let node = self.expr(value, want);
                    self.solver.flow(node, out);
                    end &= self.ends(value);
                }
                Body::Block(block) => end &= self.arm_block(block, out) == Flow::Ends,
            }
            self.facts.meet(&before);
        }
        let mut none = Flow::Ends;
        if !all {
            let union = covered.first().map(|ctor| self.resolution.ctors[ctor.index()].union);
            let complete = union.filter(|union| {
                let ctors = &self.resolution.unions[union.index()].ctors;
                ctors.iter().all(|ctor| covered.contains(ctor))
            });
            none = complete.map_or(Flow::Goes, |union| Flow::Unless { src, union: union.0 });
        }
        self.reached(none, out);
        self.after_match = if end { none } else { Flow::Goes };
        out
    }

    /// What comes out is none where a place is reached.
    fn reached(&mut self, flow: Flow, out: NodeId) {
        match flow {
            Flow::Goes => self.solver.flow(NULL, out),
            Flow::Unless { src, union } => self.solver.add(Con::Covers { src, union, out }),
            Flow::Ends => {}
        }
    }

    /// The value of a block is that of an expression statement at its end.
    fn arm_block(&mut self, block: Block, out: NodeId) -> Flow {
        let flow = self.block(block);
        let last = self.program[block.stmts].last().copied();
        match last.map(|stmt| self.program[stmt].kind) {
            Some(StmtKind::Expr(value)) => self.solver.flow(self.exprs[value.index()], out),
            _ => self.reached(flow, out),
        }
        flow
    }

    fn pattern(&mut self, id: PatId, src: NodeId) {
        match self.program[id].kind {
            PatternKind::Error | PatternKind::Wildcard => {}
            PatternKind::Literal(value) => {
                self.expr(value, None);
            }
            PatternKind::Name { bind, .. } => {
                if self.resolution.pattern(id) == Resolved::Bind(bind) {
                    self.solver.flow(src, self.binds[bind.index()]);
                }
            }
            PatternKind::Constructor { args, .. } => {
                let record = match self.resolution.pattern(id) {
                    Resolved::Variant(ctor) => Some(self.resolution.structs.len() as u32 + ctor.0),
                    Resolved::Struct(of) => Some(of.0),
                    _ => None,
                };
                let fields =
                    record.map(|record| self.solver.graph.fields(record).to_vec()).unwrap_or_default();
                for (index, &arg) in self.program[args].iter().enumerate() {
                    self.pattern(arg, fields.get(index).map_or(NULL, |field| field.1));
                }
            }
        }
    }

    // ---- Calls ----

    fn args(
        &mut self,
        args: &[ExprId],
        mut want: impl FnMut(&mut Self, usize) -> Option<NodeId>,
    ) -> Range<u32> {
        let nodes: Vec<NodeId> = (args.iter().enumerate())
            .map(|(index, &arg)| {
                let want = want(self, index);
                self.expr(arg, want)
            })
            .collect();
        let start = self.solver.args.len() as u32;
        self.solver.args.extend(nodes);
        start..self.solver.args.len() as u32
    }

    fn site(&mut self, id: ExprId, site: CallSite, args: usize) {
        self.calls.push((id, site, args as u32));
    }

    fn call(&mut self, id: ExprId, callee: ExprId, args: &[ExprId], want: Option<NodeId>) -> NodeId {
        let Some(names) = self.resolution.callee(callee) else {
            return self.call_value(id, callee, args);
        };
        let candidates = self.resolution.candidates(names);
        if candidates.is_empty() {
            return self.call_known(id, names.otherwise, args, want);
        }
        // A variable that always holds one function is as good as its name.
        let known = match *candidates {
            [bind] => self.resolution.bind(bind).known_fun,
            _ => None,
        };
        if let Some(fun) = known {
            self.exprs[callee.index()] = self.binds[candidates[0].index()];
            return self.call_known(id, Resolved::Function(fun), args, want);
        }
        let callees: Vec<NodeId> = candidates.iter().map(|bind| self.binds[bind.index()]).collect();
        self.exprs[callee.index()] = callees[0];
        let out = self.solver.node();
        let mut otherwise = Target::Undefined;
        let mut hint = None;
        match names.otherwise {
            Resolved::Function(fun) | Resolved::Method(fun) => {
                let sig = self.sig(fun);
                hint = Some(sig);
                otherwise = Target::Sig(sig);
            }
            _ => {}
        }
        for &callee in &callees {
            let val = self.solver.graph.val(callee);
            if val.kind == Kind::Fun {
                hint = Some(val.a);
                break;
            }
        }
        let range = self.args(args, |this, index| {
            hint.and_then(|sig| this.solver.graph.sigs[sig as usize].params.get(index).copied())
        });
        match names.otherwise {
            Resolved::Function(_) | Resolved::Method(_) | Resolved::Undeclared => {}
            Resolved::Builtin(builtin) => {
                let node = self.builtin(builtin, args, range.clone());
                otherwise = Target::Node(node);
            }
            Resolved::Variant(ctor) => {
                let node = self.construct(ctor, range.clone());
                otherwise = Target::Node(node);
            }
            _ => {
                for arg in range.clone() {
                    self.solver.flow(self.solver.args[arg as usize], ANY);
                }
                otherwise = Target::Node(ANY);
            }
        }
        self.solver.graph.at = id.index() as u32;
        let data = self.solver.new_call(callees, otherwise, range, out);
        self.solver.add(Con::Call { data });
        self.site(id, CallSite::Named(callee), args.len());
        out
    }

    fn call_known(&mut self, id: ExprId, what: Resolved, args: &[ExprId], want: Option<NodeId>) -> NodeId {
        match what {
            Resolved::Function(fun) | Resolved::Method(fun) => {
                let sig = self.sig(fun);
                let range = self.args(args, |this, index| {
                    this.solver.graph.sigs[sig as usize].params.get(index).copied()
                });
                self.solver.graph.at = id.index() as u32;
                let out = self.solver.node();
                self.solver.pass(sig, range, out);
                let partial = args.len() < self.program[fun].params.len();
                let kind = match what {
                    Resolved::Method(_) if partial => CallKind::PartialMethod(fun),
                    Resolved::Method(_) => CallKind::Sibling(fun),
                    _ if partial => CallKind::Partial(fun),
                    _ => CallKind::Direct(fun),
                };
                self.site(id, CallSite::Known(kind), args.len());
                out
            }
            Resolved::Variant(ctor) => {
                let fields = self.ctor_fields(ctor);
                let range = self.args(args, |_, index| fields.get(index).map(|field| field.1));
                for (&arg, field) in args.iter().zip(&fields) {
                    self.stored(arg, field.1);
                }
                self.solver.graph.at = id.index() as u32;
                self.site(id, CallSite::Known(CallKind::Construct(ctor)), args.len());
                self.construct(ctor, range)
            }
            Resolved::Builtin(builtin) => self.call_builtin(id, builtin, args, want),
            Resolved::Extern(item) => {
                let range = self.args(args, |_, _| None);
                for arg in range {
                    self.solver.flow(self.solver.args[arg as usize], ANY);
                }
                self.site(id, CallSite::Known(CallKind::Extern), args.len());
                match self.program[item].kind {
                    ExternKind::Fun { result: Some(ty), .. } if !self.is_unit(ty) => self.checked(ty),
                    _ => ANY,
                }
            }
            _ => {
                self.args(args, |_, _| None);
                self.site(id, CallSite::Known(CallKind::Undefined), args.len());
                NULL
            }
        }
    }

    fn construct(&mut self, ctor: CtorId, args: Range<u32>) -> NodeId {
        let fields = self.ctor_fields(ctor);
        let given = args.len();
        for (arg, field) in args.zip(&fields) {
            self.solver.flow(self.solver.args[arg as usize], field.1);
        }
        for field in fields.iter().skip(given) {
            self.solver.flow(NULL, field.1);
        }
        self.union_nodes[self.resolution.ctors[ctor.index()].union.index()]
    }

    /// A call of something that is no plain name.
    fn call_value(&mut self, id: ExprId, callee: ExprId, args: &[ExprId]) -> NodeId {
        if let ExprKind::Field { base, name, .. } = self.program[callee].kind {
            return self.call_method(id, base, callee, name.name, args);
        }
        let node = self.expr(callee, None);
        let val = self.solver.graph.val(node);
        let hint = (val.kind == Kind::Fun).then_some(val.a);
        let range = self.args(args, |this, index| {
            hint.and_then(|sig| this.solver.graph.sigs[sig as usize].params.get(index).copied())
        });
        self.solver.graph.at = id.index() as u32;
        let out = self.solver.node();
        let data = self.solver.new_call(vec![node], Target::Undefined, range, out);
        self.solver.add(Con::Call { data });
        self.site(id, CallSite::Value(node), args.len());
        out
    }

    fn call_method(
        &mut self,
        id: ExprId,
        base: ExprId,
        callee: ExprId,
        name: Name,
        args: &[ExprId],
    ) -> NodeId {
        if let ExprKind::Name(module) = self.program[base].kind {
            let resolved = self.resolution.name(base);
            let known = matches!(resolved, Resolved::Module(_) | Resolved::Extern(_))
                || resolved == Resolved::Undeclared
                    && &self.names[module] == "strings"
                    && crate::foreign::has_member("strings", &self.names[name]);
            if known {
                self.exprs[base.index()] = ANY;
                self.exprs[callee.index()] = ANY;
                let range = self.args(args, |_, _| None);
                for arg in range {
                    self.solver.flow(self.solver.args[arg as usize], ANY);
                }
                self.site(id, CallSite::Known(CallKind::Extern), args.len());
                if resolved == Resolved::Undeclared {
                    let text = matches!(&self.names[name], "ToUpper" | "ToLower");
                    return if text { STR } else { ANY };
                }
                let item = self.extern_members.get(&(module, name)).copied();
                return match item.map(|item| self.program[item].kind) {
                    Some(ExternKind::Fun { result: Some(ty), .. }) if !self.is_unit(ty) => self.checked(ty),
                    _ => ANY,
                };
            }
        }
        let base = self.expr(base, None);
        self.exprs[callee.index()] = ANY;
        let val = self.solver.graph.val(base);
        let hint = match val.kind {
            Kind::Struct => self.solver.graph.method_sig(val.a, name),
            _ => None,
        };
        let range = self.args(args, |this, index| {
            hint.and_then(|sig| this.solver.graph.sigs[sig as usize].params.get(index).copied())
        });
        self.solver.graph.at = id.index() as u32;
        let out = self.solver.node();
        if let ExprKind::Field { optional: true, .. } = self.program[callee].kind {
            // A method of none is not called.
            self.solver.flow(NULL, out);
        }
        let data = self.solver.new_call(Vec::new(), Target::Undefined, range, out);
        self.solver.add(Con::Method { base, name, data });
        self.site(id, CallSite::Method { base, name }, args.len());
        out
    }

    fn call_builtin(
        &mut self,
        id: ExprId,
        builtin: Builtin,
        args: &[ExprId],
        want: Option<NodeId>,
    ) -> NodeId {
        let range = match builtin {
            Builtin::Append | Builtin::Push => {
                let range = self.args(&args[..args.len().min(1)], |_, _| want);
                let elem =
                    range.clone().next().and_then(|first| self.inside(self.solver.args[first as usize]));
                let rest = self.args(args.get(1..).unwrap_or(&[]), |_, index| elem.filter(|_| index == 0));
                if let (Some(&item), Some(elem)) = (args.get(1), elem) {
                    self.stored(item, elem);
                }
                // The first argument was put before those that the second one needed.
                let nodes: Vec<NodeId> =
                    range.chain(rest).map(|index| self.solver.args[index as usize]).collect();
                let start = self.solver.args.len() as u32;
                self.solver.args.extend(nodes);
                start..self.solver.args.len() as u32
            }
            Builtin::Concat | Builtin::Slice | Builtin::Reverse | Builtin::Distinct | Builtin::Collect => {
                self.args(args, |_, _| want)
            }
            _ => self.args(args, |_, _| None),
        };
        self.solver.graph.at = id.index() as u32;
        self.site(id, CallSite::Known(CallKind::Builtin(builtin)), args.len());
        self.builtin(builtin, args, range)
    }

    fn fresh_list(&mut self) -> (NodeId, NodeId) {
        let elem = self.solver.node();
        (elem, self.solver.node_of(Val::list(elem)))
    }

    /// The result of a builtin on these arguments.
    fn builtin(&mut self, builtin: Builtin, exprs: &[ExprId], args: Range<u32>) -> NodeId {
        let info = builtin.info();
        if !info.accepts(args.len()) {
            for arg in args {
                self.solver.flow(self.solver.args[arg as usize], ANY);
            }
            return ANY;
        }
        let arg = |this: &Self, index: usize| this.solver.args[args.start as usize + index];
        match builtin {
            Builtin::Append | Builtin::Push => {
                let (src, item) = (arg(self, 0), arg(self, 1));
                // What is appended goes to the elements of the old list, too.
                let role = match self.inside(src) {
                    Some(elem) if self.solver.graph.role(elem) == Role::Open => Role::Open,
                    _ => Role::Plain,
                };
                let elem = self.solver.graph.add_with(role);
                let list = self.solver.node_of(Val::list(elem));
                self.solver.add(Con::SameElements { src, elem });
                if let Some(&item) = exprs.get(1) {
                    self.solver.graph.at = item.index() as u32;
                }
                self.solver.flow(item, elem);
                list
            }
            Builtin::Concat | Builtin::Distinct | Builtin::Collect => {
                let (elem, list) = self.fresh_list();
                for index in 0..args.len() {
                    let src = arg(self, index);
                    self.solver.add(Con::SameElements { src, elem });
                }
                list
            }
            Builtin::SortBy => {
                let (elem, list) = self.fresh_list();
                self.solver.add(Con::SameElements { src: arg(self, 0), elem });
                list
            }
            Builtin::Slice | Builtin::Reverse => {
                let out = self.solver.node();
                self.solver.add(Con::Slice { base: arg(self, 0), list: builtin == Builtin::Reverse, out });
                out
            }
            Builtin::First | Builtin::Min | Builtin::Max => {
                let elem = self.solver.node();
                if builtin != Builtin::First && args.len() > 1 {
                    // Of the arguments themselves.
                    for arg in args {
                        self.solver.flow(self.solver.args[arg as usize], elem);
                    }
                } else {
                    self.solver.add(Con::Element { src: arg(self, 0), out: elem });
                }
                if builtin == Builtin::First {
                    self.solver.flow(NULL, elem);
                    return elem;
                }
                let out = self.solver.node();
                self.solver.add(Con::Least { src: elem, out });
                out
            }
            Builtin::Sum => {
                let (elem, out) = (self.solver.node(), self.solver.node());
                self.solver.add(Con::Element { src: arg(self, 0), out: elem });
                self.solver.add(Con::Sum { src: elem, out });
                out
            }
            Builtin::Keys => {
                let (elem, list) = self.fresh_list();
                self.solver.add(Con::Keys { src: arg(self, 0), elem });
                list
            }
            Builtin::Values => {
                let (elem, list) = self.fresh_list();
                self.solver.add(Con::Values { src: arg(self, 0), elem });
                list
            }
            Builtin::Abs => {
                let out = self.solver.node();
                self.solver.add(Con::Number { src: arg(self, 0), out });
                out
            }
            Builtin::Round => {
                let out = self.solver.node();
                self.solver.add(Con::Round { src: arg(self, 0), digits: args.len() > 1, out });
                out
            }
            Builtin::Pow => {
                let out = self.solver.node();
                let (left, right) = (arg(self, 0), arg(self, 1));
                self.solver.add(Con::Arith { op: BinaryOp::Mul, left, right, out });
                out
            }
            Builtin::Reduce => {
                let (elem, acc, result) = (self.solver.node(), self.solver.node(), self.solver.node());
                self.solver.add(Con::Element { src: arg(self, 0), out: elem });
                self.solver.flow(arg(self, 2), acc);
                let callee = arg(self, 1);
                let start = self.solver.args.len() as u32;
                self.solver.args.extend([acc, elem]);
                let data = self.solver.new_call(vec![callee], Target::Undefined, start..start + 2, result);
                self.solver.add(Con::Call { data });
                self.solver.flow(result, acc);
                acc
            }
            Builtin::Eval | Builtin::Row | Builtin::Group => ANY,
            _ => {
                debug_assert!(info.reads_only(), "{} needs a rule of its own", info.name);
                self.plain(info.result)
            }
        }
    }

    /// The fresh result of a builtin that keeps nothing of its arguments.
    fn plain(&mut self, ty: BuiltinTy) -> NodeId {
        match ty {
            BuiltinTy::Unit => NULL,
            BuiltinTy::Bool => BOOL,
            BuiltinTy::Int | BuiltinTy::Int64 => INT,
            BuiltinTy::Float => FLOAT,
            BuiltinTy::BigInt => super::graph::BIGINT,
            BuiltinTy::Str => STR,
            BuiltinTy::List(&elem) => {
                let elem_val = match elem {
                    BuiltinTy::Int => Val::scalar(Kind::Int),
                    BuiltinTy::Str => Val::scalar(Kind::Str),
                    _ => Val::ANY,
                };
                let elem = self.solver.node_of(elem_val);
                self.solver.node_of(Val::list(elem))
            }
            BuiltinTy::Any
            | BuiltinTy::Var(_)
            | BuiltinTy::Map(..)
            | BuiltinTy::Option(_)
            | BuiltinTy::Fun(..) => ANY,
        }
    }

    /// Whether a variable of this kind counts as a slot that can be demoted.
    pub(super) fn has_slot(kind: BindKind) -> bool {
        matches!(kind, BindKind::Let | BindKind::Var | BindKind::Param | BindKind::For)
    }
}

fn right_of(program: &Program, id: ExprId) -> ExprId {
    match program[id].kind {
        ExprKind::Binary { right, .. } => right,
        _ => id,
    }
}
