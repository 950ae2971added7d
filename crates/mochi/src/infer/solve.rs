//! The constraints: one per operation of the program whose meaning depends on the kinds of its operands.
//!
//! A constraint is executed when it is made and again whenever a node that it watches rises. Executing one only raises
//! nodes, merges them and adds further flows, so the order does not matter for soundness.

use std::collections::HashSet;
use std::ops::Range;

use super::graph::{ANY, ConId, Graph, KEYS, Kind, NOTHING, NodeId, Val};
use crate::resolve::Resolution;
use crate::syntax::ast::{BinaryOp, Name};

/// A constraint.
#[derive(Clone, Copy, Debug)]
pub(super) enum Con {
    /// The value of `src` is stored in `dst`.
    Flow { src: NodeId, dst: NodeId },
    /// `dst` gets the value of `src`, which is not none there.
    NonNull { src: NodeId, dst: NodeId },
    /// `out = left op right` for `+ - * / %`.
    Arith { op: BinaryOp, left: NodeId, right: NodeId, out: NodeId },
    /// `out = -src`, or another function that keeps the kinds of numbers.
    Number { src: NodeId, out: NodeId },
    /// `round`: ints stay ints without a number of digits.
    Round { src: NodeId, digits: bool, out: NodeId },
    /// `out = base[key]`. `has`: the key is known to be in the map. `name`: the key is a literal text.
    Index { base: NodeId, key: NodeId, has: bool, name: Option<Name>, out: NodeId },
    /// `out = base[a:b]`, or the same elements in another order. `list`: none is taken for an empty list.
    Slice { base: NodeId, list: bool, out: NodeId },
    /// `out = base.name`
    Field { base: NodeId, name: Name, out: NodeId },
    /// `base[key] = value`
    StoreIndex { base: NodeId, key: NodeId, value: NodeId, name: Option<Name> },
    /// `base.name = value`
    StoreField { base: NodeId, name: Name, value: NodeId },
    /// `out` runs over `src`.
    Iterate { src: NodeId, out: NodeId },
    /// `out` is an element of the list `src`.
    Element { src: NodeId, out: NodeId },
    /// The list `src` has elements like `elem`.
    SameElements { src: NodeId, elem: NodeId },
    /// `elem` gets the keys of `src`.
    Keys { src: NodeId, elem: NodeId },
    /// `elem` gets the values of `src`.
    Values { src: NodeId, elem: NodeId },
    /// `out` is the sum of elements like `src`.
    Sum { src: NodeId, out: NodeId },
    /// `out` is the least or greatest of elements like `src`.
    Least { src: NodeId, out: NodeId },
    /// A call: see [`CallData`].
    Call { data: u32 },
    /// `base.name(..)`: see [`CallData`].
    Method { base: NodeId, name: Name, data: u32 },
    /// `src` is converted to the type of `dst`.
    Cast { src: NodeId, dst: NodeId },
    /// The arms of a match cover a union: none comes out if `src` may be anything else.
    Covers { src: NodeId, union: u32, out: NodeId },
}

/// What is called where no candidate holds a function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Parameters and result of a function.
    Sig(u32),
    /// The node of the result, where arguments are dealt with.
    Node(NodeId),
    /// Nothing.
    Undefined,
}

/// Arguments and progress of a call.
#[derive(Clone, Debug)]
pub(super) struct CallData {
    /// The values that may be called, nearest first.
    pub callees: Vec<NodeId>,
    pub otherwise: Target,
    pub args: Range<u32>,
    pub out: NodeId,
    /// Signatures that the arguments have been passed to already.
    done: Vec<u32>,
    dynamic: bool,
    fell_through: bool,
    /// A callee without any value holds no function.
    forced: bool,
    waits: bool,
}

/// Interned names of methods that builtin kinds have.
pub(super) struct MethodNames {
    pub contains: Option<Name>,
    pub starts_with: Option<Name>,
    pub pad_start: Option<Name>,
    pub keys: Option<Name>,
    pub values: Option<Name>,
    pub get: Option<Name>,
    pub join: Option<Name>,
}

