//! The slots of a program as nodes of a union-find forest, and the three things that can happen to them.
//!
//! A node has a kind that only rises (nothing, a kind, `any`) and a null flag that only is set. [`Graph::flow`] moves a value
//! into a slot, [`Graph::unify`] makes two slots one, and escaping makes everything inside a value `any`. Each of them may
//! cause more of them; these wait in a list, so nothing recurses. A node that rises wakes the constraints that watch it.

use crate::resolve::{Resolution, StructId};
use crate::syntax::ast::Name;
use std::collections::{HashMap, HashSet};

/// A slot, or the value of an expression.
pub(super) type NodeId = u32;
/// A constraint of the solver.
pub(super) type ConId = u32;

const NONE: u32 = u32::MAX;

/// What the values of a node are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// There is none yet, but perhaps null.
    Bottom,
    Int,
    Float,
    Bool,
    Str,
    BigInt,
    BigRat,
    /// `a`: the elements.
    List,
    /// `a`: the keys, `b`: the values.
    Map,
    /// `a`: the struct.
    Struct,
    /// `a`: the union.
    Union,
    /// `a`: the signature.
    Fun,
    Any,
}

impl Kind {
    /// Kinds of values that have no slots inside, or named ones: they pass from `any` into declared slots by a check.
    fn crosses(self) -> bool {
        use Kind::*;
        matches!(self, Int | Float | Bool | Str | BigInt | BigRat | Struct | Union)
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Float | Kind::BigInt | Kind::BigRat)
    }

    /// For messages.
    pub(super) fn text(self) -> &'static str {
        match self {
            Kind::Bottom => "none",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Bool => "bool",
            Kind::Str => "string",
            Kind::BigInt => "bigint",
            Kind::BigRat => "bigrat",
            Kind::List => "list",
            Kind::Map => "map",
            Kind::Struct => "struct",
            Kind::Union => "union",
            Kind::Fun => "function",
            Kind::Any => "any",
        }
    }
}

/// The state of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Val {
    pub kind: Kind,
    pub null: bool,
    pub a: u32,
    pub b: u32,
}

impl Val {
    pub(super) const BOTTOM: Val = Val { kind: Kind::Bottom, null: false, a: 0, b: 0 };
    pub(super) const NULL: Val = Val { null: true, ..Val::BOTTOM };
    pub(super) const ANY: Val = Val { kind: Kind::Any, null: true, a: 0, b: 0 };

    pub(super) const fn scalar(kind: Kind) -> Val {
        Val { kind, null: false, a: 0, b: 0 }
    }

    pub(super) const fn list(elem: NodeId) -> Val {
        Val { kind: Kind::List, null: false, a: elem, b: 0 }
    }

    pub(super) const fn map(key: NodeId, value: NodeId) -> Val {
        Val { kind: Kind::Map, null: false, a: key, b: value }
    }

    pub(super) const fn of(kind: Kind, id: u32) -> Val {
        Val { kind, null: false, a: id, b: 0 }
    }

    pub(super) const fn or_null(self, null: bool) -> Val {
        Val { null: self.null || null, ..self }
    }

    pub(super) const fn non_null(self) -> Val {
        Val { null: false, ..self }
    }
}

/// The use that demoted a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why {
    /// Index of the expression, or `u32::MAX`.
    pub at: u32,
    /// What the slot was.
    pub had: Kind,
    /// What came.
    pub got: Kind,
}

struct Node {
    /// Itself for the representative.
    parent: NodeId,
    kind: Kind,
    null: bool,
    /// The kind comes from an annotation, so `any` flows in through a check and ints are converted.
    declared: bool,
    /// What the node itself is, whatever it is merged with.
    role: Role,
    /// Of a parameter: a function has it without an annotation, so that what other functions declare does not bind it.
    open: bool,
    /// A function type declares it, which binds functions without annotations, too.
    typed: bool,
    /// A value came through a check or was converted because the slot is declared.
    crossed: bool,
    a: u32,
    b: u32,
    size: u32,
    why: u32,
    first_dep: u32,
    last_dep: u32,
}

/// What a node was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A slot with an annotation, or what has no say in it.
    Plain,
    /// The parameter of a function that does not declare it.
    Param,
    /// The result of a function that does not declare it, a variable, a type parameter, or the elements of a literal in a place without
    /// annotation: what flows into this very node is neither checked nor converted because of annotations of others.
    Open,
    /// A part of a function type that is written out.
    Typed,
}

