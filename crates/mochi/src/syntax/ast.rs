//! The syntax tree: flat tables, ids instead of pointers.
//!
//! A [`Program`] owns one table per kind of node and a node refers to others by id. Ids are dense, so a later phase keeps
//! what it finds out in a `Vec` beside the tree (`types[expr_id.index()]`), and dropping a tree frees a few dozen vectors
//! whatever its shape. All nodes are `Copy`. Variable-length children are a [`List`], a range in a pool.
//!
//! ```text
//! ast[expr_id].kind          a node by its id
//! &ast[list]                 a slice: the children of a list
//! ast.binary_spine(expr_id)  a chain of binary operators, without recursion
//! ```
//!
//! Invariants that the parser establishes:
//! * **Bounded height.** A path from the root passes at most [`MAX_NESTING`] nodes, where the chain of left operands of
//!   binary operators, which may be as long as the file, counts as one. A walker may therefore recurse into every child
//!   but must iterate over [`Program::binary_spine`]. `else if` chains are flat lists.
//! * Children have smaller ids than the expression that holds them: a loop over [`Program::exprs`] is a post-order walk.
//! * An expression belongs to one parent. Parentheses leave no node; a span includes those around its expression.
//! * [`ExprKind::Error`] and [`StmtKind::Error`] occur only where a diagnostic was reported.
//!
//! Names are [`Name`]s of an [`Interner`] that all programs of a session share.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::Index;

use super::quiet;
use crate::source::{FileId, Span};

/// How deep programs may nest: parentheses, blocks, operators on the right of operators, postfix chains, types.
pub const MAX_NESTING: u32 = 500;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// The id of an index, which must be below `u32::MAX`.
            pub fn new(index: usize) -> $name {
                let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
                $name(number.expect("an index fits in 32 bits"))
            }

            /// The index in its table.
            pub fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.index())
            }
        }
    )* };
}

ids! {
    /// An interned text: a name or a string literal.
    Name "name"
    /// An expression.
    ExprId "e"
    /// A statement.
    StmtId "s"
    /// A type annotation.
    TypeId "t"
    /// A place that introduces a variable.
    BindId "b"
    /// A function, method, intent or lambda.
    FunId "f"
    /// A pattern.
    PatId "p"
    /// A query expression.
    QueryId "q"
    /// A type declaration.
    TypeDeclId "d"
    /// An import.
    ImportId "i"
    /// An extern declaration.
    ExternId "x"
    /// A predicate of the logic part.
    PredId "l"
}

/// Texts by number and numbers by text.
///
/// Texts lie behind one another in one string; the hash table holds only numbers.
#[derive(Debug, Default, Clone)]
pub struct Interner {
    text: String,
    ends: Vec<usize>,
    /// First name of each hash; the rest of a hash's names follow through `chains`.
    heads: HashMap<u64, Name, NoHash>,
    chains: Vec<Option<Name>>,
    hasher: RandomState,
}

/// The keys of [`Interner::heads`] are hashes already.
#[derive(Debug, Default, Clone)]
struct NoHash;

#[derive(Debug, Default, Clone, Copy)]
struct KeepHash(u64);

impl BuildHasher for NoHash {
    type Hasher = KeepHash;
    fn build_hasher(&self) -> KeepHash {
        KeepHash(0)
    }
}

