//! Which names are visible, and what is known of them.
//!
//! Names are dense numbers, so the innermost variable of each name stands in a table, and a variable remembers the one
//! that it hides. Entering a scope notes the length of a log; leaving undoes the log's entries down to it.
//!
//! Beyond its declared type a variable may have a *fact*: a narrower type that a test (`x != none`) or an assignment has
//! shown. Facts end with their scope; one that a statement inside the scope disproved stays lost outside, too. Facts
//! carry a time stamp. A closure, which runs at another time, sees only those that are younger than its own beginning,
//! and after a call with effects only those about what is no `var` and younger ones count. So neither has to visit the facts.
//!
//! That a map has a key is a fact about two variables: it ends when one of them gets another value, never otherwise, as maps never lose
//! keys. Variables that no other function assigns keep it over calls, and those that nothing assigns take it along into lambdas.

use std::collections::{HashMap, HashSet};

use crate::builtins::Builtin;
use crate::syntax::ast::Name;

use super::types::{StructId, Ty};

/// A variable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct VarRef(u32);

/// A key that can be told again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Var(VarRef),
    Str(Name),
    Int(i64),
}

/// The names of variables that get other values after their declaration.
#[derive(Default)]
pub(super) struct Assigned {
    /// Anywhere.
    pub(super) anywhere: HashSet<Name>,
    /// In a function that does not declare them.
    pub(super) outside: HashSet<Name>,
}

/// What is known of a variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Var {
    name: Name,
    pub(super) declared: Ty,
    fact: Ty,
    stamp: Stamp,
    /// When it got another value.
    changed: Stamp,
    /// Whether a test told that it begins with a value: it would have been optional otherwise.
    pub(super) tested: bool,
    pub(super) mutable: bool,
    /// Whether what is known of it outlives calls with effects.
    keeps_facts: bool,
    /// The builtin function that it is.
    pub(super) builtin: Option<Builtin>,
    hidden: Option<VarRef>,
}

/// What a name means as a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TypeName {
    /// A declared type, or a type parameter of the function around.
    Ty(Ty),
    /// The alias of this number, whose type is not known yet.
    Alias(usize),
}

impl Var {
    /// Whether the function that is checked has given it no other value since then.
    pub(super) fn unchanged_since(&self, stamp: Stamp) -> bool {
        self.changed <= stamp
    }

    /// Whether what is known of it outlives calls with effects.
    pub(super) fn keeps_facts(&self) -> bool {
        self.keeps_facts
    }
}

enum Undo {
    /// The variable ends.
    Bind(VarRef),
    /// What a type name meant before.
    Type(Name, Option<TypeName>),
    /// What a name constructed before.
    Constructor(Name, Option<StructId>),
    /// The fact about a variable ends; what was known before.
    Fact(VarRef, Ty, Stamp),
    /// The fact that a map has a key ends; when it was known before.
    Entry(VarRef, Key, Option<Stamp>),
}

/// Counts the facts.
pub(super) type Stamp = u64;

/// What a closure does not see.
#[derive(Clone, Copy, Default)]
pub(super) struct Horizon {
    /// Facts up to here are not seen.
    start: Stamp,
    /// Facts about mutable variables up to here are no longer seen.
    forgotten: Stamp,
    /// Not even entries of maps in variables that nothing assigns are known from up to here.
    hoisted: Stamp,
}

/// Whether a closure may be called before the code above it has run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    Early,
    Later,
}

/// How much of the log a scope found when it was entered.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

/// The visible names.
#[derive(Default)]
pub(super) struct Scope {
    vars: Vec<Var>,
    by_name: Vec<Option<VarRef>>,
    types: Vec<Option<TypeName>>,
    constructors: Vec<Option<StructId>>,
    entries: HashMap<(VarRef, Key), Stamp>,
    assigned: Assigned,
    log: Vec<Undo>,
    clock: Stamp,
    horizon: Horizon,
}

impl Scope {
    /// A scope without names, for names below `names`.
    pub(super) fn new(names: usize, assigned: Assigned) -> Scope {
        let (by_name, types, constructors) = (vec![None; names], vec![None; names], vec![None; names]);
        Scope { by_name, types, constructors, assigned, ..Scope::default() }
    }

