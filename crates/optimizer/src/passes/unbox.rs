//! Parameters that are always boxes of numbers or booleans are the numbers themselves.
//!
//! A parameter of type cell is of one kind if all its arguments are: boxes of that kind, constants, and parameters of it, itself
//! included, which is found optimistically as in `params.rs`. One kind becomes one parameter of the kind's type. Small ints and floats
//! mixed, as sums of dynamic code give them, become three: which it is, the int, the float; the one that it is not is 0. Where the
//! block begins the cell is made again, for frame states and whatever else needs it; what takes the cell apart finds the parts by
//! the rules of `fold.rs`, and what nobody needs goes with `dce.rs`. Machine code computes what only exits need in the exits.
//!
//! Only where something takes the cell apart: otherwise boxes are better made once. And mixed ones only where no call or routine finds
//! them in its frame, since the cell would be made again, with a choice, before each.
//!
//! Wide ints are objects, so the ints of `box_int` count only where `ranges.rs` showed that they are small.

use cranelift_entity::SecondaryMap;
use upshift_runtime::value::Value as Cell;

use super::Replacements;
use super::params::{argument, remove_params};
use crate::cfg::{Analyses, Cfg};
use crate::ir::{Block, Def, Function, InstData, Op, State, Type, Value};

/// How often all parameters are looked at before giving up.
const SWEEPS: usize = 24;

/// What cells a parameter may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nothing was seen yet.
    Unknown,
    Small,
    Float,
    /// One or the other.
    Number,
    Bool,
    /// More than is told apart here.
    Any,
}

impl Kind {
    fn join(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Unknown, k) | (k, Kind::Unknown) => k,
            (a, b) if a == b => a,
            (Kind::Small | Kind::Float | Kind::Number, Kind::Small | Kind::Float | Kind::Number) => {
                Kind::Number
            }
            _ => Kind::Any,
        }
    }
}

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let cfg = analyses.cfg(func);
    let mut params: Vec<(Block, usize, Value)> = Vec::new();
    for &block in &cfg.order[1..] {
        for (i, &p) in func.blocks[block].params.iter().enumerate() {
            if func.ty(p) == Type::Cell {
                params.push((block, i, p));
            }
        }
    }
    if params.is_empty() {
        return 0;
    }
    let Some(mut kinds) = kinds_of(func, cfg, &params, &SecondaryMap::new()) else { return 0 };
    if params.iter().any(|&(_, _, p)| kinds[p] == Kind::Number) {
        let named = named(func, cfg);
        if params.iter().any(|&(_, _, p)| kinds[p] == Kind::Number && named[p]) {
            let mut mixed = SecondaryMap::new();
            params.iter().for_each(|&(_, _, p)| mixed[p] = kinds[p] == Kind::Number && named[p]);
            match kinds_of(func, cfg, &params, &mixed) {
                Some(without) => kinds = without,
                None => return 0,
            }
        }
    }
    params.retain(|&(_, _, p)| !matches!(kinds[p], Kind::Unknown | Kind::Any));
    if params.is_empty() {
        return 0;
    }
    let wanted = wanted(func, cfg, &params);
    params.retain(|&(_, _, p)| wanted[p]);
    split(func, cfg, &params, &kinds);
    params.len()
}

/// The kind of a value that is no parameter.
fn kind_of(func: &Function, value: Value) -> Kind {
    let Some(data) = func.def(value) else { return Kind::Any };
    match data.op {
        Op::BoxSmall => Kind::Small,
        Op::BoxFloat => Kind::Float,
        Op::BoxBool => Kind::Bool,
        Op::Cconst => {
            let cell = Cell::from_bits(data.imm as u64);
            if cell.is_small_int() {
                Kind::Small
            } else if cell.is_float() {
                Kind::Float
            } else if cell.is_bool() {
                Kind::Bool
            } else {
                Kind::Any
            }
        }
        // What this pass made before.
        Op::SelectCell => match data.args[1..] {
            [a, b] => {
                let shallow = |v| match func.def(v).map(|d| d.op) {
                    Some(Op::BoxSmall) => Kind::Small,
                    Some(Op::BoxFloat) => Kind::Float,
                    _ => Kind::Any,
                };
                shallow(a).join(shallow(b))
            }
            _ => Kind::Any,
        },
        _ => Kind::Any,
    }
}