impl Role {
    /// Whether the slot may have an annotation.
    pub(super) fn is_declared(self) -> bool {
        matches!(self, Role::Plain | Role::Typed)
    }
}

/// A function type: its parameters and its result are slots.
pub(super) struct Sig {
    pub params: Vec<NodeId>,
    pub result: NodeId,
}

enum Task {
    Unify(NodeId, NodeId),
    Escape(Val),
    /// A function value: what flows into it, and what comes out, is `any`.
    EscapeSig(u32),
}

/// What is done to records through `any`.
#[derive(Default)]
struct Records {
    /// Fields of the structs, then of the variants.
    fields: Vec<Vec<(Name, NodeId)>>,
    escaped: Vec<bool>,
    by_name: HashMap<Name, Vec<(u32, NodeId)>>,
    reads: HashSet<Name>,
    read_all: bool,
    writes: HashMap<Name, NodeId>,
    write_all: Option<NodeId>,
    methods: HashMap<Name, Vec<(u32, u32)>>,
    called: HashSet<Name>,
}

/// The nodes and what waits to be done.
pub(super) struct Graph {
    nodes: Vec<Node>,
    deps: Vec<(ConId, u32)>,
    pub(super) sigs: Vec<Sig>,
    escaped_sigs: HashSet<u32>,
    shared_keys: HashSet<NodeId>,
    tasks: Vec<Task>,
    records: Records,
    union_ctors: Vec<Vec<u32>>,
    struct_count: u32,
    whys: Vec<Why>,
    /// The expression that is being looked at, for reasons of demotion.
    pub(super) at: u32,
    queue: std::collections::VecDeque<ConId>,
    queued: Vec<bool>,
    /// Flows that were found necessary; the solver makes constraints of them.
    pub(super) new_flows: Vec<(NodeId, NodeId)>,
}

/// Nodes of fixed content. They are read only.
pub(super) const ANY: NodeId = 0;
pub(super) const NULL: NodeId = 1;
pub(super) const INT: NodeId = 2;
pub(super) const FLOAT: NodeId = 3;
pub(super) const BOOL: NodeId = 4;
pub(super) const STR: NodeId = 5;
pub(super) const BIGINT: NodeId = 6;
pub(super) const NOTHING: NodeId = 7;
/// The keys of all maps that are seen as `any`, and what such maps may be written at: those maps are one type. This one is no constant.
pub(super) const KEYS: NodeId = 8;

impl Graph {
    pub(super) fn new(resolution: &Resolution, capacity: usize) -> Graph {
        let mut graph = Graph {
            nodes: Vec::with_capacity(capacity),
            deps: Vec::with_capacity(capacity),
            sigs: Vec::new(),
            escaped_sigs: HashSet::new(),
            shared_keys: HashSet::new(),
            tasks: Vec::new(),
            records: Records::default(),
            union_ctors: resolution
                .unions
                .iter()
                .map(|u| u.ctors.iter().map(|ctor| ctor.0).collect())
                .collect(),
            struct_count: resolution.structs.len() as u32,
            whys: Vec::new(),
            at: NONE,
            queue: Default::default(),
            queued: Vec::new(),
            new_flows: Vec::new(),
        };
        let kinds = [Kind::Int, Kind::Float, Kind::Bool, Kind::Str, Kind::BigInt];
        graph.add(Val::ANY);
        graph.add(Val::NULL);
        for kind in kinds {
            graph.add(Val::scalar(kind));
        }
        graph.add(Val::BOTTOM);
        graph.add(Val::BOTTOM);
        let count = resolution.structs.len() + resolution.ctors.len();
        graph.records.fields = (0..count).map(|_| Vec::new()).collect();
        graph.records.escaped = vec![false; count];
        graph
    }

    // ---- Nodes ----

    pub(super) fn add(&mut self, val: Val) -> NodeId {
        let id = self.nodes.len() as NodeId;
        let Val { kind, null, a, b } = val;
        let (size, why, first_dep, last_dep) = (1, 0, NONE, NONE);
        self.nodes.push(Node {
            parent: id,
            kind,
            null,
            declared: false,
            role: Role::Plain,
            open: false,
            typed: false,
            crossed: false,
            a,
            b,
            size,
            why,
            first_dep,
            last_dep,
        });
        id
    }

    pub(super) fn add_declared(&mut self, val: Val) -> NodeId {
        let id = self.add(val);
        self.nodes[id as usize].declared = true;
        id
    }

