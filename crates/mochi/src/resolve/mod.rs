//! Name resolution: which variable, function, type or builtin each name means, and where variables live.
//!
//! [`resolve`] walks a program once and keeps what it finds in dense tables beside the tree. It reports nothing and fails
//! on nothing (queries must be [planned](Program::plan_queries) first): what cannot be resolved is [`Resolved::Undeclared`] and means none when running.
//!
//! **Scopes.** Blocks, loop bodies, functions, match arms and queries open scopes. A name means the nearest variable
//! that was declared before the place of use; redeclaring a name in one scope makes a new variable. Top-level functions
//! and types are visible everywhere. A function also sees top-level variables that are declared below it. A top-level function whose
//! name is assigned somewhere is a variable that has its function before anything runs.
//!
//! **Variables of the top level.** One that no function uses is a register of the main function. One that is used in a
//! function is a [`Storage::Global`], and then all top-level declarations of its name are one cell:
//! [`Resolution::slot`] maps them to the first. A global that a function may read before its declaration has run is
//! [`BindInfo::read_early`] and starts as none.
//!
//! **Captures.** Other variables that an inner function uses are captured, by every function on the way. If nothing ever
//! assigns the variable it is copied into the closure ([`Storage::Register`] with [`BindInfo::captured`]), else it lives in a
//! box ([`Storage::Ref`]) that its declaration makes anew each time it runs. A function that refers to its own name is not
//! listed among its captures, unless the name is assigned: it uses the closure that is running.
//!
//! **Calls.** In `f(..)` a variable that does not hold a function hides nothing, and whether it does is known only after
//! inference. So callees keep all [candidates](CallNames), nearest first, and what is called if none of them is a function.
//!
//! **Made-up variables.** Method bodies see fields, and `update` sees those of the elements, as plain variables. These
//! have [`BindId`]s behind those of the tree, so tables by variable have [`Resolution::bind_count`] entries.

mod walk;

use std::collections::HashMap;

use crate::builtins::Builtin;
use crate::source::Span;
use crate::syntax::ast::{
    BindId, BindKind, ExprId, ExternId, FieldDecl, FunId, ImportId, Interner, List, Name, PatId, Program,
    StmtId, TypeDeclId, TypeId, TypeKind,
};

pub use walk::resolve;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The index in its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )* };
}

ids! {
    /// A struct type, or the events of a stream.
    StructId "struct"
    /// A union type.
    UnionId "union"
    /// A variant of a union.
    CtorId "ctor"
}

/// What a name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// Nothing: none when running.
    Undeclared,
    /// A variable, nested functions included. Ask [`Resolution::slot`] for the one that owns the storage.
    Bind(BindId),
    /// A function of the top level.
    Function(FunId),
    /// A method of the struct whose method this is in; called with the same receiver.
    Method(FunId),
    /// A variant.
    Variant(CtorId),
    /// A struct, in a pattern or as the value of a struct without fields.
    Struct(StructId),
    /// A builtin.
    Builtin(Builtin),
    /// An imported module.
    Module(ImportId),
    /// An extern declaration of a single name.
    Extern(ExternId),
}

/// What the name that is called in `f(..)` may mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallNames {
    variables: (u32, u32),
    /// What is called if no candidate holds a function. Never a variable.
    pub otherwise: Resolved,
}

/// Where a variable lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Storage {
    /// A register of its function; inner functions get copies.
    #[default]
    Register,
    /// A global variable.
    Global,
    /// A box that its function and inner functions share.
    Ref,
}

/// What makes a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindSource {
    /// The tree: the variable has a [`crate::syntax::ast::Bind`].
    Tree,
    /// A field of the receiver, in a method.
    MethodField {
        /// The method.
        method: FunId,
        /// The struct.
        of: StructId,
        /// Position of the field.
        field: u32,
    },
    /// The receiver of a method, which inner functions capture that call or name its siblings.
    Receiver {
        /// The struct.
        of: StructId,
    },
    /// A field of the element, in `update`.
    UpdateField {
        /// The statement.
        stmt: StmtId,
        /// The struct.
        of: StructId,
        /// Position of the field.
        field: u32,
    },
}