/// The graph with its constraints.
pub(super) struct Solver {
    pub graph: Graph,
    cons: Vec<(Con, u32)>,
    /// The payload that an index, call or similar constraint was last executed for.
    seen: Vec<u32>,
    pub calls: Vec<CallData>,
    pub args: Vec<NodeId>,
    pub methods: MethodNames,
    /// The parts that casts convert to one another.
    cast: HashSet<(NodeId, NodeId)>,
}

const UNSEEN: u32 = u32::MAX;

impl Solver {
    pub(super) fn new(resolution: &Resolution, capacity: usize, methods: MethodNames) -> Solver {
        Solver {
            graph: Graph::new(resolution, capacity),
            cons: Vec::with_capacity(capacity),
            seen: Vec::with_capacity(capacity),
            calls: Vec::new(),
            args: Vec::new(),
            methods,
            cast: HashSet::new(),
        }
    }

    pub(super) fn node(&mut self) -> NodeId {
        self.graph.add(Val::BOTTOM)
    }

    pub(super) fn node_of(&mut self, val: Val) -> NodeId {
        self.graph.add(val)
    }

    /// Adds a constraint and executes it for what is known by now.
    pub(super) fn add(&mut self, con: Con) {
        let id = self.cons.len() as ConId;
        self.cons.push((con, self.graph.at));
        self.seen.push(UNSEEN);
        match con {
            Con::Flow { src, .. }
            | Con::NonNull { src, .. }
            | Con::Number { src, .. }
            | Con::Round { src, .. }
            | Con::Iterate { src, .. }
            | Con::Element { src, .. }
            | Con::SameElements { src, .. }
            | Con::Keys { src, .. }
            | Con::Values { src, .. }
            | Con::Sum { src, .. }
            | Con::Least { src, .. }
            | Con::Covers { src, .. } => self.graph.watch(src, id),
            Con::Cast { src, dst } => {
                self.graph.watch(src, id);
                self.graph.watch(dst, id);
            }
            Con::Slice { base, .. }
            | Con::Field { base, .. }
            | Con::StoreField { base, .. }
            | Con::Method { base, .. } => self.graph.watch(base, id),
            Con::Arith { left, right, .. } => {
                self.graph.watch(left, id);
                self.graph.watch(right, id);
            }
            Con::Index { base, key, .. } | Con::StoreIndex { base, key, .. } => {
                self.graph.watch(base, id);
                self.graph.watch(key, id);
            }
            Con::Call { data } => {
                for index in 0..self.calls[data as usize].callees.len() {
                    let callee = self.calls[data as usize].callees[index];
                    self.graph.watch(callee, id);
                }
            }
        }
        self.execute(id);
        self.settle();
    }

    pub(super) fn flow(&mut self, src: NodeId, dst: NodeId) {
        if src != dst && src != NOTHING {
            self.add(Con::Flow { src, dst });
        }
    }

    fn settle(&mut self) {
        loop {
            self.graph.settle();
            let Some((src, dst)) = self.graph.new_flows.pop() else { break };
            let id = self.cons.len() as ConId;
            self.cons.push((Con::Flow { src, dst }, self.graph.at));
            self.seen.push(UNSEEN);
            self.graph.watch(src, id);
            self.execute(id);
        }
    }

    /// Runs until nothing rises any more.
    pub(super) fn solve(&mut self) {
        loop {
            while let Some(id) = self.graph.next() {
                self.graph.at = self.cons[id as usize].1;
                self.execute(id);
                self.settle();
            }
            // A callee that never gets a value holds no function: try what is further out.
            let (mut more, mut risen) = (false, false);
            for (index, &(con, _)) in self.cons.iter().enumerate() {
                if let Con::Call { data } = con {
                    let data = &mut self.calls[data as usize];
                    if data.waits && !data.forced {
                        data.forced = true;
                        more = true;
                        self.graph.enqueue(index as ConId);
                    }
                }
            }
            // Of a list that never gets an element, sum, min and max are the int 0.
            for index in 0..self.cons.len() {
                if !more
                    && let Con::Sum { src, out } | Con::Least { src, out } = self.cons[index].0
                    && self.graph.val(src) == Val::BOTTOM
                    && self.graph.val(out) == Val::BOTTOM
                {
                    self.graph.flow(out, Val::scalar(Kind::Int));
                    risen = true;
                }
            }
            // What never is anything but none becomes an empty list.
            for index in 0..self.cons.len() {
                if !more
                    && let Con::Slice { base, list: true, out } = self.cons[index].0
                    && self.graph.val(base) == Val::NULL
                    && self.graph.val(out).kind == Kind::Bottom
                {
                    let elem = self.node();
                    self.graph.flow(out, Val::list(elem));
                    risen = true;
                }
            }
            if !more && !risen && !self.graph.cut_deep(super::MAX_DEPTH) {
                self.settle();
                if self.graph.next().map(|id| self.graph.enqueue(id)).is_none() {
                    break;
                }
            }
        }
    }

