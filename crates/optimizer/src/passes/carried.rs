//! Parameters that are always new objects of one form, for `escape.rs`.
//!
//! A record that each turn of a loop replaces, or that is made on two ways which meet, is an argument there, and so escapes. Where all
//! arguments of a parameter are new objects with the same first word and words of the same types, or parameters of which that holds, the
//! object may as well be made behind the meeting point, of words that are passed instead: a copy. [`copies`] writes it so:
//! loads of the words in front of each way in, and a `make` of them in place of each parameter.
//!
//! That is right only if nothing can tell the copy from the original: on each way in the original must not have been made for anybody
//! else, and must not be used behind. `escape.rs` knows that once it has looked at all these objects as they are after the
//! change, and takes the change back where it is not so, or where objects would be made that were not made before.

use std::mem::offset_of;

use cranelift_entity::SecondaryMap;
use upshift_runtime::object::{Buffer, Header, List};

use super::params::{argument, remove_params};
use super::{Replacements, words_of};
use crate::cfg::{Cfg, Edge};
use crate::ir::{
    Access, Block, Class, Def, Function, InstData, LIST_WORDS, Op, Type, Value, Width, elements_of,
};

/// How often all parameters are looked at before giving up.
const SWEEPS: usize = 24;

/// An object that is passed on as its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// The object.
    pub(super) object: Value,
    /// The block at whose end that is done.
    pub(super) from: Block,
    /// The block that gets the words.
    pub(super) to: Block,
}

/// What was written anew.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Where objects are passed on.
    pub(super) passed: Vec<Passed>,
    /// The copies that are made.
    pub(super) made: Vec<Value>,
}

/// What a parameter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Nothing was seen yet.
    Unknown,
    /// An object as this one, which is made by an instruction.
    As(Value),
    /// Something else.
    Other,
}

/// Whether two new objects have the same first word, and words of the same types.
fn alike(func: &Function, a: Value, b: Value) -> bool {
    let (Some(a), Some(b)) = (func.def(a), func.def(b)) else { return false };
    let types = |d: &InstData| d.args.iter().map(|&v| func.ty(v)).collect::<Vec<_>>();
    a.imm == b.imm && types(a) == types(b)
}

/// A parameter that is always a new object of one form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    /// The parameter.
    pub(super) value: Value,
    block: Block,
    position: usize,
    /// One such object.
    like: Value,
}

/// The parameters that are always new objects of one form; those that feed one another are together.
pub(super) fn webs(func: &Function, cfg: &Cfg) -> Vec<Vec<Param>> {
    let mut rest = params(func, cfg);
    let mut webs = Vec::new();
    while let Some(first) = rest.pop() {
        let mut web = vec![first];
        let mut at = 0;
        while at < web.len() {
            let one = web[at];
            let feeds = |from: &Param, to: &Param| {
                let preds = cfg.preds(to.block).iter();
                preds.into_iter().any(|e| argument(func, e.from, e.target, to.position) == from.value)
            };
            let (with, without): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|other| feeds(other, &one) || feeds(&one, other));
            web.extend(with);
            rest = without;
            at += 1;
        }
        webs.push(web);
    }
    webs
}

/// The parameters that are always new objects of one form.
fn params(func: &Function, cfg: &Cfg) -> Vec<Param> {
    let mut all: Vec<(Block, usize, Value)> = Vec::new();
    let mut forms: SecondaryMap<Value, Form> = SecondaryMap::with_default(Form::Other);
    for &block in &cfg.order[1..] {
        for (i, &p) in func.blocks[block].params.iter().enumerate() {
            if func.ty(p) == Type::Cell {
                all.push((block, i, p));
                forms[p] = Form::Unknown;
            }
        }
    }
    let known = |header: i64| words_of(header).is_some() || elements_of(header).is_some();
    // What is not needed behind a loop may have become a `make` on the way back already.
    let new = |v: Value| func.def(v).is_some_and(|d| matches!(d.op, Op::Alloc | Op::Make) && known(d.imm));
    for _ in 0..SWEEPS {
        let mut changed = false;
        for &(block, i, p) in &all {
            let mut form = forms[p];
            for edge in cfg.preds(block) {
                let arg = argument(func, edge.from, edge.target, i);
                let of = match func.values[arg].def {
                    Def::Param(..) => forms[arg],
                    Def::Inst(_) if new(arg) => Form::As(arg),
                    Def::Inst(_) => Form::Other,
                };
                form = match (form, of) {
                    (a, Form::Unknown) | (Form::Unknown, a) => a,
                    (Form::As(a), Form::As(b)) if alike(func, a, b) => form,
                    _ => Form::Other,
                };
            }
            changed |= form != forms[p];
            forms[p] = form;
        }
        if !changed {
            let one = |&(block, position, value): &(Block, usize, Value)| match forms[value] {
                Form::As(like) => Some(Param { value, block, position, like }),
                Form::Unknown | Form::Other => None,
            };
            return all.iter().filter_map(one).collect();
        }
    }
    Vec::new()
}