/// What is known about a variable.
#[derive(Clone, Copy, Debug)]
pub struct BindInfo {
    /// Its name.
    pub name: Name,
    /// Where it is declared.
    pub span: Span,
    /// How it is introduced. Made-up variables count as parameters.
    pub kind: BindKind,
    /// Where it comes from.
    pub source: BindSource,
    /// Its annotation.
    pub ty: Option<TypeId>,
    /// The function that it belongs to; none for the main function.
    pub fun: Option<FunId>,
    /// Where it lives.
    pub storage: Storage,
    /// Whether an inner function uses it, other than as a global.
    pub captured: bool,
    /// How many assignments it has besides its declaration.
    pub assignments: u32,
    /// Whether a function other than the one it belongs to assigns it.
    pub assigned_inside: bool,
    /// Whether a function may read it before its declaration has run.
    pub read_early: bool,
    /// Whether a function may call it, should it hold a function, before its declaration has run.
    pub called_early: bool,
    /// The one function that it always holds: a nested function, or a lambda that is its only value.
    pub known_fun: Option<FunId>,
}

/// What is known about a function.
#[derive(Clone, Debug, Default)]
pub struct FunInfo {
    /// The variables of outer functions that it uses or passes on to inner functions; by [`Resolution::slot`].
    pub captures: Vec<BindId>,
    /// Whether its name is used other than to call it, or it is a lambda.
    pub used_as_value: bool,
    /// Whether its body refers to itself by name.
    pub recursive: bool,
    /// The struct whose method it is.
    pub method_of: Option<StructId>,
    /// For methods: the variable that stands for the receiver.
    pub receiver: Option<BindId>,
    /// For methods: the variables of the fields, by position of the field. Those that the body does not use are missing.
    pub field_binds: Vec<Option<BindId>>,
    /// Whether it is declared by a statement of the top level, and its name is never assigned.
    pub top_level: bool,
}

/// A struct type.
#[derive(Clone, Debug)]
pub struct StructInfo {
    /// Its name.
    pub name: Name,
    /// Its declaration; none for streams.
    pub decl: Option<TypeDeclId>,
    /// The fields in order.
    pub fields: List<FieldDecl>,
    /// The methods in order.
    pub methods: Vec<(Name, FunId)>,
    /// Where it is declared.
    pub span: Span,
}

/// A union type.
#[derive(Clone, Debug)]
pub struct UnionInfo {
    /// Its name.
    pub name: Name,
    /// Its declaration.
    pub decl: TypeDeclId,
    /// The variants in order.
    pub ctors: Vec<CtorId>,
}

/// A variant of a union.
#[derive(Clone, Copy, Debug)]
pub struct CtorInfo {
    /// Its name.
    pub name: Name,
    /// Its union.
    pub union: UnionId,
    /// The fields in order.
    pub fields: List<FieldDecl>,
    /// Where it is declared.
    pub span: Span,
}

/// What a type name means. Where a name is declared more than once, the last declaration counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeName {
    /// A struct.
    Struct(StructId),
    /// A union.
    Union(UnionId),
    /// Another type.
    Alias(TypeId),
}

/// What [`resolve`] finds out.
#[derive(Debug, Default)]
pub struct Resolution {
    names: Vec<Resolved>,
    calls: Vec<u32>,
    call_names: Vec<CallNames>,
    candidates: Vec<BindId>,
    patterns: Vec<Resolved>,
    binds: Vec<BindInfo>,
    slots: Vec<BindId>,
    funs: Vec<FunInfo>,
    updates: HashMap<StmtId, UpdateInfo>,
    /// Places of assignments, sorted by variable and offset.
    assignments: Vec<(BindId, u32)>,
    /// The structs, streams last.
    pub structs: Vec<StructInfo>,
    /// The unions.
    pub unions: Vec<UnionInfo>,
    /// The variants of all unions.
    pub ctors: Vec<CtorInfo>,
    /// The meaning of type names.
    pub types: HashMap<Name, TypeName>,
    /// The variants by name.
    pub ctor_names: HashMap<Name, CtorId>,
    /// The functions of the top level by name; of several, the last.
    pub functions: HashMap<Name, FunId>,
    /// The builtins by name.
    pub builtins: HashMap<Name, Builtin>,
}

/// What an `update` statement refers to.
#[derive(Clone, Debug)]
pub struct UpdateInfo {
    /// The list variable.
    pub target: Resolved,
    /// The struct of the elements, if that can be told.
    pub of: Option<StructId>,
    /// The variables of the fields that the statement uses, by position of the field.
    pub field_binds: Vec<Option<BindId>>,
}

