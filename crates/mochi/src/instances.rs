//! Functions that get types of their own at each call.
//!
//! Inference gives a function one set of slots. A `fun map<T, U>(xs: list<T>, f: fun(T): U)` that is called with a list of ints
//! here and of texts there therefore runs on `any`, and so does every list that meets it; a `fun swap(xs, i, j)` without types
//! likewise. [`instances`] finds such functions and reads them again, once for each call but the first, and infers anew: the classical
//! monomorphisation, by call and not by type, since what the types would be is known only afterwards.
//!
//! An instance is an ordinary function of the top level behind the original. Its text is read again, so it has nodes of its own, whose
//! places are those of the original, and a name that no program can write; [`shown`] is what messages show of it. Nothing but
//! representations hangs on the types of slots, so a program means the same with and without instances.
//!
//! What is read again is bounded: see the constants. Instances that got no better types are given up.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::infer::{CallKind, TyId, TyKind, Types, infer};
use crate::resolve::{Resolution, resolve};
use crate::source::{SourceMap, Span};
use crate::syntax::ast::{
    BindId, ExprId, ExprKind, FunId, FunKind, Interner, Name, Program, StmtId, StmtKind, TypeId, TypeKind,
};
use crate::syntax::{Again, parse};

/// Functions that are called at more places are no helpers for a few types, as a rule.
const MOST_CALLS: usize = 8;
/// Larger functions are left alone.
const LARGEST: usize = 400;
/// So many expressions are read again at most.
const MOST: usize = 4_000;
/// In larger programs nothing is read again: all of it would be inferred anew.
const LARGEST_PROGRAM: usize = 30_000;
/// Functions call one another: instances call instances from the next round on.
const ROUNDS: usize = 3;
/// What stands between the name of a function and the number of its instance: nothing that a name can have in it.
const MARK: char = '#';

/// The name of a function as the program has it.
pub fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// The program with instances of functions, and what is found out about it, where some of them have better types than the original.
/// The program is planned, and so is what comes back.
pub fn instances(
    sources: &SourceMap,
    names: &mut Interner,
    program: &Program,
    resolution: &Resolution,
    types: &Types,
) -> Option<(Program, Resolution, Types)> {
    let first = calls_of_open(program, resolution, types);
    if first.is_empty() || program.exprs.len() > LARGEST_PROGRAM {
        return None;
    }
    let before = untyped(program, types, |fun| first.iter().any(|(open, _)| *open == fun));
    // As it was before its queries were planned.
    let (whole, _) = parse(sources, program.file, names);
    let mut made = Made {
        again: Again::new(program.file, sources.file(program.file).text()),
        originals: whole.exprs.len(),
        program: whole,
        names: HashSet::new(),
        ranges: HashMap::new(),
        added: 0,
    };
    let mut calls = first;
    let mut last: Option<(Program, Resolution, Types)> = None;
    for _ in 0..ROUNDS {
        let known = last.as_ref().map_or(resolution, |last| &last.1);
        if !made.add(names, &calls, known) {
            break;
        }
        let mut planned = made.program.clone();
        planned.plan_queries(names);
        let resolution = resolve(&planned, names);
        let types = infer(&planned, &resolution, names);
        calls = calls_of_open(&planned, &resolution, &types);
        last = Some((planned, resolution, types));
    }
    let (program, _, types) = last.as_ref()?;
    let places: HashSet<Span> = before.iter().map(|&(span, _)| span).collect();
    let after = untyped(program, types, |fun| places.contains(&program[fun].span));
    // What got no better anywhere is untyped in the original and in all instances, which stand at one place.
    let better = before.iter().any(|slot| {
        let functions = program.funs.iter().filter(|fun| fun.span == slot.0).count();
        after.iter().filter(|&other| other == slot).count() < functions
    });
    last.filter(|_| better)
}

/// The parameters of functions, by the function's place and number, whose types leave something open.
fn untyped(program: &Program, types: &Types, which: impl Fn(FunId) -> bool) -> Vec<(Span, usize)> {
    let funs = (0..program.funs.len()).map(FunId::new).filter(|&fun| which(fun));
    let params = funs.flat_map(|fun| {
        let params = program[program[fun].params].iter().enumerate();
        params.filter(|&(_, &param)| holds_any(types, types.bind(param))).map(move |(at, _)| (fun, at))
    });
    params.map(|(fun, at)| (program[fun].span, at)).collect()
}

/// The functions with untyped parameters that their declarations leave open, each with the names by which they are called.
fn calls_of_open(program: &Program, resolution: &Resolution, types: &Types) -> Vec<(FunId, Vec<ExprId>)> {
    let has_open = |fun: FunId| {
        let node = &program[fun];
        let open = |&param: &BindId| {
            let declared = program[param].ty;
            declared.is_none_or(|ty| is_open(program, fun, ty)) && holds_any(types, types.bind(param))
        };
        node.kind == FunKind::Decl && resolution.fun(fun).top_level && program[node.params].iter().any(open)
    };
    let open: Vec<FunId> = (0..program.funs.len()).map(FunId::new).filter(|&fun| has_open(fun)).collect();
    if open.is_empty() {
        return Vec::new();
    }
    let mut calls: HashMap<FunId, Vec<ExprId>> = HashMap::new();
    for (index, expr) in program.exprs.iter().enumerate() {
        if let ExprKind::Call { callee, .. } = expr.kind
            && let CallKind::Direct(fun) = types.call(ExprId::new(index))
            && program.as_name(callee).is_some()
        {
            calls.entry(fun).or_default().push(callee);
        }
    }
    let found = open.into_iter().filter_map(|fun| {
        let mut callees = calls.remove(&fun)?;
        callees.sort_unstable();
        callees.dedup();
        (callees.len() > 1).then_some((fun, callees))
    });
    found.collect()
}