    pub(super) fn new_call(
        &mut self,
        callees: Vec<NodeId>,
        otherwise: Target,
        args: Range<u32>,
        out: NodeId,
    ) -> u32 {
        let (done, dynamic, fell_through, forced, waits) = (Vec::new(), false, false, false, false);
        self.calls.push(CallData {
            callees,
            otherwise,
            args,
            out,
            done,
            dynamic,
            fell_through,
            forced,
            waits,
        });
        self.calls.len() as u32 - 1
    }

    /// Passes arguments to a function; too few make a function of the rest.
    pub(super) fn pass(&mut self, sig: u32, args: Range<u32>, out: NodeId) {
        let given = args.len();
        let (params, result) = {
            let sig = &self.graph.sigs[sig as usize];
            (sig.params.clone(), sig.result)
        };
        for (arg, &param) in args.zip(&params) {
            self.flow(self.args[arg as usize], param);
        }
        if given < params.len() {
            let rest = self.graph.add_sig(params[given..].to_vec(), result);
            self.graph.flow(out, Val::of(Kind::Fun, rest));
        } else {
            self.flow(result, out);
        }
    }

    fn pass_any(&mut self, args: Range<u32>) {
        for arg in args {
            self.flow(self.args[arg as usize], ANY);
        }
    }

    fn once(&mut self, id: ConId, payload: u32) -> bool {
        std::mem::replace(&mut self.seen[id as usize], payload) != payload
    }

    /// Whether this is the first time that the constraint sees the slot, which may have been merged since.
    fn once_for(&mut self, id: ConId, slot: NodeId) -> bool {
        let seen = self.seen[id as usize];
        if seen < KEY_SEEN && self.graph.find(seen) == self.graph.find(slot) {
            return false;
        }
        self.seen[id as usize] = slot;
        true
    }