impl std::hash::Hasher for KeepHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64")
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Interner {
    /// No names yet.
    pub fn new() -> Interner {
        Interner::default()
    }

    /// The name of a text; the same text always gets the same name.
    pub fn intern(&mut self, text: &str) -> Name {
        let hash = self.hasher.hash_one(text);
        let head = self.heads.get(&hash).copied();
        if let Some(name) = self.find(head, text) {
            return name;
        }
        self.text.push_str(text);
        let name = Name::new(self.ends.len());
        self.ends.push(self.text.len());
        self.chains.push(head);
        self.heads.insert(hash, name);
        name
    }

    /// The name of a text, if it has one.
    pub fn lookup(&self, text: &str) -> Option<Name> {
        self.find(self.heads.get(&self.hasher.hash_one(text)).copied(), text)
    }

    fn find(&self, mut next: Option<Name>, text: &str) -> Option<Name> {
        while let Some(name) = next {
            if self.get(name) == text {
                return Some(name);
            }
            next = self.chains[name.index()];
        }
        None
    }

    /// The text of a name of this interner.
    pub fn get(&self, name: Name) -> &str {
        let start = name.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[name.index()]]
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl Index<Name> for Interner {
    type Output = str;
    fn index(&self, name: Name) -> &str {
        self.get(name)
    }
}

/// A name, or the contents of a string literal, with its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ident {
    /// The text.
    pub name: Name,
    /// Its place; that of a string literal includes the quotes.
    pub span: Span,
}

/// Children of a node: a range in the pool of their type. Read with `&program[list]`.
pub struct List<T> {
    start: u32,
    len: u32,
    items: PhantomData<fn() -> T>,
}

impl<T> List<T> {
    /// The list without items.
    pub const EMPTY: List<T> = List { start: 0, len: 0, items: PhantomData };

    /// Number of items.
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Whether it has no items.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> List<T> {
        *self
    }
}

impl<T> Copy for List<T> {}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List::EMPTY
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", self.start, self.len)
    }
}

impl<T> PartialEq for List<T> {
    fn eq(&self, other: &List<T>) -> bool {
        (self.start, self.len) == (other.start, other.len)
    }
}

/// Node types that have a table of their own in a [`Program`].
pub trait Node: Sized {
    /// Its id.
    type Id: Copy;
    /// The table.
    fn table(program: &Program) -> &Vec<Self>;
    /// The table, for the parser and for generators of programs.
    fn table_mut(program: &mut Program) -> &mut Vec<Self>;
    /// The id of an index.
    fn id(index: usize) -> Self::Id;
}

/// Types that have a pool for [`List`]s in a [`Program`].
pub trait Pooled: Sized {
    /// The pool.
    fn pool(program: &Program) -> &Vec<Self>;
    /// The pool, for the parser and for generators of programs.
    fn pool_mut(program: &mut Program) -> &mut Vec<Self>;
}