/// Loads the words of an object with this first word at the end of a block.
fn loads(func: &mut Function, block: Block, object: Value, header: i64, types: &[Type]) -> Vec<Value> {
    let mut load = |base: Value, offset: i64, access: Access| {
        let data = InstData::new(Op::Load, &[base]).imm(offset).access(access.class, access.width);
        let (inst, word) = func.make(data);
        let end = func.blocks[block].insts.len() - 1;
        func.blocks[block].insts.insert(end, inst);
        word
    };
    let mut words = Vec::new();
    if let Some(class) = words_of(header) {
        for (&ty, i) in types.iter().zip(0..) {
            words.extend(load(object, 8 + 8 * i, Access { class, width: ty.width() }));
        }
    } else if let Some(elements) = elements_of(header) {
        let of = |class, width| Access { class, width };
        words.extend(load(object, offset_of!(List, len) as i64, of(Class::Len, Width::Int)));
        words.extend(load(object, offset_of!(Header, bits) as i64, of(Class::Bits, Width::U16)));
        let buffer = load(object, offset_of!(List, buffer) as i64, of(Class::Buffer, Width::Ptr));
        for (buffer, i) in buffer.into_iter().cycle().zip(0..types.len() - LIST_WORDS) {
            words.extend(load(buffer, (Buffer::DATA + 8 * i) as i64, elements));
        }
    }
    words
}

/// Passes words to parameters instead of objects. Nothing where an object would be passed twice on one way.
pub(super) fn copies(func: &mut Function, cfg: &Cfg, web: &[Param]) -> Option<Copies> {
    let mut copies = Copies::default();
    let mut gone: SecondaryMap<Value, bool> = SecondaryMap::new();
    let mut replaced = Replacements::new(func);
    // What is passed, before anything changes.
    let mut ways: Vec<(Edge, Block, Value)> = Vec::new();
    for &Param { block, position, .. } in web {
        for &edge in cfg.preds(block) {
            let object = argument(func, edge.from, edge.target, position);
            let twice = |w: &(Edge, Block, Value)| {
                (w.0.from, w.0.target) == (edge.from, edge.target) && w.2 == object
            };
            if ways.iter().any(twice) {
                return None;
            }
            ways.push((edge, block, object));
        }
    }
    let mut ways = ways.into_iter();
    for &Param { value: param, block, like, .. } in web {
        let Some(data) = func.def(like) else { continue };
        let (header, types) = (data.imm, data.args.iter().map(|&v| func.ty(v)).collect::<Vec<_>>());
        for (edge, to, object) in ways.by_ref().take(cfg.preds(block).len()) {
            let words = loads(func, edge.from, object, header, &types);
            if let Some(inst) = func.terminator(edge.from) {
                func.insts[inst].targets[edge.target as usize].args.extend(words);
            }
            copies.passed.push(Passed { object, from: edge.from, to });
        }
        let words: Vec<Value> = types.iter().map(|&ty| func.add_param(block, ty)).collect();
        let (inst, copy) = func.make(InstData::new(Op::Make, &words).imm(header));
        func.blocks[block].insts.insert(0, inst);
        if let Some(copy) = copy {
            replaced.replace(param, copy);
            copies.made.push(copy);
        }
        gone[param] = true;
    }
    remove_params(func, &gone);
    replaced.apply(func);
    copies.passed.iter_mut().for_each(|p| p.object = replaced.get(p.object));
    Some(copies)
}
