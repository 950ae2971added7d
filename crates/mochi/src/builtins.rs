//! The builtin functions: one list for checker, lowering and library.
//!
//! A row gives the name, the static signature, what a call may do and what becomes of its arguments. The checker types
//! calls by the signature; gradual typing reads from it which arguments stay untouched; the library implements each
//! [`Builtin`] by a `match` without a `_` arm, so that a new row does not compile before it has a meaning.
//!
//! The rows say what holds for *every* call. A builtin that returns a fresh list never returns its argument itself; a
//! builtin that [retains](Retains) nothing neither keeps its arguments nor hands them or their elements out.

/// A type in a signature. Type variables are `A`, `B`, `T` and stand for one type per call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    /// Any value.
    Any,
    /// No result.
    Unit,
    /// Truth value.
    Bool,
    /// 64-bit integer.
    Int,
    /// 64-bit integer that upstream keeps apart from `int`.
    Int64,
    /// 64-bit float.
    Float,
    /// Unbounded integer.
    BigInt,
    /// Text.
    Str,
    /// The type variable of this number.
    Var(u8),
    /// `list<T>`
    List(&'static Ty),
    /// `map<K, V>`
    Map(&'static Ty, &'static Ty),
    /// `T?`
    Option(&'static Ty),
    /// `fun(A, B): R`
    Fun(&'static [Ty], &'static Ty),
}

const ANY: Ty = Ty::Any;
const UNIT: Ty = Ty::Unit;
const BOOL: Ty = Ty::Bool;
const INT: Ty = Ty::Int;
const INT64: Ty = Ty::Int64;
const FLOAT: Ty = Ty::Float;
const BIGINT: Ty = Ty::BigInt;
const STR: Ty = Ty::Str;
const T: Ty = Ty::Var(0);
const A: Ty = Ty::Var(0);
const B: Ty = Ty::Var(1);
const K: Ty = Ty::Var(0);
const V: Ty = Ty::Var(1);
const LIST_T: Ty = Ty::List(&T);
const LIST_A: Ty = Ty::List(&A);
const LIST_K: Ty = Ty::List(&K);
const LIST_V: Ty = Ty::List(&V);
const LIST_INT: Ty = Ty::List(&INT);
const LIST_STR: Ty = Ty::List(&STR);
const MAP_KV: Ty = Ty::Map(&K, &V);
const OPTION_T: Ty = Ty::Option(&T);
const REDUCER: Ty = Ty::Fun(&[B, A], &B);

/// What a call may do besides giving a result, as a set.
///
/// The labels are those that function declarations write after `!`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Effects(u8);

impl Effects {
    /// None.
    pub const PURE: Effects = Effects(0);
    /// Reads standard input or writes standard output.
    pub const IO: Effects = Effects(1);
    /// Reads or writes files.
    pub const FS: Effects = Effects(2);
    /// Uses the network.
    pub const NET: Effects = Effects(4);
    /// Depends on the clock.
    pub const TIME: Effects = Effects(8);
    /// Runs source text.
    pub const META: Effects = Effects(16);

    /// The single effects with their labels, in the order in which messages list them.
    pub const LABELS: [(Effects, &'static str); 5] = [
        (Effects::IO, "io"),
        (Effects::FS, "fs"),
        (Effects::NET, "net"),
        (Effects::TIME, "time"),
        (Effects::META, "meta"),
    ];

    /// The effect of a label.
    pub fn from_label(label: &str) -> Option<Effects> {
        Effects::LABELS.iter().find(|(_, text)| *text == label).map(|&(effect, _)| effect)
    }

    /// Both.
    #[must_use]
    pub const fn union(self, other: Effects) -> Effects {
        Effects(self.0 | other.0)
    }

    /// Those that `other` does not have.
    #[must_use]
    pub const fn minus(self, other: Effects) -> Effects {
        Effects(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_pure(self) -> bool {
        self.0 == 0
    }

    /// The labels, as in `io, time`.
    pub fn text(self) -> String {
        let labels = Effects::LABELS.iter().filter(|(effect, _)| self.0 & effect.0 != 0);
        labels.map(|&(_, label)| label).collect::<Vec<_>>().join(", ")
    }
}

/// What lives on of the arguments after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retains {
    /// Nothing: the call only looks at them, and its result is a scalar or freshly made of scalars.
    Nothing,
    /// The result may hold elements of an argument, but not the argument itself.
    Elements,
    /// The result may be or hold an argument itself, or a called function may have kept it.
    Arguments,
}

/// What is known about a builtin.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The builtin.
    pub builtin: Builtin,
    /// Its name in programs.
    pub name: &'static str,
    /// Types of the named parameters.
    pub params: &'static [Ty],
    /// How many of them must be given.
    pub required: usize,
    /// Type of any further arguments; none if there are no further ones.
    pub rest: Option<Ty>,
    /// Most arguments in all; `None` if there is no limit.
    pub max: Option<usize>,
    /// Type of the result.
    pub result: Ty,
    /// What a call may do.
    pub effects: Effects,
    /// What lives on of the arguments.
    pub retains: Retains,
    /// Whether upstream's checker knows it.
    pub predeclared: bool,
    /// Number of arguments that upstream's checker insists on.
    pub strict_arity: Option<usize>,
    /// Whether a call can fail, for arguments of the right types too.
    pub fails: bool,
}

impl Info {
    /// Whether a call only looks at its arguments: nothing of them lives on, nothing in them changes.
    pub const fn reads_only(&self) -> bool {
        matches!(self.retains, Retains::Nothing)
    }

    /// Whether the result depends on the arguments alone and a call has no effect. It may still fail.
    pub const fn is_pure(&self) -> bool {
        self.effects.is_pure() && !matches!(self.builtin, Builtin::Mem | Builtin::Panic | Builtin::Reduce)
    }

    /// Whether the result belongs to type variables of the arguments.
    pub fn is_generic(&self) -> bool {
        self.params.iter().chain(&self.rest).any(|ty| ty.has_variables())
    }

    /// Whether a call with so many arguments is complete.
    pub fn accepts(&self, count: usize) -> bool {
        count >= self.required && self.max.is_none_or(|max| count <= max)
    }

    /// The type of the parameter at a position.
    pub fn param(&self, index: usize) -> Option<Ty> {
        self.params.get(index).copied().or(self.rest)
    }
}

impl Ty {
    /// Whether a type variable occurs.
    pub fn has_variables(self) -> bool {
        match self {
            Ty::Var(_) => true,
            Ty::List(inner) | Ty::Option(inner) => inner.has_variables(),
            Ty::Map(key, value) => key.has_variables() || value.has_variables(),
            Ty::Fun(params, result) => params.iter().any(|ty| ty.has_variables()) || result.has_variables(),
            Ty::Any | Ty::Unit | Ty::Bool | Ty::Int | Ty::Int64 | Ty::Float | Ty::BigInt | Ty::Str => false,
        }
    }
}

/// Columns that most rows leave alone. A row overrides them behind its signature.
const BASE: Info = Info {
    builtin: Builtin::Print,
    name: "",
    params: &[],
    required: usize::MAX,
    rest: None,
    max: Some(usize::MAX),
    result: UNIT,
    effects: Effects::PURE,
    retains: Retains::Nothing,
    predeclared: true,
    strict_arity: None,
    fails: false,
};

/// Fills in the columns that follow from others.
const fn complete(mut row: Info) -> Info {
    if row.required == usize::MAX {
        row.required = row.params.len();
    }
    row.max = match (row.rest, row.max) {
        (None, _) => Some(row.params.len()),
        (Some(_), Some(usize::MAX)) => None,
        (Some(_), max) => max,
    };
    row
}

macro_rules! builtins {
    ($(
        $(#[$doc:meta])*
        $variant:ident $name:literal $params:expr => $result:expr $(, $column:ident: $value:expr)*;
    )*) => {
        /// A builtin function.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Builtin {
            $($(#[$doc])* $variant,)*
        }

        impl Builtin {
            /// All of them, in the order of the list.
            pub const ALL: &[Builtin] = &[$(Builtin::$variant),*];
        }

        const TABLE: &[Info] = &[$({
            #[allow(clippy::needless_update, reason = "a row may set every column")]
            let row = Info {
                builtin: Builtin::$variant,
                name: $name,
                params: &$params,
                result: $result,
                $($column: $value,)*
                ..BASE
            };
            complete(row)
        }),*];
    };
}

builtins! {
    /// Writes its arguments, separated by spaces, and a line break.
    Print "print" [] => UNIT, rest: Some(ANY), effects: Effects::IO;
    /// Number of elements, entries, fields or characters.
    Len "len" [ANY] => INT, strict_arity: Some(1), fails: true;
    /// The value as text.
    Str "str" [ANY] => STR, strict_arity: Some(1);
    /// A list with one more element.
    Append "append" [LIST_T, T] => LIST_T, strict_arity: Some(2), retains: Retains::Arguments;
    /// The next line of standard input, empty at the end.
    Input "input" [] => STR, strict_arity: Some(0), effects: Effects::IO;
    /// Ends the program with a message.
    Panic "panic" [ANY] => UNIT, predeclared: false, fails: true;
    /// The part of a text between two positions.
    Substring "substring" [STR, INT, INT] => STR, strict_arity: Some(3);
    /// As `substring`.
    Substr "substr" [STR, INT, INT] => STR;
    /// The part of a list or text between two positions.
    Slice "slice" [T, INT, INT] => T, predeclared: false, retains: Retains::Elements, fails: true;
    /// The value as integer.
    Int "int" [ANY] => INT, strict_arity: Some(1), fails: true;
    /// Nanoseconds since 1970, or the next number of the seeded clock.
    Now "now" [] => INT64, strict_arity: Some(0), effects: Effects::TIME;
    /// In small letters.
    Lower "lower" [ANY] => STR, strict_arity: Some(1);
    /// In capital letters.
    Upper "upper" [STR] => STR, strict_arity: Some(1);
    /// The elements of all lists behind one another.
    Concat "concat" [] => LIST_T, rest: Some(LIST_T), retains: Retains::Elements;
    /// Writes a value as JSON.
    Json "json" [ANY] => UNIT, strict_arity: Some(1), effects: Effects::IO, fails: true;
    /// Number of elements of a list or group.
    Count "count" [ANY] => INT, strict_arity: Some(1), fails: true;
    /// The value as float.
    Float "float" [ANY] => FLOAT, predeclared: false, fails: true;
    /// As `float`.
    ToFloat "to_float" [ANY] => FLOAT, predeclared: false, fails: true;
    /// The pieces of a text between separators.
    Split "split" [STR, STR] => LIST_STR, strict_arity: Some(2);
    /// The elements as one text with separators between them.
    Join "join" [LIST_STR, STR] => STR, strict_arity: Some(2);
    /// Sum of the elements: an integer if all are.
    Sum "sum" [ANY] => INT, strict_arity: Some(1), fails: true;
    /// Mean of the elements that are not none.
    Avg "avg" [ANY] => FLOAT, strict_arity: Some(1), fails: true;
    /// The least element.
    Min "min" [LIST_T] => T, strict_arity: Some(1), retains: Retains::Elements, fails: true;
    /// The greatest element.
    Max "max" [LIST_T] => T, strict_arity: Some(1), retains: Retains::Elements, fails: true;
    /// Position of a text in another, or -1.
    IndexOf "indexOf" [STR, STR] => INT, strict_arity: Some(2);
    /// The keys in order.
    Keys "keys" [MAP_KV] => LIST_K, strict_arity: Some(1);
    /// The values in the order of their keys.
    Values "values" [MAP_KV] => LIST_V, strict_arity: Some(1), retains: Retains::Elements;
    /// The integer that digits of a base stand for; base 10 without a second argument.
    ParseIntStr "parseIntStr" [STR, INT] => INT, required: 1, strict_arity: Some(2), fails: true;
    /// Pads a text on the left.
    PadStart "padStart" [STR, INT, STR] => STR, strict_arity: Some(3);
    /// Numerator of the reduced fraction.
    Num "num" [ANY] => BIGINT, strict_arity: Some(1), fails: true;
    /// Denominator of the reduced fraction.
    Denom "denom" [ANY] => BIGINT, strict_arity: Some(1), fails: true;
    /// SHA-256 digest of a text or of a list of bytes.
    Sha256 "sha256" [ANY] => LIST_INT, strict_arity: Some(1), fails: true;
    /// Whether a text contains another, or a list an element.
    Contains "contains" [STR, STR] => BOOL, strict_arity: Some(2), fails: true;
    /// Whether there is an element, entry or character.
    Exists "exists" [ANY] => BOOL, strict_arity: Some(1), fails: true;
    /// The greatest integer not above, as float.
    Floor "floor" [ANY] => FLOAT, strict_arity: Some(1), fails: true;
    /// The least integer not below, as float.
    Ceil "ceil" [ANY] => FLOAT, strict_arity: Some(1), fails: true;
    /// The absolute value, of the same kind.
    Abs "abs" [ANY] => ANY, strict_arity: Some(1), fails: true;
    /// The first element or none.
    First "first" [LIST_T] => OPTION_T, strict_arity: Some(1), retains: Retains::Elements;
    /// A text several times.
    Repeat "repeat" [STR, INT] => STR, strict_arity: Some(2), fails: true;
    /// A list or text backwards.
    Reverse "reverse" [ANY] => ANY, strict_arity: Some(1), retains: Retains::Elements, fails: true;
    /// Rounded half away from zero, to a number of decimals.
    Round "round" [FLOAT, INT] => FLOAT, required: 1, fails: true;
    /// A power: exact for integers.
    Pow "pow" [ANY, ANY] => ANY, predeclared: false, fails: true;
    /// The elements without repetitions.
    Distinct "distinct" [LIST_T] => LIST_T, strict_arity: Some(1), retains: Retains::Elements;
    /// The elements of a list in the order of their keys, which are in another list. Only plans of queries call it.
    SortBy "sort by" [LIST_T, ANY] => LIST_T, predeclared: false, retains: Retains::Elements;
    /// For each row of a list the number of the next one that may have the same key. Only plans of queries call it.
    LinksOf "links of" [LIST_T] => LIST_INT, predeclared: false;
    /// The number of the first row that may have a key, or -1: of the links, the rows, the key and the path to theirs. It may change
    /// the links. Only plans of queries call it.
    FirstOf "first of" [LIST_INT, LIST_T, ANY, STR] => INT, predeclared: false, fails: true;
    /// A row of several variables, a map of their values, which has their fields too. Only plans of queries call it.
    Row "row of" [ANY] => ANY, predeclared: false, retains: Retains::Arguments;
    /// Makes the map of a group's key and items act as the list of the items. No program can name it.
    Group "group of" [ANY] => ANY, predeclared: false, retains: Retains::Arguments;
    /// As `append`.
    Push "push" [LIST_T, T] => LIST_T, strict_arity: Some(2), retains: Retains::Arguments;
    /// The elements of a list or group as a new list.
    Collect "collect" [LIST_T] => LIST_T, retains: Retains::Elements;
    /// Integers from a first (0) to before a last one, in steps (1).
    Range "range" [INT] => LIST_INT, rest: Some(INT), max: Some(3), fails: true;
    /// Combines the elements from left to right.
    Reduce "reduce" [LIST_A, REDUCER, B] => B, strict_arity: Some(3), retains: Retains::Arguments;
    /// A text without white space at both ends.
    Trim "trim" [STR] => STR, strict_arity: Some(1);
    /// The value as compact JSON text.
    ToJson "to_json" [ANY] => STR, strict_arity: Some(1), fails: true;
    /// Bytes of memory in use.
    Mem "mem" [] => INT, predeclared: false;
    /// Runs source text.
    Eval "eval" [STR] => ANY, strict_arity: Some(1), effects: Effects::META, retains: Retains::Arguments, fails: true;
}

impl Builtin {
    /// Its row.
    pub const fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }

    /// Its name in programs.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The name by which the [plans](crate::syntax::ast::Program::plan_queries) of queries call it, whatever functions a
    /// program declares.
    pub fn plan_name(self) -> String {
        format!("builtin {}", self.name())
    }

    /// The builtin of a name. Programs are interned first, so this is asked once per name, not once per use.
    pub fn from_name(name: &str) -> Option<Builtin> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.builtin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_number_and_name() {
        for (index, &builtin) in Builtin::ALL.iter().enumerate() {
            assert_eq!(builtin as usize, index);
            assert_eq!(builtin.info().builtin, builtin);
            assert_eq!(Builtin::from_name(builtin.name()), Some(builtin), "{}", builtin.name());
        }
        assert_eq!(Builtin::from_name("sqrt"), None);
    }

    #[test]
    fn arities() {
        let accepted = |builtin: Builtin| (0..6).filter(|&n| builtin.info().accepts(n)).collect::<Vec<_>>();
        assert_eq!(accepted(Builtin::Print), [0, 1, 2, 3, 4, 5]);
        assert_eq!(accepted(Builtin::Range), [1, 2, 3]);
        assert_eq!(accepted(Builtin::Round), [1, 2]);
        assert_eq!(accepted(Builtin::ParseIntStr), [1, 2]);
        assert_eq!(accepted(Builtin::Now), [0]);
        assert_eq!(accepted(Builtin::Substring), [3]);
    }

    #[test]
    fn strict_arities_agree_with_the_signatures() {
        for builtin in Builtin::ALL {
            let row = builtin.info();
            if let Some(count) = row.strict_arity {
                assert!(row.accepts(count), "{}", row.name);
            }
            assert!(row.required <= row.params.len(), "{}", row.name);
        }
    }

    #[test]
    fn effects_as_text() {
        assert_eq!(Effects::TIME.union(Effects::IO).text(), "io, time");
        assert_eq!(Effects::from_label("net"), Some(Effects::NET));
        assert_eq!(Effects::from_label("quantum"), None);
        assert!(Effects::IO.minus(Effects::IO).is_pure());
    }
}