macro_rules! program {
    (
        nodes { $($(#[$node_doc:meta])* $table:ident: $node:ident by $id:ident;)* }
        lists { $($pool:ident: $item:ty;)* }
    ) => {
        /// A parsed file.
        #[derive(Debug, Clone, Default)]
        pub struct Program {
            /// The file it was parsed from.
            pub file: FileId,
            /// Name of the package that the file says it belongs to.
            pub package: Option<Ident>,
            /// The statements of the top level.
            pub body: Block,
            $($(#[$node_doc])* pub $table: Vec<$node>,)*
            $($pool: Vec<$item>,)*
        }

        /// How full the tables are: see [`Program::sizes`].
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Sizes {
            $($table: usize,)*
            $($pool: usize,)*
        }

        impl Program {
            /// How full the tables are now.
            pub(crate) fn sizes(&self) -> Sizes {
                Sizes { $($table: self.$table.len(),)* $($pool: self.$pool.len(),)* }
            }

            /// Forgets all nodes that were added since.
            pub(crate) fn truncate(&mut self, sizes: Sizes) {
                $(self.$table.truncate(sizes.$table);)*
                $(self.$pool.truncate(sizes.$pool);)*
            }
        }

        $(
            impl Node for $node {
                type Id = $id;
                fn table(program: &Program) -> &Vec<$node> {
                    &program.$table
                }
                fn table_mut(program: &mut Program) -> &mut Vec<$node> {
                    &mut program.$table
                }
                fn id(index: usize) -> $id {
                    $id::new(index)
                }
            }

            impl Index<$id> for Program {
                type Output = $node;
                fn index(&self, id: $id) -> &$node {
                    &self.$table[id.index()]
                }
            }
        )*

        $(
            impl Pooled for $item {
                fn pool(program: &Program) -> &Vec<$item> {
                    &program.$pool
                }
                fn pool_mut(program: &mut Program) -> &mut Vec<$item> {
                    &mut program.$pool
                }
            }
        )*
    };
}

program! {
    nodes {
        /// Expressions, children before parents.
        exprs: Expr by ExprId;
        /// Statements.
        stmts: Stmt by StmtId;
        /// Type annotations.
        types: Type by TypeId;
        /// Places that introduce variables.
        binds: Bind by BindId;
        /// Functions of all kinds.
        funs: Fun by FunId;
        /// Patterns.
        patterns: Pattern by PatId;
        /// Query expressions.
        queries: Query by QueryId;
        /// Type declarations.
        type_decls: TypeDecl by TypeDeclId;
        /// Imports.
        imports: Import by ImportId;
        /// Extern declarations.
        externs: Extern by ExternId;
        /// Predicates.
        preds: Pred by PredId;
    }
    lists {
        expr_ids: ExprId;
        stmt_ids: StmtId;
        type_ids: TypeId;
        bind_ids: BindId;
        fun_ids: FunId;
        pat_ids: PatId;
        idents: Ident;
        map_entries: MapEntry;
        field_inits: FieldInit;
        field_decls: FieldDecl;
        variants: Variant;
        arms: Arm;
        branches: Branch;
        choices: Choice;
        sources: Source;
        joins: Join;
        terms: Term;
        conditions: Condition;
        patches: Patch;
    }
}

impl<T: Pooled> Index<List<T>> for Program {
    type Output = [T];
    fn index(&self, list: List<T>) -> &[T] {
        &T::pool(self)[list.start as usize..][..list.len as usize]
    }
}

impl Program {
    /// Adds a node to its table.
    pub fn add<T: Node>(&mut self, node: T) -> T::Id {
        let table = T::table_mut(self);
        table.push(node);
        T::id(table.len() - 1)
    }

    /// Adds a list to its pool.
    pub fn add_list<T: Pooled>(&mut self, items: impl IntoIterator<Item = T>) -> List<T> {
        let pool = T::pool_mut(self);
        let start = pool.len();
        pool.extend(items);
        let number = |value: usize| u32::try_from(value).expect("a pool holds fewer than 2^32 items");
        List { start: number(start), len: number(pool.len() - start), items: PhantomData }
    }

    /// The chain of binary operators that ends in `id`, in the order of evaluation: the leftmost operand, then each
    /// operator with its right operand. Operators of all precedences are in it: `a * b + c` is `a`, `* b`, `+ c`.
    /// An expression that is no binary operator is the leftmost operand of an empty chain.
    pub fn binary_spine(&self, id: ExprId) -> BinarySpine {
        let mut links = Vec::new();
        let mut first = id;
        while let ExprKind::Binary { op, op_span, left, right } = self[first].kind {
            links.push(BinaryLink { expr: first, op, op_span, right });
            first = left;
        }
        links.reverse();
        BinarySpine { first, links }
    }

    /// Puts what computes them in the place of queries, so that the program can be resolved to run. The clauses are no longer
    /// the program's; only the checker and the printer look at those.
    ///
    /// A plan that looks for rows by their keys is taken where nothing that runs for each row can change the rows meanwhile.
    pub fn plan_queries(&mut self, names: &Interner) {
        if self.queries.is_empty() {
            return;
        }
        let keyed = quiet::keyed_queries(self, names);
        let declared: Vec<Name> =
            (self.binds.iter()).filter(|bind| bind.kind == BindKind::Fun).map(|bind| bind.name).collect();
        for index in 0..self.patches.len() {
            if let Patch::Rename { at, name } = self.patches[index] {
                self.exprs[at.index()].kind = ExprKind::Name(name);
            }
        }
        for index in 0..self.patches.len() {
            if let Patch::Aggregate { name, select, arg, call, list } = self.patches[index] {
                let (at, from) = if declared.contains(&name) { (call, list) } else { (select, arg) };
                self.exprs[at.index()].kind = self.exprs[from.index()].kind;
            }
        }
        for index in 0..self.exprs.len() {
            if let ExprKind::Query(query) = self.exprs[index].kind {
                let plan = match self[query].keyed {
                    Some(plan) if keyed.contains(&query) => plan,
                    _ => self[query].plan,
                };
                self.exprs[index].kind = self[plan].kind;
            }
        }
        for bind in &mut self.binds {
            if bind.kind == BindKind::Query {
                bind.kind = BindKind::For;
            }
        }
    }

    /// The name of a binding.
    pub fn bind_name(&self, id: BindId) -> Name {
        self[id].name
    }

    /// The field that a key of a map literal names: as a bare name or a text.
    pub fn key_name(&self, key: MapKey) -> Option<Name> {
        match key {
            MapKey::Name(name) => Some(name.name),
            MapKey::Expr(key) => match self[key].kind {
                ExprKind::Str(name) => Some(name),
                _ => None,
            },
        }
    }

    /// The expression as a bare name.
    pub fn as_name(&self, id: ExprId) -> Option<Name> {
        match self[id].kind {
            ExprKind::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// See [`Program::binary_spine`].
#[derive(Debug, Clone)]
pub struct BinarySpine {
    /// The operand that is evaluated first.
    pub first: ExprId,
    /// The operators, innermost first.
    pub links: Vec<BinaryLink>,
}

/// One operator of a [`BinarySpine`]; its left operand is all that comes before it.
#[derive(Debug, Clone, Copy)]
pub struct BinaryLink {
    /// The [`ExprKind::Binary`] itself.
    pub expr: ExprId,
    /// The operator.
    pub op: BinaryOp,
    /// Its place.
    pub op_span: Span,
    /// The right operand.
    pub right: ExprId,
}

/// Statements in braces, or those of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Block {
    /// The statements.
    pub stmts: List<StmtId>,
    /// From brace to brace.
    pub span: Span,
}

// ---- Expressions ----

/// An expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place, with the parentheses around it.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExprKind {
    /// What could not be parsed; a diagnostic was reported.
    Error,
    /// `42`
    Int(i64),
    /// `4.2`
    Float(f64),
    /// `true`
    Bool(bool),
    /// `"text"`, with escapes resolved.
    Str(Name),
    /// `none`
    None,
    /// A variable, function, constructor without payload, or undeclared name.
    Name(Name),
    /// `base.name`, `base?.name`
    Field {
        /// The object.
        base: ExprId,
        /// The field.
        name: Ident,
        /// Written with `?`.
        optional: bool,
    },
    /// `base[index]`, `base?[index]`
    Index {
        /// The container.
        base: ExprId,
        /// The position or key.
        index: ExprId,
        /// Written with `?`.
        optional: bool,
    },
    /// `base[start:end:step]` with at least one colon.
    Slice {
        /// The list or string.
        base: ExprId,
        /// First position.
        start: Option<ExprId>,
        /// Position behind the last.
        end: Option<ExprId>,
        /// Step.
        step: Option<ExprId>,
    },
    /// `callee(args)`. A method call's callee is a [`ExprKind::Field`].
    Call {
        /// What is called.
        callee: ExprId,
        /// The arguments.
        args: List<ExprId>,
    },
    /// `value as ty`
    Cast {
        /// The value.
        value: ExprId,
        /// The type.
        ty: TypeId,
    },
    /// `-operand`, `!operand`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// The operand.
        operand: ExprId,
    },
    /// `left op right`. Chains of these may be very long on the left: see [`Program::binary_spine`].
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Place of the operator.
        op_span: Span,
        /// Left operand.
        left: ExprId,
        /// Right operand.
        right: ExprId,
    },
    /// `if cond { value } else if .. else { otherwise }` in an expression.
    If {
        /// The conditions with their values; at least one.
        choices: List<Choice>,
        /// The value when no condition holds.
        otherwise: Option<ExprId>,
    },
    /// `[a, b]`
    List(List<ExprId>),
    /// `{key: value}`
    Map(List<MapEntry>),
    /// `name{field: value}`
    Struct {
        /// Name of the type or variant.
        name: Ident,
        /// The fields as written.
        fields: List<FieldInit>,
    },
    /// `fun(x) => e`, `fun(x) { .. }`
    Fun(FunId),
    /// `match subject { pattern => body .. }`
    Match {
        /// What is matched.
        subject: ExprId,
        /// The arms.
        arms: List<Arm>,
    },
    /// `from x in xs .. select e`
    Query(QueryId),
    /// `query p(x, "b")`
    Logic(PredId),
    /// `generate name { field: value }`
    Generate {
        /// `text`, `embedding` or a type.
        target: Ident,
        /// The parameters.
        fields: List<FieldInit>,
    },
    /// `fetch url with options`
    Fetch {
        /// The address.
        url: ExprId,
        /// The options.
        with: Option<ExprId>,
    },
    /// `load "path" as ty with options`
    Load {
        /// The path.
        path: Option<Ident>,
        /// Type of the rows.
        ty: TypeId,
        /// The options.
        with: Option<ExprId>,
    },
    /// `save value to "path" with options`
    Save {
        /// The rows.
        value: ExprId,
        /// The path.
        path: Option<Ident>,
        /// The options.
        with: Option<ExprId>,
    },
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident $text:literal $level:literal)*) => {
        /// Binary operators. All are left-associative.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BinaryOp {
            $(#[doc = concat!("`", $text, "`")] $(#[$doc])* $name,)*
        }

        impl BinaryOp {
            /// All of them.
            pub const ALL: &[BinaryOp] = &[$(BinaryOp::$name),*];

            /// As it is written.
            pub const fn text(self) -> &'static str {
                match self { $(BinaryOp::$name => $text,)* }
            }

            /// How tightly it binds: a higher level binds tighter.
            pub const fn level(self) -> u8 {
                match self { $(BinaryOp::$name => $level,)* }
            }
        }
    };
}

operators! {
    Mul "*" 8
    Div "/" 8
    Rem "%" 8
    Add "+" 7
    Sub "-" 7
    Less "<" 6
    LessEqual "<=" 6
    Greater ">" 6
    GreaterEqual ">=" 6
    Equal "==" 5
    NotEqual "!=" 5
    In "in" 5
    And "&&" 4
    Or "||" 3
    Coalesce "??" 2
    Union "union" 1
    UnionAll "union all" 1
    Except "except" 1
    Intersect "intersect" 1
}

/// Prefix operators. They bind tighter than binary and looser than postfix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

/// `key: value` of a map literal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapEntry {
    /// The key.
    pub key: MapKey,
    /// The value.
    pub value: ExprId,
}