    /// A slot that nothing is known of, with a role.
    pub(super) fn add_with(&mut self, role: Role) -> NodeId {
        let id = self.add(Val::BOTTOM);
        let node = &mut self.nodes[id as usize];
        (node.role, node.open) = (role, role == Role::Param);
        id
    }

    pub(super) fn role(&self, id: NodeId) -> Role {
        self.nodes[id as usize].role
    }

    /// The node is a part of a function type that is written out.
    pub(super) fn mark_typed(&mut self, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        if node.declared && node.role == Role::Plain {
            (node.role, node.typed) = (Role::Typed, true);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn add_sig(&mut self, params: Vec<NodeId>, result: NodeId) -> u32 {
        self.sigs.push(Sig { params, result });
        self.sigs.len() as u32 - 1
    }

    pub(super) fn find(&self, mut id: NodeId) -> NodeId {
        while self.nodes[id as usize].parent != id {
            id = self.nodes[id as usize].parent;
        }
        id
    }

    fn root(&mut self, mut id: NodeId) -> NodeId {
        loop {
            let parent = self.nodes[id as usize].parent;
            if parent == id {
                return id;
            }
            let above = self.nodes[parent as usize].parent;
            self.nodes[id as usize].parent = above;
            id = above;
        }
    }

    pub(super) fn val(&mut self, id: NodeId) -> Val {
        let root = self.root(id);
        let node = &self.nodes[root as usize];
        Val { kind: node.kind, null: node.null, a: node.a, b: node.b }
    }

    pub(super) fn final_val(&self, id: NodeId) -> Val {
        let node = &self.nodes[self.find(id) as usize];
        Val { kind: node.kind, null: node.null, a: node.a, b: node.b }
    }

    pub(super) fn why(&self, id: NodeId) -> Option<Why> {
        let why = self.nodes[self.find(id) as usize].why;
        why.checked_sub(1).map(|index| self.whys[index as usize])
    }

    pub(super) fn watch(&mut self, id: NodeId, con: ConId) {
        let root = self.root(id) as usize;
        let dep = self.deps.len() as u32;
        self.deps.push((con, NONE));
        let node = &mut self.nodes[root];
        let last = std::mem::replace(&mut node.last_dep, dep);
        if last == NONE {
            node.first_dep = dep;
        } else {
            self.deps[last as usize].1 = dep;
        }
    }

    /// Makes a constraint wait for its turn.
    pub(super) fn enqueue(&mut self, con: ConId) {
        let index = con as usize;
        if self.queued.len() <= index {
            self.queued.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.queued[index], true) {
            self.queue.push_back(con);
        }
    }

    pub(super) fn next(&mut self) -> Option<ConId> {
        let con = self.queue.pop_front()?;
        self.queued[con as usize] = false;
        Some(con)
    }

    fn wake(&mut self, root: NodeId) {
        let mut dep = self.nodes[root as usize].first_dep;
        while dep != NONE {
            let (con, next) = self.deps[dep as usize];
            self.enqueue(con);
            dep = next;
        }
    }

    fn note(&mut self, root: NodeId, had: Kind, got: Kind) {
        if self.nodes[root as usize].why == 0 {
            self.whys.push(Why { at: self.at, had, got });
            self.nodes[root as usize].why = self.whys.len() as u32;
        }
    }

    fn set_null(&mut self, root: NodeId) {
        let node = &mut self.nodes[root as usize];
        if !node.null {
            node.null = true;
            if node.declared {
                self.note(root, self.nodes[root as usize].kind, Kind::Bottom);
            }
            self.wake(root);
        }
    }

    /// Marks an annotation as one that includes null.
    pub(super) fn declare_null(&mut self, id: NodeId) {
        let root = self.root(id);
        self.nodes[root as usize].null = true;
    }

    /// Whether ints that flow into the slot are converted.
    pub(super) fn is_declared_number(&mut self, id: NodeId) -> bool {
        let root = self.root(id);
        let kind = self.nodes[root as usize].kind;
        self.declared_at(id, root) && matches!(kind, Kind::Float | Kind::BigInt | Kind::BigRat)
    }

    /// Whether an annotation of the slot `root` is one for what flows into the node.
    fn declared_at(&self, id: NodeId, root: NodeId) -> bool {
        let (own, all) = (&self.nodes[id as usize], &self.nodes[root as usize]);
        all.declared && (all.typed || !(all.open || own.role == Role::Open))
    }

    /// Makes a slot `any`.
    pub(super) fn set_any(&mut self, id: NodeId, got: Kind) {
        let root = self.root(id);
        let old = self.val(root);
        if old.kind == Kind::Any {
            return;
        }
        if old.kind != Kind::Bottom {
            self.note(root, old.kind, got);
        }
        let node = &mut self.nodes[root as usize];
        (node.kind, node.null) = (Kind::Any, true);
        self.wake(root);
        self.escape(old);
    }

    fn escape(&mut self, val: Val) {
        if matches!(val.kind, Kind::List | Kind::Map | Kind::Fun | Kind::Struct | Kind::Union) {
            self.tasks.push(Task::Escape(val));
        }
    }

    /// A value of this type is stored in a slot.
    pub(super) fn flow(&mut self, into: NodeId, val: Val) {
        use Kind::*;
        let root = self.root(into);
        let declared = self.declared_at(into, root);
        let node = &self.nodes[root as usize];
        let (kind, a, b) = (node.kind, node.a, node.b);
        match (val.kind, kind) {
            (Bottom, _) => {}
            (_, Any) => return self.escape(val),
            (Any, _) if declared && kind.crosses() => {
                self.nodes[root as usize].crossed = true;
                return;
            }
            (Any, _) => return self.set_any(root, Any),
            (_, Bottom) => {
                let node = &mut self.nodes[root as usize];
                (node.kind, node.a, node.b) = (val.kind, val.a, val.b);
                node.null |= val.null;
                return self.wake(root);
            }
            (Int | Float | BigRat, BigInt) | (Int | BigInt | Float, BigRat) | (Int, Float) if declared => {
                self.nodes[root as usize].crossed = true;
            }
            (List, List) => self.tasks.push(Task::Unify(a, val.a)),
            (Map, Map) => {
                self.tasks.push(Task::Unify(a, val.a));
                self.tasks.push(Task::Unify(b, val.b));
            }
            (Struct, Struct) | (Union, Union) if a == val.a => {}
            (Fun, Fun) if self.unify_sigs(a, val.a) => {}
            (got, had) if got == had && !matches!(got, Struct | Union | Fun) => {}
            (got, _) => {
                self.escape(val);
                return self.set_any(root, got);
            }
        }
        if val.null && kind != Any {
            self.set_null(root);
        }
    }

    /// Whether both have as many parameters; then their slots become one.
    fn unify_sigs(&mut self, left: u32, right: u32) -> bool {
        if left == right {
            return true;
        }
        let (a, b) = (&self.sigs[left as usize], &self.sigs[right as usize]);
        if a.params.len() != b.params.len() {
            return false;
        }
        self.tasks.push(Task::Unify(a.result, b.result));
        let pairs = a.params.iter().zip(&b.params);
        self.tasks.extend(pairs.map(|(&a, &b)| Task::Unify(a, b)));
        true
    }

    /// Two slots are one.
    pub(super) fn unify(&mut self, left: NodeId, right: NodeId) {
        self.tasks.push(Task::Unify(left, right));
    }

    fn unify_now(&mut self, left: NodeId, right: NodeId) {
        use Kind::*;
        let (mut left, mut right) = (self.root(left), self.root(right));
        if left == right {
            return;
        }
        if self.nodes[left as usize].size < self.nodes[right as usize].size {
            (left, right) = (right, left);
        }
        let (a, b) = (self.val(left), self.val(right));
        let mut both = match (a.kind, b.kind) {
            (Bottom, _) => b,
            (_, Bottom) => a,
            (Any, _) | (_, Any) => Val::ANY,
            (List, List) => {
                self.tasks.push(Task::Unify(a.a, b.a));
                a
            }
            (Map, Map) => {
                self.tasks.push(Task::Unify(a.a, b.a));
                self.tasks.push(Task::Unify(a.b, b.b));
                a
            }
            (Struct, Struct) | (Union, Union) if a.a == b.a => a,
            (Fun, Fun) if self.unify_sigs(a.a, b.a) => a,
            (x, y) if x == y && !matches!(x, Struct | Union | Fun) => a,
            _ => Val::ANY,
        };
        both.null = a.null || b.null || both.kind == Any;
        if both.kind == Any {
            if a.kind != Any && a.kind != Bottom {
                self.note(left, a.kind, b.kind);
            } else if b.kind != Any && b.kind != Bottom {
                self.note(left, b.kind, a.kind);
            }
            if a.kind != Any {
                self.escape(a);
            }
            if b.kind != Any {
                self.escape(b);
            }
        }
        let differs = |old: Val| (old.kind, old.null) != (both.kind, both.null);
        let rises = |graph: &Graph, id: NodeId| graph.nodes[id as usize].first_dep != NONE;
        if differs(a) && rises(self, left) {
            self.wake(left);
        }
        if differs(b) && rises(self, right) {
            self.wake(right);
        }
        let Node { declared, open, typed, crossed, size, why, first_dep, last_dep, .. } =
            self.nodes[right as usize];
        self.nodes[right as usize].parent = left;
        let node = &mut self.nodes[left as usize];
        (node.kind, node.null, node.a, node.b) = (both.kind, both.null, both.a, both.b);
        node.declared |= declared;
        node.open |= open;
        node.typed |= typed;
        node.crossed |= crossed;
        let disputed = node.crossed && node.open && !node.typed;
        node.size += size;
        if node.why == 0 {
            node.why = why;
        }
        if first_dep != NONE {
            let last = std::mem::replace(&mut node.last_dep, last_dep);
            if last == NONE {
                node.first_dep = first_dep;
            } else {
                self.deps[last as usize].1 = first_dep;
            }
        }
        if disputed {
            self.set_any(left, Any);
        }
    }

    /// Does what waits.
    pub(super) fn settle(&mut self) {
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Unify(left, right) => self.unify_now(left, right),
                Task::EscapeSig(sig) => {
                    // What a function returns may be the function.
                    if !self.escaped_sigs.insert(sig) {
                        continue;
                    }
                    let Sig { params, result } = &self.sigs[sig as usize];
                    let (params, result) = (params.clone(), *result);
                    for param in params {
                        self.flow(param, Val::ANY);
                    }
                    self.new_flows.push((result, ANY));
                }
                Task::Escape(val) => match val.kind {
                    Kind::List => self.set_any(val.a, Kind::Any),
                    Kind::Map => {
                        self.share_keys(val.a);
                        self.set_any(val.b, Kind::Any);
                    }
                    Kind::Fun => self.tasks.push(Task::EscapeSig(val.a)),
                    Kind::Struct => self.escape_record(val.a),
                    Kind::Union => {
                        for index in 0..self.union_ctors[val.a as usize].len() {
                            let ctor = self.union_ctors[val.a as usize][index];
                            self.escape_record(self.struct_count + ctor);
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    /// The keys of a map are those of all maps that are seen as `any`.
    fn share_keys(&mut self, keys: NodeId) {
        let keys = self.root(keys);
        if self.shared_keys.insert(keys) {
            self.new_flows.extend([(keys, KEYS), (KEYS, keys)]);
        }
    }

    // ---- Records ----

    pub(super) fn set_fields(&mut self, record: u32, fields: Vec<(Name, NodeId)>) {
        for &(name, node) in &fields {
            self.records.by_name.entry(name).or_default().push((record, node));
        }
        self.records.fields[record as usize] = fields;
    }

    pub(super) fn add_method(&mut self, of: StructId, name: Name, sig: u32) {
        self.records.methods.entry(name).or_default().push((of.0, sig));
    }

    pub(super) fn method_sig(&self, of: u32, name: Name) -> Option<u32> {
        let methods = self.records.methods.get(&name)?;
        methods.iter().rev().find(|method| method.0 == of).map(|method| method.1)
    }

    pub(super) fn fields(&self, record: u32) -> &[(Name, NodeId)] {
        &self.records.fields[record as usize]
    }

    pub(super) fn field(&self, record: u32, name: Name) -> Option<NodeId> {
        self.fields(record).iter().find(|field| field.0 == name).map(|field| field.1)
    }

    /// The records of a union.
    pub(super) fn variants(&self, union: u32) -> Vec<u32> {
        self.union_ctors[union as usize].iter().map(|ctor| self.struct_count + ctor).collect()
    }

    fn escape_record(&mut self, record: u32) {
        if std::mem::replace(&mut self.records.escaped[record as usize], true) {
            return;
        }
        for &(name, node) in &self.records.fields[record as usize] {
            if self.records.read_all || self.records.reads.contains(&name) {
                self.new_flows.push((node, ANY));
            }
            if let Some(&written) = self.records.writes.get(&name) {
                self.new_flows.push((written, node));
            }
            if let Some(written) = self.records.write_all {
                self.new_flows.push((written, node));
            }
        }
        for name in &self.records.called {
            for &(of, sig) in self.records.methods.get(name).map_or(&[][..], |list| list) {
                if of == record {
                    self.tasks.push(Task::EscapeSig(sig));
                }
            }
        }
    }

    /// A field is read through `any`, or called.
    pub(super) fn read_through_any(&mut self, name: Name) {
        if self.records.reads.insert(name) {
            for &(record, node) in self.records.by_name.get(&name).map_or(&[][..], |list| list) {
                if self.records.escaped[record as usize] {
                    self.new_flows.push((node, ANY));
                }
            }
        }
        if self.records.called.insert(name) {
            for &(of, sig) in self.records.methods.get(&name).map_or(&[][..], |list| list) {
                if self.records.escaped[of as usize] {
                    self.tasks.push(Task::EscapeSig(sig));
                }
            }
        }
    }

    /// Any field may be read through `any`.
    pub(super) fn read_all_through_any(&mut self) {
        if !std::mem::replace(&mut self.records.read_all, true) {
            for (record, fields) in self.records.fields.iter().enumerate() {
                if self.records.escaped[record] {
                    self.new_flows.extend(fields.iter().map(|&(_, node)| (node, ANY)));
                }
            }
        }
    }

    /// The node of what is stored to a field through `any`.
    pub(super) fn written_through_any(&mut self, name: Name) -> NodeId {
        if let Some(&node) = self.records.writes.get(&name) {
            return node;
        }
        let written = self.add(Val::BOTTOM);
        self.records.writes.insert(name, written);
        for &(record, node) in self.records.by_name.get(&name).map_or(&[][..], |list| list) {
            if self.records.escaped[record as usize] {
                self.new_flows.push((written, node));
            }
        }
        written
    }

    /// The node of what is stored to some field through `any`.
    pub(super) fn written_anywhere(&mut self) -> NodeId {
        if let Some(node) = self.records.write_all {
            return node;
        }
        let written = self.add(Val::BOTTOM);
        self.records.write_all = Some(written);
        for (record, fields) in self.records.fields.iter().enumerate() {
            if self.records.escaped[record] {
                self.new_flows.extend(fields.iter().map(|&(_, node)| (written, node)));
            }
        }
        written
    }

    /// Makes types that contain themselves, or nest too deeply, `any`. Tells whether there were any.
    pub(super) fn cut_deep(&mut self, limit: usize) -> bool {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done(u16),
        }
        let mut states = vec![State::New; self.nodes.len()];
        let mut cut = Vec::new();
        let mut stack: Vec<(NodeId, usize, u16)> = Vec::new();
        for start in 0..self.nodes.len() as u32 {
            if self.nodes[start as usize].parent != start || states[start as usize] != State::New {
                continue;
            }
            if !matches!(self.nodes[start as usize].kind, Kind::List | Kind::Map | Kind::Fun) {
                continue;
            }
            stack.push((start, 0, 0));
            states[start as usize] = State::Open;
            while let Some(&mut (id, ref mut next, ref mut height)) = stack.last_mut() {
                let node = &self.nodes[id as usize];
                let child = match (node.kind, *next) {
                    (Kind::List | Kind::Map, 0) => Some(node.a),
                    (Kind::Map, 1) => Some(node.b),
                    (Kind::Fun, at) => {
                        let sig = &self.sigs[node.a as usize];
                        if at == 0 { Some(sig.result) } else { sig.params.get(at - 1).copied() }
                    }
                    _ => None,
                };
                *next += 1;
                let Some(child) = child else {
                    let height = *height;
                    states[id as usize] = State::Done(height);
                    if usize::from(height) > limit {
                        cut.push(id);
                        states[id as usize] = State::Done(0);
                    }
                    stack.pop();
                    if let Some(top) = stack.last_mut() {
                        let State::Done(height) = states[id as usize] else { unreachable!("just set") };
                        top.2 = top.2.max(height + 1);
                    }
                    continue;
                };
                let child = self.find(child);
                match states[child as usize] {
                    State::Open => cut.push(child),
                    State::Done(below) => *height = (*height).max(below + 1),
                    State::New => {
                        if matches!(self.nodes[child as usize].kind, Kind::List | Kind::Map | Kind::Fun) {
                            states[child as usize] = State::Open;
                            stack.push((child, 0, 0));
                        } else {
                            states[child as usize] = State::Done(0);
                            *height = (*height).max(1);
                        }
                    }
                }
            }
        }
        for &id in &cut {
            self.set_any(id, Kind::Any);
        }
        self.settle();
        !cut.is_empty()
    }
}