impl Resolution {
    /// The meaning of an [`ExprKind::Name`](crate::syntax::ast::ExprKind::Name) that is not called; of other expressions
    /// [`Resolved::Undeclared`]. The root of an assignment's target is such a name.
    pub fn name(&self, id: ExprId) -> Resolved {
        self.names[id.index()]
    }

    /// The meanings of a name that is called, by the callee's id.
    pub fn callee(&self, id: ExprId) -> Option<CallNames> {
        self.calls[id.index()].checked_sub(1).map(|index| self.call_names[index as usize])
    }

    /// The variables that may be meant, nearest first.
    pub fn candidates(&self, names: CallNames) -> &[BindId] {
        &self.candidates[names.variables.0 as usize..names.variables.1 as usize]
    }

    /// The meaning of a name or constructor pattern: a variable, variant or struct.
    pub fn pattern(&self, id: PatId) -> Resolved {
        self.patterns[id.index()]
    }

    /// How many variables there are, those not in the tree included.
    pub fn bind_count(&self) -> usize {
        self.binds.len()
    }

    /// What is known about a variable. Storage and counts are those of its [slot](Resolution::slot).
    pub fn bind(&self, id: BindId) -> &BindInfo {
        &self.binds[id.index()]
    }

    /// The variable that owns the storage: itself, except for redeclared globals.
    pub fn slot(&self, id: BindId) -> BindId {
        self.slots[id.index()]
    }

    /// What is known about a function.
    pub fn fun(&self, id: FunId) -> &FunInfo {
        &self.funs[id.index()]
    }

    /// What an `update` statement refers to.
    pub fn update(&self, id: StmtId) -> Option<&UpdateInfo> {
        self.updates.get(&id)
    }

    /// Whether a variable is assigned at an offset within `start..end`.
    pub fn is_assigned_between(&self, bind: BindId, start: u32, end: u32) -> bool {
        let bind = self.slot(bind);
        let first = self.assignments.partition_point(|&at| at < (bind, start));
        self.assignments.get(first).is_some_and(|&(other, at)| other == bind && at < end)
    }

    /// The fields of a struct.
    pub fn fields<'p>(&self, program: &'p Program, id: StructId) -> &'p [FieldDecl] {
        &program[self.structs[id.index()].fields]
    }

    /// The fields of a variant.
    pub fn ctor_fields<'p>(&self, program: &'p Program, id: CtorId) -> &'p [FieldDecl] {
        &program[self.ctors[id.index()].fields]
    }

    /// What the literal `name{..}` makes: a struct or a variant; nothing means a map.
    pub fn literal(&self, program: &Program, name: Name) -> Option<Resolved> {
        let mut name = name;
        // An alias of an alias and so on; a ring of them is cut.
        for _ in 0..32 {
            match self.types.get(&name) {
                Some(&TypeName::Struct(of)) => return Some(Resolved::Struct(of)),
                Some(&TypeName::Alias(ty)) => match program[ty].kind {
                    TypeKind::Name(target) => name = target,
                    _ => return None,
                },
                Some(TypeName::Union(_)) | None => break,
            }
        }
        self.ctor_names.get(&name).map(|&ctor| Resolved::Variant(ctor))
    }

    /// Position of a field in a struct.
    pub fn field_index(&self, program: &Program, id: StructId, name: Name) -> Option<usize> {
        self.fields(program, id).iter().position(|field| field.name.name == name)
    }

    /// The method of a struct by name.
    pub fn method(&self, id: StructId, name: Name) -> Option<FunId> {
        self.structs[id.index()].methods.iter().rev().find(|method| method.0 == name).map(|method| method.1)
    }

    /// The builtin of a name.
    pub fn builtin(&self, name: Name) -> Option<Builtin> {
        self.builtins.get(&name).copied()
    }
}

/// Makes sure that the names of builtins are interned and finds them by name.
fn builtin_names(program: &Program, names: &mut Interner) -> HashMap<Name, Builtin> {
    let mut found: HashMap<Name, Builtin> =
        Builtin::ALL.iter().map(|&builtin| (names.intern(builtin.name()), builtin)).collect();
    if !program.queries.is_empty() {
        found.extend(Builtin::ALL.iter().map(|&builtin| (names.intern(&builtin.plan_name()), builtin)));
    }
    found
}