/// Key of a map entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MapKey {
    /// A bare name, which stands for its own text, never for a variable.
    Name(Ident),
    /// Any other expression; a variable must be in parentheses to come here.
    Expr(ExprId),
}

/// `name: value`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldInit {
    /// The field.
    pub name: Ident,
    /// The value.
    pub value: ExprId,
}

/// A condition and the value of an `if` expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The condition.
    pub cond: ExprId,
    /// The value.
    pub value: ExprId,
}

/// An arm of `match`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arm {
    /// What it accepts.
    pub pattern: PatId,
    /// What it does.
    pub body: Body,
    /// Its place.
    pub span: Span,
}

/// Body of an arm or a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// `=> e`
    Expr(ExprId),
    /// `{ .. }`
    Block(Block),
}

// ---- Patterns ----

/// A pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pattern {
    /// What it is.
    pub kind: PatternKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of patterns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PatternKind {
    /// What could not be parsed.
    Error,
    /// `_`
    Wildcard,
    /// `1`, `"a"`, `true`, `none`: a literal expression.
    Literal(ExprId),
    /// A name: a variant or struct without fields if there is one of that name, else it binds the variable.
    Name {
        /// The name.
        name: Ident,
        /// The variable, if it is one.
        bind: BindId,
    },
    /// `Variant(p, q)`
    Constructor {
        /// The variant.
        name: Ident,
        /// Patterns of its fields, in order.
        args: List<PatId>,
    },
}

