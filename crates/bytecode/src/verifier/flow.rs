//! Control flow of a function: where instructions start, where jumps lead, what the blocks are.

use super::{Placed, Rule, fault};
use crate::inst::{DecodeError, Inst};
use crate::module::{Function, Module, SwitchKey};
use crate::ops::{Effects, Op, OperandKind};
use std::collections::HashSet;

/// What is known about a word of code.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark(u8);

impl Mark {
    const START: u8 = 1;
    const JOIN: u8 = 2;
    const LEADER: u8 = 4;

    /// Whether an instruction starts here.
    pub fn is_start(self) -> bool {
        self.0 & Mark::START != 0
    }
    /// Whether control arrives from elsewhere than the instruction before.
    pub fn is_join(self) -> bool {
        self.0 & Mark::JOIN != 0
    }
    /// Whether a block starts here.
    pub fn is_leader(self) -> bool {
        self.0 & Mark::LEADER != 0
    }
}

/// The marks of all words and of the end of the code.
pub(super) struct Flow {
    pub marks: Vec<Mark>,
}

/// Calls `visit` with the distance of every target of a branch. Switch tables exist.
pub(super) fn targets(f: &Function, inst: &Inst, mut visit: impl FnMut(i64)) {
    for (kind, value) in inst.iter() {
        match kind {
            OperandKind::Label | OperandKind::Label16 => visit(value),
            OperandKind::Switch => {
                if let Some(table) = f.switches.get(value as usize) {
                    table.cases.iter().for_each(|(_, d)| visit(i64::from(*d)));
                    visit(i64::from(table.default));
                }
            }
            _ => {}
        }
    }
}

/// Finds instructions and blocks, and checks where control goes.
pub(super) fn analyse(module: &Module, f: &Function) -> Result<Flow, Placed> {
    let length = f.code.len();
    let mut marks = vec![Mark::default(); length + 1];
    let mut last = None;
    let mut at = 0;
    while at < length {
        let inst = Inst::decode(&f.code[at..]).map_err(|e| {
            let message = match e {
                DecodeError::UnknownOp(n) => format!("no op has the number {n}"),
                DecodeError::Truncated => "the code ends inside an instruction".into(),
            };
            (None, super::Fault { rule: Rule::Decode, message: format!("word {at}: {message}") })
        })?;
        marks[at].0 |= Mark::START;
        last = Some((at, inst.op));
        at += inst.op.words();
    }
    match last {
        Some((_, op)) if op.effects().has(Effects::END) => {}
        Some((at, _)) => {
            return fault(Rule::End, "the code ends without return or jump").map_err(|e| (Some(at), e));
        }
        None => return fault(Rule::End, "there is no code").map_err(|e| (None, e)),
    }
    marks[0].0 |= Mark::LEADER;
    let mut used = vec![false; f.switches.len()];
    let mut at = 0;
    while at < length {
        // It decoded above.
        let Ok(inst) = Inst::decode(&f.code[at..]) else { break };
        let next = at + inst.op.words();
        let effects = inst.op.effects();
        if effects.has(Effects::BRANCH) || effects.has(Effects::END) {
            marks[next].0 |= Mark::LEADER;
        }
        if effects.has(Effects::BRANCH) {
            branch(module, f, at, &inst, &mut marks, &mut used).map_err(|e| (Some(at), e))?;
        }
        at = next;
    }
    for (i, h) in f.handlers.iter().enumerate() {
        let (start, end, target) = (h.start as usize, h.end as usize, h.target as usize);
        let bad =
            |message: &str| fault(Rule::Handler, format!("handler {i}: {message}")).map_err(|e| (None, e));
        let is_start = |p: usize| marks.get(p).is_some_and(|m| m.is_start());
        if start >= end || !is_start(start) || !(is_start(end) || end == length) {
            return bad("the range is not made of whole instructions");
        }
        if !is_start(target) {
            return bad("the target is no instruction");
        }
        if target < end {
            return bad("the target stands before the end of the range");
        }
        for p in [start, end, target] {
            marks[p].0 |= Mark::LEADER;
        }
        marks[target].0 |= Mark::JOIN;
    }
    Ok(Flow { marks })
}

fn branch(
    module: &Module,
    f: &Function,
    at: usize,
    inst: &Inst,
    marks: &mut [Mark],
    used: &mut [bool],
) -> Result<(), super::Fault> {
    for (kind, value) in inst.iter() {
        if kind != OperandKind::Switch {
            continue;
        }
        match used.get_mut(value as usize) {
            Some(used @ false) => *used = true,
            Some(true) => return fault(Rule::Switch, "the switch table is used twice"),
            None => return fault(Rule::Id, format!("there is no switch{value}")),
        }
        switch_keys(module, f, inst.op, value as usize)?;
    }
    let back = inst.op.effects().has(Effects::LOOP);
    let mut result = Ok(());
    targets(f, inst, |distance| {
        let to = at as i64 + distance;
        let mark = usize::try_from(to).ok().and_then(|p| marks.get_mut(p));
        let Some(mark) = mark.filter(|m| m.is_start()) else {
            result = fault(Rule::Jump, format!("{to} is no instruction"));
            return;
        };
        mark.0 |= Mark::LEADER | Mark::JOIN;
        if back {
            let header = Inst::decode(&f.code[to as usize..]).is_ok_and(|i| i.op == Op::LoopHeader);
            if distance >= 0 || !header {
                result = fault(Rule::Jump, "a `.loop` branch leads back to a `loop_header`");
            }
        } else if distance <= 0 {
            result = fault(Rule::Jump, "only `.loop` branches lead backwards");
        }
    });
    result
}

fn switch_keys(module: &Module, f: &Function, op: Op, table: usize) -> Result<(), super::Fault> {
    let cases = &f.switches[table].cases;
    let mut seen = HashSet::with_capacity(cases.len());
    for (key, _) in cases {
        if let SwitchKey::Name(name) = key
            && name.index() >= module.names.len()
        {
            return fault(Rule::Id, format!("there is no {name}"));
        }
        let text = match key {
            SwitchKey::String(id) => match module.strings.get(id.index()) {
                Some(text) => text.as_str(),
                None => return fault(Rule::Id, format!("there is no {id}")),
            },
            SwitchKey::Int(_) | SwitchKey::Immediate(_) | SwitchKey::Name(_) => "",
        };
        let fits = match key {
            // In a cell, longer ints and texts are objects.
            SwitchKey::Int(i) => op == Op::IntSwitch || (op == Op::CellSwitch && *i << 16 >> 16 == *i),
            SwitchKey::Immediate(_) | SwitchKey::Name(_) => op == Op::CellSwitch,
            SwitchKey::String(_) => op == Op::StringSwitch || (op == Op::CellSwitch && text.len() <= 5),
        };
        if !fits {
            return fault(
                Rule::Switch,
                format!("a key of switch{table} is of another kind than {}", op.info().mnemonic),
            );
        }
        if !seen.insert(*key) {
            return fault(Rule::Switch, format!("switch{table} has a key twice"));
        }
    }
    Ok(())
}