    fn execute(&mut self, id: ConId) {
        match self.cons[id as usize].0 {
            Con::Flow { src, dst } => {
                let val = self.graph.val(src);
                self.graph.flow(dst, val);
            }
            Con::NonNull { src, dst } => {
                let val = self.graph.val(src).non_null();
                self.graph.flow(dst, val);
            }
            Con::Arith { op, left, right, out } => self.arith(id, op, left, right, out),
            Con::Number { src, out } => {
                let val = self.graph.val(src);
                let result = if val.kind.is_number() || val.kind == Kind::Bottom { val } else { Val::ANY };
                self.graph.flow(out, result);
            }
            Con::Round { src, digits, out } => {
                let val = self.graph.val(src);
                let result = match val.kind {
                    Kind::Bottom => Val { ..val },
                    Kind::Int if !digits && !val.null => val,
                    Kind::Float => Val::scalar(Kind::Float).or_null(val.null),
                    _ => Val::ANY,
                };
                self.graph.flow(out, result);
            }
            Con::Index { base, key, has, name, out } => self.index(id, base, key, has, name, out),
            Con::Slice { base, out, .. } => {
                let val = self.graph.val(base);
                let result = match val.kind {
                    Kind::Bottom | Kind::Str | Kind::List | Kind::Any => val,
                    _ => Val::ANY,
                };
                self.graph.flow(out, result);
            }
            Con::Field { base, name, out } => self.field(id, base, name, out),
            Con::StoreIndex { base, key, value, name } => self.store_index(id, base, key, value, name),
            Con::StoreField { base, name, value } => self.store_field(id, base, name, value),
            Con::Iterate { src, out } => {
                let val = self.graph.val(src);
                match val.kind {
                    Kind::List | Kind::Map => {
                        if self.once_for(id, val.a) {
                            self.flow(val.a, out);
                        }
                    }
                    Kind::Str | Kind::Struct | Kind::Union => self.graph.flow(out, Val::scalar(Kind::Str)),
                    Kind::Any => self.graph.flow(out, Val::ANY),
                    _ => {}
                }
            }
            Con::Element { src, out } => {
                let val = self.graph.val(src);
                match val.kind {
                    Kind::List => {
                        if self.once_for(id, val.a) {
                            self.flow(val.a, out);
                        }
                    }
                    Kind::Any => {
                        self.graph.read_all_through_any();
                        self.graph.flow(out, Val::ANY);
                    }
                    _ => {}
                }
            }
            Con::SameElements { src, elem } => {
                let val = self.graph.val(src);
                match val.kind {
                    Kind::List => self.graph.unify(val.a, elem),
                    Kind::Any => self.graph.set_any(elem, Kind::Any),
                    _ => {}
                }
            }
            Con::Keys { src, elem } => {
                let val = self.graph.val(src);
                match val.kind {
                    Kind::Map => {
                        if self.once_for(id, val.a) {
                            self.flow(val.a, elem);
                        }
                    }
                    Kind::Struct | Kind::Union => self.graph.flow(elem, Val::scalar(Kind::Str)),
                    Kind::Bottom => {}
                    _ => self.graph.set_any(elem, Kind::Any),
                }
            }
            Con::Values { src, elem } => {
                let val = self.graph.val(src);
                match val.kind {
                    Kind::Map => {
                        if self.once_for(id, val.b) {
                            self.flow(val.b, elem);
                        }
                    }
                    Kind::Bottom => {}
                    Kind::Struct | Kind::Union => {
                        self.escape_value(val);
                        self.graph.read_all_through_any();
                        self.graph.set_any(elem, Kind::Any);
                    }
                    _ => {
                        self.graph.read_all_through_any();
                        self.graph.set_any(elem, Kind::Any);
                    }
                }
            }
            Con::Sum { src, out } => {
                let val = self.graph.val(src);
                let result = match val.kind {
                    Kind::Bottom if !val.null => Val::BOTTOM,
                    // What is none is left out.
                    Kind::Int => Val::scalar(Kind::Int),
                    kind if kind.is_number() && !val.null => val,
                    _ => Val::ANY,
                };
                self.graph.flow(out, result);
            }
            Con::Least { src, out } => {
                let val = self.graph.val(src);
                let result = match val.kind {
                    Kind::Bottom if !val.null => Val::BOTTOM,
                    Kind::Int => Val::scalar(Kind::Int),
                    Kind::Float if !val.null => val,
                    _ => Val::ANY,
                };
                if result == Val::ANY {
                    self.graph.flow(ANY, val);
                }
                self.graph.flow(out, result);
            }
            Con::Call { data } => self.call(data),
            Con::Method { base, name, data } => self.method(id, base, name, data),
            Con::Cast { src, dst } => self.cast(src, dst),
            Con::Covers { src, union, out } => {
                let val = self.graph.val(src);
                if val.null || !(val.kind == Kind::Bottom || val.kind == Kind::Union && val.a == union) {
                    self.graph.flow(out, Val::NULL);
                }
            }
        }
    }

    /// What is inside the value is seen as `any`.
    fn escape_value(&mut self, val: Val) {
        self.graph.flow(ANY, val);
    }