// ---- Queries and logic ----

/// `from x in xs .. select e`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// The `from` clauses; at least one.
    pub sources: List<Source>,
    /// The joins.
    pub joins: List<Join>,
    /// `where`
    pub filter: Option<ExprId>,
    /// `group by`
    pub group: Option<Group>,
    /// `sort by`
    pub sort: Option<ExprId>,
    /// `skip`
    pub skip: Option<ExprId>,
    /// `take`
    pub take: Option<ExprId>,
    /// `select`
    pub select: ExprId,
    /// `select distinct`
    pub distinct: bool,
    /// What computes its value when the program runs: see [`Program::plan_queries`].
    pub plan: ExprId,
    /// Another plan that finds rows which go together by their keys, where there are such. It takes that nothing changes them
    /// meanwhile.
    pub keyed: Option<ExprId>,
    /// Its place.
    pub span: Span,
}

/// A change that [`Program::plan_queries`] makes to the clauses of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Patch {
    /// A use of a group becomes the name of a variable.
    Rename {
        /// The use.
        at: ExprId,
        /// The variable.
        name: Name,
    },
    /// `select sum(x)` adds up the list of all `x`. If the program has a function of that name, it is an ordinary call instead.
    Aggregate {
        /// What is called.
        name: Name,
        /// The value of `select`, which becomes `arg`.
        select: ExprId,
        /// The argument.
        arg: ExprId,
        /// The call of the builtin on the list, which otherwise becomes `list`.
        call: ExprId,
        /// The list.
        list: ExprId,
    },
}