/// The values that frames hold at calls and routines that are not rare.
fn named(func: &Function, cfg: &Cfg) -> SecondaryMap<Value, bool> {
    let mut named = SecondaryMap::new();
    let mut seen: SecondaryMap<State, bool> = SecondaryMap::new();
    for &block in cfg.order.iter().filter(|&&b| !func.blocks[b].cold) {
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            if !data.op.info().calls && data.op != Op::Routine {
                continue;
            }
            let mut next = data.state.expand();
            while let Some(state) = next.filter(|&s| !seen[s]) {
                seen[state] = true;
                func.states[state].slots.iter().for_each(|s| named[s.1] = true);
                next = func.states[state].parent.expand();
            }
        }
    }
    named
}

/// What the parameters are, where some may be anything.
fn kinds_of(
    func: &Function,
    cfg: &Cfg,
    params: &[(Block, usize, Value)],
    any: &SecondaryMap<Value, bool>,
) -> Option<SecondaryMap<Value, Kind>> {
    let mut kinds = SecondaryMap::with_default(Kind::Any);
    params.iter().filter(|p| !any[p.2]).for_each(|&(_, _, p)| kinds[p] = Kind::Unknown);
    for _ in 0..SWEEPS {
        let mut changed = false;
        for &(block, i, p) in params {
            let mut kind = kinds[p];
            for edge in cfg.preds(block) {
                if kind == Kind::Any {
                    break;
                }
                let arg = argument(func, edge.from, edge.target, i);
                let of = match func.values[arg].def {
                    Def::Param(..) => kinds[arg],
                    Def::Inst(_) => kind_of(func, arg),
                };
                kind = kind.join(of);
            }
            changed |= kind != kinds[p];
            kinds[p] = kind;
        }
        if !changed {
            return Some(kinds);
        }
    }
    None
}

/// The parameters that something takes apart, or that feed such a one.
fn wanted(func: &Function, cfg: &Cfg, params: &[(Block, usize, Value)]) -> SecondaryMap<Value, bool> {
    let mut places: SecondaryMap<Value, u32> = SecondaryMap::new();
    for (n, &(_, _, p)) in params.iter().enumerate() {
        places[p] = n as u32 + 1;
    }
    let mut wanted: SecondaryMap<Value, bool> = SecondaryMap::new();
    let mut work = Vec::new();
    for &block in &cfg.order {
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            if matches!(
                data.op,
                Op::IsSmall | Op::IsFloat | Op::IsObject | Op::SmallInt | Op::CellFloat | Op::Bits | Op::Same
            ) {
                for &arg in data.args.iter().filter(|&&a| places[a] != 0) {
                    if !wanted[arg] {
                        wanted[arg] = true;
                        work.push(arg);
                    }
                }
            }
        }
    }
    while let Some(p) = work.pop() {
        let (block, i, _) = params[places[p] as usize - 1];
        for edge in cfg.preds(block) {
            let arg = argument(func, edge.from, edge.target, i);
            if places[arg] != 0 && !wanted[arg] {
                wanted[arg] = true;
                work.push(arg);
            }
        }
    }
    wanted
}

/// The parts of a parameter, as far as its kind has them.
#[derive(Clone, Copy, Default)]
struct Parts {
    /// For numbers: whether it is an int.
    small: Option<Value>,
    int: Option<Value>,
    float: Option<Value>,
}

fn split(
    func: &mut Function,
    cfg: &Cfg,
    params: &[(Block, usize, Value)],
    kinds: &SecondaryMap<Value, Kind>,
) {
    let mut parts: SecondaryMap<Value, Option<Parts>> = SecondaryMap::with_default(None);
    let mut replaced = Replacements::new(func);
    // The new parameters, and the cell again.
    for &(block, _, p) in params {
        let mut part = Parts::default();
        let mut front = Vec::new();
        let mut push = |func: &mut Function, data: InstData| -> Value {
            let (inst, value) = func.make(data);
            front.push(inst);
            value.unwrap_or(p)
        };
        let cell = match kinds[p] {
            Kind::Small => {
                let int = func.add_param(block, Type::Int);
                part.int = Some(int);
                push(func, InstData::new(Op::BoxSmall, &[int]))
            }
            Kind::Bool => {
                let int = func.add_param(block, Type::Int);
                part.int = Some(int);
                push(func, InstData::new(Op::BoxBool, &[int]))
            }
            Kind::Float => {
                let float = func.add_param(block, Type::Float);
                part.float = Some(float);
                push(func, InstData::new(Op::BoxFloat, &[float]))
            }
            _ => {
                let small = func.add_param(block, Type::Int);
                let int = func.add_param(block, Type::Int);
                let float = func.add_param(block, Type::Float);
                part = Parts { small: Some(small), int: Some(int), float: Some(float) };
                let a = push(func, InstData::new(Op::BoxSmall, &[int]));
                let b = push(func, InstData::new(Op::BoxFloat, &[float]));
                push(func, InstData::new(Op::SelectCell, &[small, a, b]))
            }
        };
        parts[p] = Some(part);
        func.blocks[block].insts.splice(0..0, front);
        replaced.replace(p, cell);
    }
    // The arguments for them.
    for &(block, i, p) in params {
        for e in 0..cfg.preds(block).len() {
            let edge = cfg.preds(block)[e];
            let arg = argument(func, edge.from, edge.target, i);
            let Some(wanted) = parts[p] else { continue };
            let mut front = Vec::new();
            let given = match parts[arg] {
                Some(parts) => complete(func, parts, kinds[arg], &mut front),
                None => taken_apart(func, arg, &mut front),
            };
            let end = func.blocks[edge.from].insts.len() - 1;
            func.blocks[edge.from].insts.splice(end..end, front);
            if let Some(inst) = func.terminator(edge.from) {
                let target = &mut func.insts[inst].targets[edge.target as usize];
                let pairs =
                    [(wanted.small, given.small), (wanted.int, given.int), (wanted.float, given.float)];
                for (_, v) in pairs.into_iter().filter(|(w, _)| w.is_some()) {
                    // Kinds are joins, so the parts that are wanted are there.
                    target.args.extend(v);
                }
            }
        }
    }
    let mut gone = SecondaryMap::new();
    params.iter().for_each(|&(_, _, p)| gone[p] = true);
    remove_params(func, &gone);
    replaced.apply(func);
}