    fn arith(&mut self, id: ConId, op: BinaryOp, left: NodeId, right: NodeId, out: NodeId) {
        use Kind::*;
        let (a, b) = (self.graph.val(left), self.graph.val(right));
        // A sum with a text or list is one wherever that is not null: null adds nothing to a list, and its text to a text.
        let adds = |val: Val| op == BinaryOp::Add && matches!(val.kind, Str | List);
        let null = match (adds(a), adds(b)) {
            (true, true) => a.null && b.null,
            (true, false) => a.null,
            (false, true) => b.null,
            (false, false) => a.null || b.null,
        };
        let kind = match (a.kind, b.kind) {
            (Bottom, _) | (_, Bottom) => {
                // No value, or none on one side: none comes out, except where a text or list adds it as a text, or as no elements.
                let other = match (a.kind, b.kind) {
                    (Bottom, _) if a.null => b,
                    (_, Bottom) if b.null => a,
                    _ => return,
                };
                match other.kind {
                    Str if op == BinaryOp::Add => self.graph.flow(out, other),
                    List if op == BinaryOp::Add => {
                        if self.once_for(id, other.a) {
                            self.flow(other.a, ANY);
                        }
                        self.graph.flow(out, Val::ANY);
                    }
                    // What it is shows when the program runs.
                    Any if op == BinaryOp::Add => self.graph.flow(out, Val::ANY),
                    _ => self.graph.flow(out, Val::NULL),
                }
                return;
            }
            (Any, _) | (_, Any) => {
                // A sum of lists holds the elements of both.
                if let Some(list) = [a, b].into_iter().find(|val| val.kind == List && op == BinaryOp::Add)
                    && self.once_for(id, list.a)
                {
                    self.flow(list.a, ANY);
                }
                Any
            }
            (List, List) if op == BinaryOp::Add => {
                self.graph.unify(a.a, b.a);
                return self.graph.flow(out, Val { null, ..a });
            }
            (Str, _) | (_, Str) if op == BinaryOp::Add => Str,
            (x, y) if x.is_number() && y.is_number() => match (x, y) {
                (Float, _) | (_, Float) => Float,
                (BigRat, _) | (_, BigRat) => BigRat,
                (BigInt, _) | (_, BigInt) => BigInt,
                _ => Int,
            },
            _ => {
                // An error at run time; nothing may be assumed of what comes out in its stead.
                self.escape_value(a);
                self.escape_value(b);
                Any
            }
        };
        self.graph.flow(out, if kind == Any { Val::ANY } else { Val::scalar(kind).or_null(null) });
    }

    fn index(&mut self, id: ConId, base: NodeId, key: NodeId, has: bool, name: Option<Name>, out: NodeId) {
        let val = self.graph.val(base);
        if val.null && val.kind != Kind::Any {
            self.graph.flow(out, Val::NULL);
        }
        match val.kind {
            Kind::Str => self.graph.flow(out, Val::scalar(Kind::Str)),
            Kind::List => {
                if self.once_for(id, val.a) {
                    self.flow(val.a, out);
                }
            }
            Kind::Map => {
                // A key of another kind is looked up by its text, so the map must know keys of any kind.
                let kind = self.graph.val(key).kind;
                if !matches!(kind, Kind::Any | Kind::Bottom) {
                    self.graph.flow(val.a, Val::scalar(kind).non_null());
                }
                if self.once_for(id, val.b) {
                    self.flow(val.b, out);
                }
                if !has {
                    self.graph.flow(out, Val::NULL);
                }
            }
            Kind::Struct | Kind::Union => {
                self.escape_value(val);
                self.read_by_key(key, name);
                self.graph.flow(out, Val::ANY);
            }
            Kind::Any => {
                self.read_by_key(key, name);
                self.graph.flow(out, Val::ANY);
            }
            _ => {}
        }
    }

    fn read_by_key(&mut self, key: NodeId, name: Option<Name>) {
        match (name, self.graph.val(key).kind) {
            (Some(name), _) => self.graph.read_through_any(name),
            (None, Kind::Str | Kind::Any) => self.graph.read_all_through_any(),
            _ => {}
        }
    }