/// `from bind in source`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    /// The row variable.
    pub bind: BindId,
    /// The rows.
    pub source: ExprId,
}

/// `left join bind in source on condition`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Join {
    /// Which rows without partner stay.
    pub kind: JoinKind,
    /// The row variable.
    pub bind: BindId,
    /// The rows.
    pub source: ExprId,
    /// The condition.
    pub on: ExprId,
    /// Its place.
    pub span: Span,
}

/// Which rows without partner a join keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the left.
    Left,
    /// Those of the right.
    Right,
    /// All.
    Outer,
}

/// `group by keys into bind having condition`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// The keys; at least one.
    pub keys: List<ExprId>,
    /// The group variable.
    pub into: BindId,
    /// Which groups stay.
    pub having: Option<ExprId>,
}

/// `name(x, "a", 1)`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pred {
    /// The relation.
    pub name: Ident,
    /// The terms.
    pub terms: List<Term>,
    /// Its place.
    pub span: Span,
}

/// Argument of a predicate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term {
    /// A logic variable.
    Var(Ident),
    /// A text.
    Str(Ident),
    /// A number.
    Int(i64, Span),
}

/// Condition in the body of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// A predicate.
    Pred(PredId),
    /// `x != y`
    NotEqual(Ident, Ident),
}

// ---- Types ----