/// Whether an annotation leaves open what a call passes: a type parameter or `any` is in it, and nothing that converts numbers.
fn is_open(program: &Program, fun: FunId, ty: TypeId) -> bool {
    let of_function = |name: Name| program[program[fun].type_params].iter().any(|param| param.name == name);
    match program[ty].kind {
        TypeKind::Name(name) => of_function(name),
        TypeKind::Generic { args, .. } => program[args].iter().any(|&arg| is_open(program, fun, arg)),
        TypeKind::Fun { params, result } => {
            program[params].iter().chain(&result).any(|&part| is_open(program, fun, part))
        }
        TypeKind::Optional(of) => is_open(program, fun, of),
        TypeKind::Struct(_) | TypeKind::Error => false,
    }
}

fn holds_any(types: &Types, ty: TyId) -> bool {
    match types.get(ty).kind {
        TyKind::Any => true,
        TyKind::List(element) => holds_any(types, element),
        TyKind::Map(key, value) => holds_any(types, key) || holds_any(types, value),
        TyKind::Fun(params, result) => {
            types.params(params).iter().any(|&param| holds_any(types, param)) || holds_any(types, result)
        }
        _ => false,
    }
}

/// A program that instances are added to, before its queries are planned.
struct Made<'a> {
    /// What reads functions again.
    again: Again<'a>,
    program: Program,
    /// How many expressions the file has.
    originals: usize,
    /// The names of instances.
    names: HashSet<Name>,
    /// Where the expressions of instances are.
    ranges: HashMap<FunId, Range<usize>>,
    /// How many were added.
    added: usize,
}

impl Made<'_> {
    /// Adds instances for calls of functions; whether there are any.
    fn add(&mut self, names: &mut Interner, calls: &[(FunId, Vec<ExprId>)], resolution: &Resolution) -> bool {
        let mut any = false;
        for (fun, callees) in calls {
            let Some(range) = self.range(*fun).filter(|range| range.len() <= LARGEST) else { continue };
            let outside: Vec<ExprId> =
                callees.iter().copied().filter(|callee| !range.contains(&callee.index())).collect();
            // The original stays the function of the first call, unless its value is used as well.
            let skipped = usize::from(!resolution.fun(*fun).used_as_value);
            if !(2..=MOST_CALLS).contains(&outside.len()) {
                continue;
            }
            for &callee in &outside[skipped..] {
                if self.added + range.len() > MOST {
                    return any;
                }
                any |= self.instance(names, *fun, range.clone(), callee);
            }
        }
        any
    }

    /// The expressions of a function, which are all that there are between the first and the last.
    fn range(&self, fun: FunId) -> Option<Range<usize>> {
        if let Some(range) = self.ranges.get(&fun) {
            return Some(range.clone());
        }
        let whole = self.program[fun].span;
        let within = |span: Span| span.start >= whole.start && span.end <= whole.end;
        let exprs = &self.program.exprs[..self.originals];
        let start = exprs.iter().position(|expr| within(expr.span))?;
        let end = exprs.iter().rposition(|expr| within(expr.span))? + 1;
        exprs[start..end].iter().all(|expr| within(expr.span)).then_some(start..end)
    }

    /// Reads a function again, for one call of it.
    fn instance(&mut self, names: &mut Interner, fun: FunId, range: Range<usize>, callee: ExprId) -> bool {
        let place = |program: &Program, &stmt: &StmtId| program[stmt].kind == StmtKind::Fun(fun);
        let body = self.program[self.program.body.stmts].to_vec();
        let Some(at) = body.iter().position(|stmt| place(&self.program, stmt)) else { return false };
        let Some(old) = self.program[fun].bind else { return false };
        let sizes = self.program.sizes();
        let start = self.program.exprs.len();
        let from = self.program[body[at]].span.start;
        let read = self.again.statement(&mut self.program, names, from);
        let own = start..self.program.exprs.len();
        let same = |a: usize, b: usize| {
            let [a, b] = [a, b].map(|at| std::mem::discriminant(&self.program.exprs[at].kind));
            a == b
        };
        let alike = own.len() == range.len() && own.clone().zip(range.clone()).all(|(a, b)| same(a, b));
        let made = read.filter(|_| alike).and_then(|stmt| match self.program[stmt].kind {
            StmtKind::Fun(made) => Some((stmt, made, self.program[made].bind?)),
            _ => None,
        });
        let Some((stmt, made, bind)) = made else {
            self.program.truncate(sizes);
            return false;
        };
        self.added += own.len();
        let (name, own_name) = (self.program[old].name, own_name(names, self.program[old].name, made));
        self.program.binds[bind.index()].name = own_name;
        // What calls instances calls them in this one, too, and the instance calls itself.
        for (a, b) in own.clone().zip(range) {
            if let ExprKind::Name(other) = self.program.exprs[b].kind {
                if other == name {
                    self.program.exprs[a].kind = ExprKind::Name(own_name);
                } else if self.names.contains(&other) {
                    self.program.exprs[a].kind = ExprKind::Name(other);
                }
            }
        }
        self.names.insert(own_name);
        self.program.exprs[callee.index()].kind = ExprKind::Name(own_name);
        let mut stmts = body;
        stmts.insert(at + 1, stmt);
        self.program.body.stmts = self.program.add_list(stmts);
        self.ranges.insert(made, own);
        true
    }
}

/// The name of an instance.
fn own_name(names: &mut Interner, name: Name, made: FunId) -> Name {
    let text = format!("{}{MARK}{}", shown(names.get(name)), made.index());
    names.intern(&text)
}