    fn field(&mut self, id: ConId, base: NodeId, name: Name, out: NodeId) {
        let val = self.graph.val(base);
        if val.null && val.kind != Kind::Any {
            self.graph.flow(out, Val::NULL);
        }
        match val.kind {
            Kind::Struct => match self.graph.field(val.a, name) {
                Some(field) => {
                    if self.once_for(id, field) {
                        self.flow(field, out);
                    }
                }
                // A method as a value, or nothing.
                None => {
                    self.escape_value(val);
                    self.graph.read_through_any(name);
                    self.graph.flow(out, Val::ANY);
                }
            },
            Kind::Union => {
                if self.once(id, val.a) {
                    let variants = self.graph.variants(val.a);
                    // `__name`, or nothing.
                    if !variants.iter().any(|&record| self.graph.field(record, name).is_some()) {
                        self.graph.flow(out, Val::ANY);
                        return;
                    }
                    for record in variants {
                        match self.graph.field(record, name) {
                            Some(field) => self.flow(field, out),
                            None => self.graph.flow(out, Val::NULL),
                        }
                    }
                }
            }
            Kind::Map => {
                self.graph.flow(val.a, Val::scalar(Kind::Str));
                if self.once_for(id, val.b) {
                    self.flow(val.b, out);
                }
                self.graph.flow(out, Val::NULL);
            }
            Kind::Any => {
                self.graph.read_through_any(name);
                self.graph.flow(out, Val::ANY);
            }
            Kind::Bottom => {}
            _ => self.graph.flow(out, Val::NULL),
        }
    }

    fn store_index(&mut self, id: ConId, base: NodeId, key: NodeId, value: NodeId, name: Option<Name>) {
        let val = self.graph.val(base);
        match val.kind {
            Kind::List => {
                if self.once_for(id, val.a) {
                    self.flow(value, val.a);
                }
            }
            Kind::Map => {
                let key_val = self.graph.val(key);
                self.graph.flow(val.a, key_val);
                if self.once_for(id, val.b) {
                    self.flow(value, val.b);
                }
            }
            Kind::Struct | Kind::Union | Kind::Any => {
                if val.kind != Kind::Any {
                    self.escape_value(val);
                }
                let key_val = self.graph.val(key);
                self.graph.flow(KEYS, key_val);
                if !matches!(self.seen[id as usize], ANY_SEEN | KEY_SEEN) {
                    self.seen[id as usize] = ANY_SEEN;
                    self.flow(value, ANY);
                }
                // Only a text can name a field.
                let named = name.is_some() || matches!(self.graph.val(key).kind, Kind::Str | Kind::Any);
                if named && self.once(id, KEY_SEEN) {
                    let written = match name {
                        Some(name) => self.graph.written_through_any(name),
                        None => self.graph.written_anywhere(),
                    };
                    self.flow(value, written);
                }
            }
            _ => {}
        }
    }