/// A type annotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Type {
    /// What it is.
    pub kind: TypeKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of type annotations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TypeKind {
    /// What could not be parsed.
    Error,
    /// `int`, `Point`, `T`
    Name(Name),
    /// `list<int>`
    Generic {
        /// `list`
        name: Ident,
        /// The arguments; at least one.
        args: List<TypeId>,
    },
    /// `fun(A, B): R`
    Fun {
        /// The parameters.
        params: List<TypeId>,
        /// The result; without it the function returns nothing.
        result: Option<TypeId>,
    },
    /// `{x: int, y: int}`
    Struct(List<FieldDecl>),
    /// `T?`
    Optional(TypeId),
}

/// `name: type`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldDecl {
    /// The field.
    pub name: Ident,
    /// Its type.
    pub ty: TypeId,
}

/// `type name ..`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TypeDecl {
    /// The type.
    pub name: Ident,
    /// What it stands for.
    pub kind: TypeDeclKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of type declarations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TypeDeclKind {
    /// A record.
    Struct {
        /// The fields in order.
        fields: List<FieldDecl>,
        /// The methods in order.
        methods: List<FunId>,
    },
    /// A union.
    Union(List<Variant>),
    /// Another name of a type.
    Alias(TypeId),
}

/// A variant of a union.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// The constructor.
    pub name: Ident,
    /// The payload.
    pub fields: List<FieldDecl>,
    /// Its place.
    pub span: Span,
}

// ---- Bindings and functions ----

/// A place that introduces a variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bind {
    /// The variable.
    pub name: Name,
    /// Place of the name.
    pub span: Span,
    /// How it is introduced.
    pub kind: BindKind,
    /// Its type annotation.
    pub ty: Option<TypeId>,
    /// The innermost function around the place; none at the top level. Parameters belong to their own function, the
    /// name of a declared function to the one around it.
    pub fun: Option<FunId>,
}

/// How a variable is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindKind {
    /// `let`
    Let,
    /// `var`
    Var,
    /// Parameter of a function.
    Param,
    /// `for`
    For,
    /// A name in a pattern.
    Pattern,
    /// A declared function, method or intent.
    Fun,
    /// `from` or `join` of a query.
    Query,
    /// `into` of a query's `group by`.
    Group,
    /// `fetch .. into`
    Fetch,
    /// `on .. as`
    Event,
    /// The alias of an import.
    Import,
    /// An extern function, variable or object that is a single name.
    Extern,
}

/// A function of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fun {
    /// Which kind.
    pub kind: FunKind,
    /// Its variable; lambdas have none.
    pub bind: Option<BindId>,
    /// Whether `export` stands before it.
    pub exported: bool,
    /// `<T, U>`
    pub type_params: List<Ident>,
    /// The parameters.
    pub params: List<BindId>,
    /// The declared result.
    pub result: Option<TypeId>,
    /// Effects that it declares after `!`.
    pub effects: List<Ident>,
    /// What it does.
    pub body: Body,
    /// The function around it.
    pub parent: Option<FunId>,
    /// Its place.
    pub span: Span,
}

/// The kinds of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunKind {
    /// `fun name(..) { .. }` as a statement.
    Decl,
    /// `fun` inside a struct type.
    Method,
    /// `intent` of an agent.
    Intent,
    /// `fun(..)` as an expression.
    Lambda,
}

// ---- Statements ----

