//! Gradual type analysis of a whole program: what every slot may hold when the program runs.
//!
//! A *slot* is a variable, parameter, result, field, list element, map key or map value. [`infer`] finds for each slot the
//! most precise type that every use in the program agrees with, so that lowering may keep proven slots in int and float
//! registers and typed storage and emit unchecked operations on them. Types are facts, not rules: nothing here is an
//! error. A slot that some use contradicts is *demoted*, to a nullable type if none flows in, else to `any`, and
//! [`Types::demotions`] says why.
//!
//! # Rules
//!
//! Slots start empty, or with the kind that their annotation says. Values *flow* into slots; containers *share*.
//!
//! 1. A scalar flows one way: `int` into `int` agrees; `int` into a slot declared `float`, and any number into one declared `bigint` or
//!    `bigrat`, is converted by the store; any other mixture of kinds makes the receiving slot `any`. None makes it nullable.
//! 2. A container, function or anything with slots inside flows by reference: the inner slots of source and target
//!    become one (they are *unified*). Two kinds that meet in a unified slot make it `any`, int with float too, since no
//!    store is there to convert. A literal in a place whose type is known uses the inner slots of that place from the start,
//!    so that `let xs: list<float> = [1, 2]` converts in the literal.
//! 3. A container that flows into `any` has all its inner slots made `any`, now and for later; the parameters of a function
//!    receive `any`, and its result flows into `any`.
//! 4. `any` flows into a slot declared with a scalar, struct or union type through a check at run time, and leaves it as it is.
//!    It makes every other slot `any`, so containers and functions never cross from `any` into typed slots.
//! 5. Fields of structs and variants are one slot per declaration. If a struct ever flows into `any`, then loads of `.f` through
//!    `any` make field `f` flow into `any`, stores flow into it, and indexing through `any` counts for all fields.
//! 6. A type that would contain itself (`xs = append(xs, xs)`) or nest deeper than [`MAX_DEPTH`] is `any` from there on.
//!
//! # Why that is sound
//!
//! Claim: at every moment each slot holds a value of its final type. Every operation of the language that moves a
//! value from one place to another is one flow above; scalars cannot change after they were moved, so one-way flows are enough
//! for them. A container can change through every name that it has, so all static types that a container is ever seen
//! under must have the very same inner slots: rule 2 makes them the same, and rules 3 and 4 see to it that a container that is
//! reachable as `any` has only `any` inside, and never comes back under another type. Structs are nominal, their slots are
//! the same under every view, so they may cross both ways; rule 5 accounts for what is done to them through `any`. A
//! function is typed by its own parameter and result slots, which rule 2 shares like those of containers. Slots only rise
//! (empty, kind, `any`; not null, nullable), and every operation is looked at again when a slot that it reads rises, so the
//! result is a fixpoint, and it does not depend on which code is reachable.
//!
//! Narrowing is local: tests against none and `k in m` hold for names which nothing assigns between test and use, where
//! only variables that no inner function assigns are considered. Maps never lose keys, so `k in m` survives calls.
//!
//! # What lowering must do
//!
//! * **Stores.** Where a value of static type S flows into a slot of type D: equal types move. `int` into `float`, and any number into
//!   `bigint` or `bigrat` converts, under nullable too. A type into its nullable form or into `any` boxes. `any` into a scalar, struct or union type
//!   checks, and none fails that check unless D is nullable. Any other pair is code that cannot be reached (inference saw no
//!   value there): trap.
//! * **Fresh results.** A builtin that makes a container makes it with the element type that the call's type says.
//! * **Casts.** `e as T` between equal final types moves; otherwise containers are converted into new ones, also those that go to
//!   fields of structs: to what the declaration says, whatever became of the slots.
//! * **Keys.** `m[k]` and `k in m` may be asked with a key of type `any`, or with one that may be none, whatever the keys of the
//!   map are: such a key is compared by its text. A key of another known kind has made the map's keys `any`.
//! * **Branches.** The value of `if`, `match`, `&&`, `||` and `??` flows from the branch into the type of the whole. `||` and `??`
//!   take the left value only where it is not none.
//! * **Early calls.** A function type that is nullable needs a test before the call.
//! * **Arms.** The value of a block behind `=>` is that of an expression statement at its end, else none.
//! * **Loops.** Appending in place may move the elements of a list that a loop runs over, but not the list.
//! * **Copies.** An operation that copies elements of a list into another (a copying append, slice, `+`, `values`) marks elements
//!   that are lists as shared.
//!
//! # Sharing
//!
//! Lists carry a sticky mark that forbids appending in place. [`Types::shares`] tells at which expressions a list
//! that is already reachable gets another lasting reference, and [`Types::in_place`] at which appends the result replaces
//! the only reference if the mark is clear; see `sharing`.

mod facts;
mod finish;
mod generate;
mod graph;
mod sharing;
#[allow(
    clippy::collapsible_match,
    reason = "an arm is for a kind; what it does once is no part of the choice"
)]
mod solve;

use std::collections::{HashMap, HashSet};