type Front = Vec<crate::ir::Inst>;

fn constant(func: &mut Function, front: &mut Front, op: Op, imm: i64) -> Option<Value> {
    let (inst, value) = func.make(InstData::new(op, &[]).imm(imm));
    front.push(inst);
    value
}

/// All three parts of a parameter that has fewer.
fn complete(func: &mut Function, parts: Parts, kind: Kind, front: &mut Front) -> Parts {
    Parts {
        small: parts.small.or_else(|| constant(func, front, Op::Iconst, i64::from(kind == Kind::Small))),
        int: parts.int.or_else(|| constant(func, front, Op::Iconst, 0)),
        float: parts.float.or_else(|| constant(func, front, Op::Fconst, 0)),
    }
}

/// The parts of a value that is no parameter of a kind.
fn taken_apart(func: &mut Function, value: Value, front: &mut Front) -> Parts {
    let Some(data) = func.def(value) else { return Parts::default() };
    let (op, imm, args) = (data.op, data.imm, data.args.clone());
    let mut parts = Parts::default();
    let mut kind = Kind::Float;
    match op {
        Op::BoxSmall => {
            parts.int = Some(args[0]);
            kind = Kind::Small;
        }
        Op::BoxBool => parts.int = Some(args[0]),
        Op::BoxFloat => parts.float = Some(args[0]),
        Op::Cconst => {
            let cell = Cell::from_bits(imm as u64);
            if cell.is_small_int() {
                parts.int = constant(func, front, Op::Iconst, cell.small_int_of());
                kind = Kind::Small;
            } else if cell.is_bool() {
                parts.int = constant(func, front, Op::Iconst, i64::from(cell == Cell::TRUE));
            } else {
                parts.float = constant(func, front, Op::Fconst, cell.float_of().to_bits() as i64);
            }
        }
        Op::SelectCell => {
            let inner = |v: Value| func.def(v).map(|d| (d.op, d.args[0]));
            match (inner(args[1]), inner(args[2])) {
                (Some((Op::BoxSmall, x)), Some((Op::BoxFloat, y))) => {
                    parts = Parts { small: Some(args[0]), int: Some(x), float: Some(y) };
                }
                (Some((Op::BoxFloat, y)), Some((Op::BoxSmall, x))) => {
                    let zero = constant(func, front, Op::Iconst, 0);
                    let (inst, small) = func.make(
                        InstData::new(Op::Icmp, &[args[0], zero.unwrap_or(args[0])])
                            .imm(crate::ir::Cond::Eq as i64),
                    );
                    front.push(inst);
                    parts = Parts { small, int: Some(x), float: Some(y) };
                }
                (Some((a, x)), Some((_, y))) => {
                    let choice = if a == Op::BoxSmall { Op::SelectInt } else { Op::SelectFloat };
                    let (inst, v) = func.make(InstData::new(choice, &[args[0], x, y]));
                    front.push(inst);
                    if a == Op::BoxSmall {
                        parts.int = v;
                        kind = Kind::Small;
                    } else {
                        parts.float = v;
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
    complete(func, parts, kind, front)
}