    fn store_field(&mut self, id: ConId, base: NodeId, name: Name, value: NodeId) {
        let val = self.graph.val(base);
        match val.kind {
            Kind::Struct => match self.graph.field(val.a, name) {
                Some(field) => {
                    if self.once_for(id, field) {
                        self.flow(value, field);
                    }
                }
                None => {
                    if self.once(id, ANY_SEEN) {
                        self.flow(value, ANY);
                    }
                }
            },
            Kind::Union => {
                if self.once(id, ANY_SEEN) {
                    for record in self.graph.variants(val.a) {
                        if let Some(field) = self.graph.field(record, name) {
                            self.flow(value, field);
                        }
                    }
                }
            }
            Kind::Map => {
                self.graph.flow(val.a, Val::scalar(Kind::Str));
                if self.once_for(id, val.b) {
                    self.flow(value, val.b);
                }
            }
            Kind::Any => {
                if self.once(id, ANY_SEEN) {
                    self.graph.flow(KEYS, Val::scalar(Kind::Str));
                    self.flow(value, ANY);
                    let written = self.graph.written_through_any(name);
                    self.flow(value, written);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, index: u32) {
        let data = &self.calls[index as usize];
        let (args, out, forced) = (data.args.clone(), data.out, data.forced);
        let count = data.callees.len();
        self.calls[index as usize].waits = false;
        for at in 0..count {
            let callee = self.calls[index as usize].callees[at];
            let mut val = self.graph.val(callee);
            let last = at + 1 == count && matches!(self.calls[index as usize].otherwise, Target::Undefined);
            if val.kind == Kind::Fun && val.null && !last {
                // Where it holds none, the name means what is further out. Calls of dynamic variables look.
                self.graph.set_any(callee, Kind::Any);
                val = Val::ANY;
            }
            match val.kind {
                Kind::Bottom if !forced => {
                    self.calls[index as usize].waits = true;
                    return;
                }
                Kind::Fun => {
                    let data = &mut self.calls[index as usize];
                    if !data.done.contains(&val.a) {
                        data.done.push(val.a);
                        self.pass(val.a, args, out);
                    }
                    return;
                }
                Kind::Any => {
                    if !std::mem::replace(&mut self.calls[index as usize].dynamic, true) {
                        self.pass_any(args.clone());
                        self.graph.flow(out, Val::ANY);
                    }
                }
                _ => {}
            }
        }
        if !std::mem::replace(&mut self.calls[index as usize].fell_through, true) {
            match self.calls[index as usize].otherwise {
                Target::Sig(sig) => self.pass(sig, args, out),
                Target::Node(node) => self.flow(node, out),
                Target::Undefined if count == 0 => self.graph.flow(out, Val::NULL),
                Target::Undefined => self.graph.flow(out, Val::ANY),
            }
        }
    }

    fn method(&mut self, id: ConId, base: NodeId, name: Name, data: u32) {
        let val = self.graph.val(base);
        let CallData { args, out, .. } = self.calls[data as usize].clone();
        let is = |known: Option<Name>| known == Some(name);
        match val.kind {
            Kind::Bottom => {}
            Kind::Any => {
                self.graph.read_through_any(name);
                if is(self.methods.values) || is(self.methods.get) {
                    self.graph.read_all_through_any();
                }
                if self.once(id, ANY_SEEN) {
                    self.pass_any(args);
                    self.graph.flow(out, Val::ANY);
                }
            }
            Kind::Struct => {
                // Methods were looked for when the call was made; what is left are fields.
                match self.graph.field(val.a, name) {
                    Some(field) => {
                        if self.once_for(id, field) {
                            let call = self.new_call(vec![field], Target::Undefined, args, out);
                            self.add(Con::Call { data: call });
                        }
                    }
                    None => match self.method_sig(val.a, name) {
                        Some(sig) => {
                            if self.once(id, sig) {
                                self.pass(sig, args, out);
                            }
                        }
                        None => {
                            self.escape_value(val);
                            self.graph.read_all_through_any();
                            if self.once(id, ANY_SEEN) {
                                self.pass_any(args);
                                self.graph.flow(out, Val::ANY);
                            }
                        }
                    },
                }
            }
            Kind::Map
                if (is(self.methods.keys) || is(self.methods.values) || is(self.methods.get))
                    && matches!(self.graph.val(val.b).kind, Kind::Fun | Kind::Any) =>
            {
                // The map may hold a function under the name, which goes first.
                self.escape_value(val);
                self.graph.read_through_any(name);
                if self.once(id, ANY_SEEN) {
                    self.pass_any(args);
                    self.graph.flow(out, Val::ANY);
                }
            }
            Kind::Map if is(self.methods.keys) => {
                if self.once_for(id, val.a) {
                    self.graph.watch(val.b, id);
                    let elem = self.node();
                    self.flow(val.a, elem);
                    self.graph.flow(out, Val::list(elem));
                }
            }
            Kind::Map if is(self.methods.values) => {
                if self.once_for(id, val.b) {
                    self.graph.watch(val.b, id);
                    let elem = self.node();
                    self.flow(val.b, elem);
                    self.graph.flow(out, Val::list(elem));
                }
            }
            Kind::Map if is(self.methods.get) => {
                if self.once_for(id, val.b) {
                    self.graph.watch(val.b, id);
                    self.flow(val.b, out);
                    match args.clone().nth(1) {
                        Some(default) => self.flow(self.args[default as usize], out),
                        None => self.graph.flow(out, Val::NULL),
                    }
                }
                if let Some(key) = args.clone().next() {
                    let key = self.graph.val(self.args[key as usize]);
                    if key.kind != Kind::Any {
                        self.graph.flow(val.a, key.non_null());
                    }
                }
            }
            Kind::Map => {
                if self.once_for(id, val.b) {
                    let call = self.new_call(vec![val.b], Target::Undefined, args, out);
                    self.add(Con::Call { data: call });
                }
                self.graph.flow(val.a, Val::scalar(Kind::Str));
                self.graph.flow(out, Val::NULL);
            }
            Kind::Str | Kind::List if is(self.methods.contains) => {
                self.graph.flow(out, Val::scalar(Kind::Bool))
            }
            Kind::Str if is(self.methods.starts_with) => self.graph.flow(out, Val::scalar(Kind::Bool)),
            Kind::Str | Kind::Int | Kind::Float | Kind::BigInt if is(self.methods.pad_start) => {
                self.graph.flow(out, Val::scalar(Kind::Str));
            }
            Kind::List if is(self.methods.join) => self.graph.flow(out, Val::scalar(Kind::Str)),
            Kind::Union => {
                self.escape_value(val);
                self.graph.read_through_any(name);
                if self.once(id, ANY_SEEN) {
                    self.pass_any(args);
                    self.graph.flow(out, Val::ANY);
                }
            }
            _ => {
                if self.once(id, ANY_SEEN) {
                    self.pass_any(args);
                    self.graph.flow(out, Val::ANY);
                }
            }
        }
    }

    fn method_sig(&self, of: u32, name: Name) -> Option<u32> {
        self.graph.method_sig(of, name)
    }

    /// What a conversion to the type of `dst` needs of `src`: where the target says `any`, what is there is seen as `any`;
    /// everything else is made anew or checked.
    fn cast(&mut self, src: NodeId, dst: NodeId) {
        let (from, to) = (self.graph.val(src), self.graph.val(dst));
        if from.null && from.kind != Kind::Any && !matches!(to.kind, Kind::Int | Kind::Float | Kind::Any) {
            self.graph.flow(dst, Val::NULL);
        }
        match (from.kind, to.kind) {
            (Kind::List, Kind::List) => self.cast_parts(from.a, to.a),
            (Kind::Map, Kind::Map) => {
                self.cast_parts(from.a, to.a);
                self.cast_parts(from.b, to.b);
            }
            (Kind::Map, Kind::Struct) => {
                for (_, field) in self.graph.fields(to.a).to_vec() {
                    self.cast_parts(from.b, field);
                }
            }
            (Kind::Struct, Kind::Struct) if from.a != to.a => {
                let target = self.graph.fields(to.a).to_vec();
                for (name, field) in target {
                    if let Some(src) = self.graph.field(from.a, name) {
                        self.cast_parts(src, field);
                    }
                }
            }
            (Kind::Any | Kind::Union, Kind::Struct) => {
                self.escape_value(from);
                for (_, field) in self.graph.fields(to.a).to_vec() {
                    self.cast_parts(ANY, field);
                }
                self.graph.read_all_through_any();
            }
            (Kind::Any, Kind::List) => self.cast_parts(ANY, to.a),
            (Kind::Any, Kind::Map) => {
                self.graph.read_all_through_any();
                self.cast_parts(ANY, to.a);
                self.cast_parts(ANY, to.b);
            }
            (Kind::Struct | Kind::Union, Kind::Map) => {
                self.escape_value(from);
                self.graph.read_all_through_any();
            }
            (Kind::Fun, Kind::Fun) => self.graph.flow(dst, from),
            (_, Kind::Any) => self.graph.flow(dst, from),
            (Kind::Any, Kind::Fun) => self.graph.set_any(dst, Kind::Any),
            _ => {}
        }
    }

    /// The same for a part of both, once: what is cast may refer to itself, and so may structs.
    fn cast_parts(&mut self, src: NodeId, dst: NodeId) {
        let ends = (self.graph.find(src), self.graph.find(dst));
        if ends.0 != ends.1 && self.cast.insert(ends) {
            self.add(Con::Cast { src, dst });
        }
    }
}

/// Marks in [`Solver::seen`] what is done once for bases of type `any`.
const ANY_SEEN: u32 = u32::MAX - 1;

/// As [`ANY_SEEN`], and that the key may be the name of a field.
const KEY_SEEN: u32 = u32::MAX - 2;