use crate::builtins::Builtin;
use crate::resolve::{CtorId, Resolution, Resolved, StructId, UnionId};
use crate::source::Span;
use crate::syntax::ast::{BindId, ExprId, FunId, Interner, Program};

/// Finds the types of a program whose names are resolved.
pub fn infer(program: &Program, resolution: &Resolution, names: &Interner) -> Types {
    let calls = facts::calls(program, resolution);
    let mut generator = generate::Generator::new(program, resolution, names, &calls);
    generator.run();
    let mut types = finish::finish(generator, names);
    sharing::find(program, resolution, &mut types);
    types
}

/// Types nest at most this deep; deeper ones are `any`.
pub const MAX_DEPTH: usize = 24;

/// A type of a [`Types`] table; equal types have equal ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TyId(pub u32);

impl TyId {
    /// Every value.
    pub const ANY: TyId = TyId(0);
    /// Only none.
    pub const NULL: TyId = TyId(1);
    /// `int`
    pub const INT: TyId = TyId(2);
    /// `float`
    pub const FLOAT: TyId = TyId(3);
    /// `bool`
    pub const BOOL: TyId = TyId(4);
    /// `string`
    pub const STRING: TyId = TyId(5);
    /// `bigint`
    pub const BIGINT: TyId = TyId(6);
    /// `bigrat`
    pub const BIGRAT: TyId = TyId(7);

    /// The index in its table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Debug for TyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ty{}", self.0)
    }
}

/// A type. `any` and `null` have the nullable flag always set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ty {
    /// What values other than none are.
    pub kind: TyKind,
    /// Whether none is possible.
    pub nullable: bool,
}

/// What the values of a type are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TyKind {
    /// Anything.
    Any,
    /// Nothing but none.
    Null,
    /// 64-bit integers.
    Int,
    /// Floats.
    Float,
    /// Truth values.
    Bool,
    /// Texts.
    String,
    /// Unbounded integers.
    BigInt,
    /// Fractions.
    BigRat,
    /// Lists of these elements.
    List(TyId),
    /// Maps from these keys to these values. A key type other than `int` and `string` means keys of any kind.
    Map(TyId, TyId),
    /// Records of one struct.
    Struct(StructId),
    /// Records of the variants of one union.
    Union(UnionId),
    /// Functions: the parameters are [`Types::params`].
    Fun(ParamsId, TyId),
}

/// The parameter types of a function type; equal lists have equal ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ParamsId(pub u32);

/// How a call is made. Surplus arguments are evaluated and dropped in all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallKind {
    /// A known function; a nested one or lambda may need its closure, which the callee's variable holds.
    Direct(FunId),
    /// A known function with too few arguments: a closure that waits for the rest.
    Partial(FunId),
    /// The callee is a function value of known type, the type of the callee expression, which may be a field or an entry of a
    /// map; for candidates of a name see `bind`.
    Closure {
        /// The variable that holds the function, where the callee is a name.
        bind: Option<BindId>,
        /// Type of the function.
        ty: TyId,
        /// Whether there are fewer arguments than parameters: the result is a closure that waits for the rest.
        partial: bool,
    },
    /// The callee is of type `any`: arguments are passed as `any`, the result is `any`.
    Dynamic {
        /// The variable, where the callee is a name.
        bind: Option<BindId>,
        /// What the name means if the variable holds no function.
        fallback: Resolved,
    },
    /// A method of a struct: the receiver goes first, then the arguments.
    Method(FunId),
    /// A sibling method inside a method, with the same receiver.
    Sibling(FunId),
    /// A method, or a sibling inside one, with too few arguments: a closure that waits for the rest and holds the receiver.
    PartialMethod(FunId),
    /// `base.name(args)` on a base of type `any`: a method, a field that holds a function, or a builtin method.
    DynamicMethod,
    /// A builtin method: `text.contains(x)`.
    BuiltinMethod,
    /// A builtin.
    Builtin(Builtin),
    /// A variant made from its fields in order; missing ones are none.
    Construct(CtorId),
    /// A member of an imported module, or an extern function.
    Extern,
    /// Nothing is called: the arguments are evaluated and the result is none.
    Undefined,
}

/// What a demoted slot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// A variable or parameter.
    Bind(BindId),
    /// The result of a function.
    Result(FunId),
    /// A field of a struct.
    Field(StructId, u32),
    /// A field of a variant.
    CtorField(CtorId, u32),
}

/// A slot whose type the program does not agree on.
#[derive(Clone, Debug)]
pub struct Demotion {
    /// The slot.
    pub slot: Slot,
    /// Where it is declared.
    pub span: Span,
    /// What the declaration says, or what most of the program would like it to be.
    pub expected: String,
    /// What it became.
    pub found: String,
    /// The use that contradicted, where known.
    pub cause: Option<Span>,
    /// A sentence about the use.
    pub reason: String,
}

/// What a slot is declared as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Declared {
    /// The kind of value; parts of it do not matter.
    pub kind: DeclaredKind,
    /// Whether it says that there may be none.
    pub nullable: bool,
}