    /// Starts a scope.
    pub(super) fn enter(&self) -> Mark {
        Mark(self.log.len())
    }

    /// Ends a scope.
    pub(super) fn leave(&mut self, mark: Mark) {
        while self.log.len() > mark.0 {
            match self.log.pop().expect("the log is longer than the mark") {
                Undo::Bind(var) => {
                    let Var { name, hidden, .. } = self.vars[var.0 as usize];
                    self.by_name[name.index()] = hidden;
                    // Variables end in the opposite order of their beginning.
                    debug_assert_eq!(self.vars.len() - 1, var.0 as usize);
                    self.vars.pop();
                }
                Undo::Type(name, before) => self.types[name.index()] = before,
                Undo::Constructor(name, before) => self.constructors[name.index()] = before,
                Undo::Fact(var, before, stamp) => {
                    let declared = self.var(var).declared;
                    let lost = self.current(var) == declared && before != declared && self.counts(var, stamp);
                    let fact = if lost { declared } else { before };
                    let info = &mut self.vars[var.0 as usize];
                    (info.fact, info.stamp) = (fact, stamp);
                }
                Undo::Entry(map, key, before) => {
                    match before {
                        Some(stamp) => self.entries.insert((map, key), stamp),
                        None => self.entries.remove(&(map, key)),
                    };
                }
            }
        }
    }

    /// Introduces a variable.
    pub(super) fn bind(&mut self, name: Name, ty: Ty, mutable: bool) -> VarRef {
        let var = VarRef(self.vars.len() as u32);
        let hidden = self.by_name[name.index()].replace(var);
        let (stamp, changed, tested, builtin) = (0, 0, false, None);
        self.vars.push(Var {
            name,
            declared: ty,
            fact: ty,
            stamp,
            changed,
            tested,
            mutable,
            keeps_facts: !mutable,
            builtin,
            hidden,
        });
        self.log.push(Undo::Bind(var));
        var
    }

    /// Notes that no call can give the variable another value, unless it is one of a function that assigns it.
    pub(super) fn keep_facts(&mut self, var: VarRef) {
        self.vars[var.0 as usize].keeps_facts = self.is_private(var);
    }

    /// Introduces a builtin function.
    pub(super) fn bind_builtin(&mut self, name: Name, ty: Ty, builtin: Builtin) {
        let var = self.bind(name, ty, false);
        self.vars[var.0 as usize].builtin = Some(builtin);
    }

    /// Notes that the variable begins with something of which a test told that it has a value.
    pub(super) fn mark_tested(&mut self, var: VarRef) {
        self.vars[var.0 as usize].tested = true;
    }

    /// The visible variable of a name.
    pub(super) fn find(&self, name: Name) -> Option<VarRef> {
        self.by_name[name.index()]
    }

    /// The names of all variables that are visible or hidden here.
    pub(super) fn visible(&self) -> impl Iterator<Item = Name> {
        self.vars.iter().map(|var| var.name)
    }

    /// What is known of a variable.
    pub(super) fn var(&self, var: VarRef) -> &Var {
        &self.vars[var.0 as usize]
    }

    /// The type that a variable has as far as is known here.
    pub(super) fn current(&self, var: VarRef) -> Ty {
        let Var { declared, fact, stamp, .. } = *self.var(var);
        if self.counts(var, stamp) { fact } else { declared }
    }

    /// Whether a fact of that age about the variable counts here.
    fn counts(&self, var: VarRef, stamp: Stamp) -> bool {
        stamp > self.horizon.start && (self.var(var).keeps_facts || stamp > self.horizon.forgotten)
    }

    /// Changes the declared type of a variable for good.
    pub(super) fn redeclare(&mut self, var: VarRef, ty: Ty) {
        let info = &mut self.vars[var.0 as usize];
        (info.declared, info.stamp) = (ty, 0);
    }

    /// Notes until the end of the scope that a variable holds a value of the type.
    pub(super) fn learn(&mut self, var: VarRef, ty: Ty) {
        if self.current(var) == ty {
            return;
        }
        self.clock += 1;
        let info = &mut self.vars[var.0 as usize];
        self.log.push(Undo::Fact(var, info.fact, info.stamp));
        (info.fact, info.stamp) = (ty, self.clock);
    }