/// A statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StmtKind {
    /// What could not be parsed; a diagnostic was reported.
    Error,
    /// `let x: T = e`, `var x: T = e`: the bind's kind says which.
    Let {
        /// The variable.
        bind: BindId,
        /// Its value.
        value: Option<ExprId>,
    },
    /// `target = value`
    Assign {
        /// A name, or [`ExprKind::Index`], [`ExprKind::Slice`] and [`ExprKind::Field`] over one.
        target: ExprId,
        /// The value.
        value: ExprId,
    },
    /// `fun name(..) { .. }`
    Fun(FunId),
    /// `return e`
    Return(Option<ExprId>),
    /// `if c { .. } else if d { .. } else { .. }`
    If {
        /// The conditions with their blocks; at least one.
        branches: List<Branch>,
        /// The block when no condition holds.
        otherwise: Option<Block>,
    },
    /// `while c { .. }`
    While {
        /// The condition.
        cond: ExprId,
        /// The body.
        body: Block,
    },
    /// `for x in items { .. }`
    ForIn {
        /// The variable.
        bind: BindId,
        /// What it runs over.
        items: ExprId,
        /// The body.
        body: Block,
    },
    /// `for i in start..end { .. }`
    ForRange {
        /// The variable.
        bind: BindId,
        /// First number.
        start: ExprId,
        /// Number behind the last.
        end: ExprId,
        /// The body.
        body: Block,
    },
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// An expression for its effect.
    Expr(ExprId),
    /// `test "name" { .. }`
    Test {
        /// The name.
        name: Ident,
        /// The body.
        body: Block,
    },
    /// `bench "name" { .. }`
    Bench {
        /// The name.
        name: Ident,
        /// The body.
        body: Block,
    },
    /// `expect e`
    Expect(ExprId),
    /// `type ..`
    Type(TypeDeclId),
    /// `import ..`
    Import(ImportId),
    /// `extern ..`
    Extern(ExternId),
    /// `fetch url into x with options`
    Fetch {
        /// The address.
        url: ExprId,
        /// The variable.
        bind: BindId,
        /// The options.
        with: Option<ExprId>,
    },
    /// `update xs set { f: e } where c`
    Update {
        /// The list variable.
        target: Ident,
        /// The fields to set.
        set: List<MapEntry>,
        /// Which elements.
        filter: Option<ExprId>,
    },
    /// `fact p("a", 1)`
    Fact(PredId),
    /// `rule h(x) :- p(x), x != y`
    Rule {
        /// What follows.
        head: PredId,
        /// From what.
        body: List<Condition>,
    },
    /// `stream S { f: T }`
    Stream {
        /// The stream.
        name: Ident,
        /// Fields of its events.
        fields: List<FieldDecl>,
    },
    /// `on S as e { .. }`
    On {
        /// The stream.
        stream: Ident,
        /// The event variable.
        bind: BindId,
        /// The handler.
        body: Block,
    },
    /// `emit S { f: e }`
    Emit {
        /// The stream.
        stream: Ident,
        /// The fields.
        fields: List<FieldInit>,
    },
    /// `model m { f: e }`
    Model {
        /// The model.
        name: Ident,
        /// Its settings.
        fields: List<FieldInit>,
    },
    /// `agent A { .. }`
    Agent {
        /// The agent.
        name: Ident,
        /// Let, assign, on and intent statements.
        body: Block,
    },
    /// `intent f(..) { .. }` in an agent.
    Intent(FunId),
}

/// A condition and its block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// The condition.
    pub cond: ExprId,
    /// The block.
    pub body: Block,
}

/// `import lang "path" as alias auto`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Import {
    /// The foreign language; none for a package of Mochi files.
    pub lang: Option<Ident>,
    /// What is imported.
    pub path: Ident,
    /// The variable: the alias, or else the last segment of the path without extension.
    pub bind: BindId,
    /// Whether an alias was written.
    pub has_alias: bool,
    /// Whether `auto` was written.
    pub auto: bool,
    /// Its place.
    pub span: Span,
}

/// `extern ..`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extern {
    /// Which kind.
    pub kind: ExternKind,
    /// `a.b.c`; at least one name.
    pub path: List<Ident>,
    /// The variable, if the path is one name and no type.
    pub bind: Option<BindId>,
    /// Its place.
    pub span: Span,
}

/// The kinds of extern declarations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExternKind {
    /// `extern type T`
    Type,
    /// `extern object o`
    Object,
    /// `extern let a.x: T`
    Let(TypeId),
    /// `extern var a.x: T`
    Var(TypeId),
    /// `extern fun a.f(..): T`
    Fun {
        /// The parameters.
        params: List<BindId>,
        /// The result.
        result: Option<TypeId>,
    },
}