/// The kinds of declarations that a slot keeps to also where it becomes `any`: what it starts with, and which numbers convert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DeclaredKind {
    Int,
    Float,
    Bool,
    String,
    BigInt,
    BigRat,
    List,
    Map,
}

/// What [`infer`] finds out.
#[derive(Debug)]
pub struct Types {
    types: Vec<Ty>,
    index: HashMap<Ty, TyId>,
    params: Vec<Vec<TyId>>,
    exprs: Vec<TyId>,
    binds: Vec<TyId>,
    results: Vec<TyId>,
    fields: Vec<Vec<TyId>>,
    ctor_fields: Vec<Vec<TyId>>,
    calls: HashMap<ExprId, CallKind>,
    casts: HashMap<ExprId, TyId>,
    cast_fields: Vec<Vec<TyId>>,
    declared: HashMap<BindId, Declared>,
    stores: HashMap<ExprId, TyId>,
    zeros: HashSet<BindId>,
    /// The type of the keys of maps that are seen as `any`.
    pub any_keys: TyId,
    borrowed: Vec<bool>,
    shares: Vec<bool>,
    in_place: Vec<bool>,
    /// The slots that were demoted, in the order of their declarations.
    pub demotions: Vec<Demotion>,
    /// How many variables, parameters, results and fields there are.
    pub slot_count: usize,
    /// How many of them have a type other than `any` (of which none may be a member).
    pub proven_count: usize,
}

impl Types {
    /// The type of an id.
    pub fn get(&self, id: TyId) -> Ty {
        self.types[id.index()]
    }

    /// All types in the order of their ids. The parts of a type have smaller ids.
    pub fn all(&self) -> &[Ty] {
        &self.types
    }

    /// The id of a type, if any slot or expression has it.
    pub fn find(&self, ty: Ty) -> Option<TyId> {
        self.index.get(&ty).copied()
    }

    /// The same type without none; `any` stays.
    pub fn without_null(&self, id: TyId) -> Option<TyId> {
        let ty = self.get(id);
        match ty.kind {
            TyKind::Any | TyKind::Null => Some(id),
            _ => self.find(Ty { nullable: false, ..ty }),
        }
    }

    /// The parameter types of a function type.
    pub fn params(&self, id: ParamsId) -> &[TyId] {
        &self.params[id.0 as usize]
    }

    /// Type of the value that an expression gives at its place, with what tests before it prove.
    pub fn expr(&self, id: ExprId) -> TyId {
        self.exprs[id.index()]
    }

    /// Type of a variable's slot.
    pub fn bind(&self, id: BindId) -> TyId {
        self.binds[id.index()]
    }

    /// Type of a function's result.
    pub fn result(&self, id: FunId) -> TyId {
        self.results[id.index()]
    }

    /// Types of a struct's fields in order.
    pub fn fields(&self, id: StructId) -> &[TyId] {
        &self.fields[id.index()]
    }

    /// Types of a variant's fields in order.
    pub fn ctor_fields(&self, id: CtorId) -> &[TyId] {
        &self.ctor_fields[id.index()]
    }

    /// How a call is made, by the id of the call.
    pub fn call(&self, id: ExprId) -> CallKind {
        self.calls.get(&id).copied().unwrap_or(CallKind::Undefined)
    }

    /// What a variable or parameter is declared as, if it became `any` nevertheless.
    pub fn declared(&self, id: BindId) -> Option<Declared> {
        self.declared.get(&id).copied()
    }

    /// Whether a variable without initial value starts as zero or empty although it may be none later: its annotation does not say
    /// that it may.
    pub fn starts_as_zero(&self, id: BindId) -> bool {
        self.zeros.contains(&id)
    }

    /// The number that the slot is declared to hold which a value goes to, if the slot became `any` nevertheless.
    pub fn stored(&self, id: ExprId) -> Option<TyId> {
        self.stores.get(&id).copied()
    }

    /// What a cast to a container says, by the id of the cast: its result may be of another type, where uses disagree.
    pub fn cast(&self, id: ExprId) -> Option<TyId> {
        self.casts.get(&id).copied()
    }

    /// What a struct's declaration says of its fields, in order, whatever became of them. Nothing where nothing is cast.
    pub fn cast_fields(&self, id: StructId) -> &[TyId] {
        self.cast_fields.get(id.index()).map_or(&[], |fields| fields)
    }

    /// What a variant's declaration says of its fields, likewise.
    pub fn cast_ctor_fields(&self, id: CtorId) -> &[TyId] {
        self.cast_fields.get(self.fields.len() + id.index()).map_or(&[], |fields| fields)
    }

    /// Whether a variable never becomes a second lasting reference to the list it holds.
    pub fn borrows(&self, id: BindId) -> bool {
        self.borrowed[id.index()]
    }

    /// Whether the list that an expression gives (if it does) must be marked as shared when it is used there.
    pub fn shares(&self, id: ExprId) -> bool {
        self.shares[id.index()]
    }

    /// Whether an append may change its first argument if that is not marked as shared.
    pub fn in_place(&self, id: ExprId) -> bool {
        self.in_place[id.index()]
    }
}