    /// Notes until the end of the scope that a map has a key.
    pub(super) fn learn_entry(&mut self, map: VarRef, key: Key) {
        self.clock += 1;
        let before = self.entries.insert((map, key), self.clock);
        self.log.push(Undo::Entry(map, key, before));
    }

    /// Whether a map is known to have a key.
    pub(super) fn has_entry(&self, map: VarRef, key: Key) -> bool {
        let Some(&stamp) = self.entries.get(&(map, key)) else { return false };
        let holds = |var: VarRef| {
            let Horizon { start, forgotten, hoisted } = self.horizon;
            stamp > self.var(var).changed
                && (self.is_fixed(var) && stamp > hoisted
                    || stamp > start && (self.is_private(var) || stamp > forgotten))
        };
        let key = match key {
            Key::Var(var) => holds(var),
            Key::Str(_) | Key::Int(_) => true,
        };
        key && holds(map)
    }

    /// A variable gets another value: entries that were known are those of another map, or of another key.
    pub(super) fn change(&mut self, var: VarRef) {
        self.clock += 1;
        self.vars[var.0 as usize].changed = self.clock;
    }

    /// Whether a variable keeps its value.
    fn is_fixed(&self, var: VarRef) -> bool {
        let Var { name, mutable, .. } = *self.var(var);
        !mutable || !self.assigned.anywhere.contains(&name)
    }

    /// The time.
    pub(super) fn now(&self) -> Stamp {
        self.clock
    }

    /// Whether nothing can have given map and key other values since then.
    pub(super) fn is_unchanged(&self, map: VarRef, key: Key, since: Stamp) -> bool {
        let holds = |var| self.var(var).unchanged_since(since) && self.is_private(var);
        holds(map) && if let Key::Var(var) = key { holds(var) } else { true }
    }

    /// Whether no function assigns a variable but the one that it is in.
    pub(super) fn is_private(&self, var: VarRef) -> bool {
        !self.assigned.outside.contains(&self.var(var).name)
    }

    /// Forgets what is known about variables that a call may have assigned.
    pub(super) fn forget_mutable(&mut self) {
        self.horizon.forgotten = self.clock;
    }

    /// Whether there may be facts about mutable variables that count here.
    pub(super) fn may_know_facts(&self) -> bool {
        !self.entries.is_empty() || self.clock > self.horizon.start.max(self.horizon.forgotten)
    }

    /// Enters a closure, which sees no facts from outside about what may change.
    pub(super) fn enter_closure(&mut self, called: Called) -> Horizon {
        let (start, forgotten) = (self.clock, self.clock);
        let hoisted = if called == Called::Early { self.clock } else { self.horizon.hoisted };
        std::mem::replace(&mut self.horizon, Horizon { start, forgotten, hoisted })
    }

    /// What is seen here.
    pub(super) fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// Leaves a closure whose scope has ended.
    pub(super) fn leave_closure(&mut self, outside: Horizon) {
        self.horizon = outside;
    }

    /// Gives a type name a meaning until the end of the scope.
    pub(super) fn name_type(&mut self, name: Name, meaning: TypeName) {
        let before = self.types[name.index()].replace(meaning);
        self.log.push(Undo::Type(name, before));
    }

    /// What a name means as a type.
    pub(super) fn type_name(&self, name: Name) -> Option<TypeName> {
        self.types[name.index()]
    }

    /// The names that mean types here.
    pub(super) fn type_names(&self) -> impl Iterator<Item = Name> {
        self.types
            .iter()
            .enumerate()
            .filter(|(_, meaning)| meaning.is_some())
            .map(|(index, _)| Name::new(index))
    }

    /// Lets a name construct values of a struct until the end of the scope.
    pub(super) fn name_constructor(&mut self, name: Name, id: StructId) {
        let before = self.constructors[name.index()].replace(id);
        self.log.push(Undo::Constructor(name, before));
    }

    /// The struct whose values a name constructs.
    pub(super) fn constructor(&self, name: Name) -> Option<StructId> {
        self.constructors[name.index()]
    }
}
