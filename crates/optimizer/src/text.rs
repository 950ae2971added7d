//! The text form of the SSA form: for tests, dumps and bug reports.
//!
//! [`print`] writes what is in use: the blocks of the layout with their instructions, and the states and sites that these name.
//! [`parse`] reads it back and keeps all numbers, so `print(&parse(&text)?)` is `text` again where `print` wrote it.
//!
//! ```text
//! function "example" -> int {
//! params [0, 1]
//! state0 = fn 12 word 7 base 0 [0: v1, 5: v2]
//! state1 = fn 13 word 3 base 9 end 14 parent state0 [9: v4]
//! site0 = routine 17 plain slot 3 -> cell writes reads collects
//! block0(v0: int, v1: cell):
//!     v2 = iconst 5
//!     v3 = iadd_exit v0, v2 overflow state0
//!     v4 = load.len.int v1 + 8
//!     v5 = icmp lt v3, v4
//!     guard v5 bounds state0
//!     v6 = load_at.ints.int v1[v3] + 16
//!     switch v6 [0: block1(v3), 7: block2], block3
//! block1(v7: int) cold:
//!     exit always state1
//! …
//! }
//! ```
//!
//! A `;` starts a comment. A result's type is that of its row, access or site; where a broken function says otherwise, it is written
//! behind the value (`v3: float = iadd v1, v2`). What an op's own syntax cannot express, as a condition out of range,
//! is written with the bare immediate in front of the operands: `v5 = icmp #99 v3, v4`.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};

use cranelift_entity::EntityRef;
use upshift_bytecode::module::Immediate;
use upshift_runtime::value::Value as Cell;

use crate::helper::Helper;
use crate::ir::*;

mod parser;

pub use parser::{Error, parse, parse_bits};

/// The function as text.
pub fn print(func: &Function) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = Printer { func, out: &mut out }.function();
    out
}

/// One instruction as text, without its indentation.
pub fn print_inst(func: &Function, inst: Inst) -> String {
    let mut out = String::new();
    if let Some(data) = func.insts.get(inst) {
        let _ = Printer { func, out: &mut out }.inst(data);
    } else {
        let _ = write!(out, "{inst}, which does not exist");
    }
    out
}

/// The bits of a value as text, in the syntax of constants; addresses in hexadecimal.
pub fn print_bits(ty: Type, bits: u64) -> String {
    match ty {
        Type::Int => (bits as i64).to_string(),
        Type::Float => Float(bits).to_string(),
        Type::Cell => CellText(bits).to_string(),
        Type::Ptr => format!("{bits:#x}"),
    }
}

/// What an op's immediate is, and so how it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// Nothing: it is 0.
    Nothing,
    /// An int: `iconst -1`.
    Int,
    /// The bits of a float: `fconst 1.5`, in hexadecimal for those that are no number.
    Float,
    /// The bits of a cell: `cconst nil`, `cconst 5`, `cconst 1.5`, or in hexadecimal.
    Cell,
    /// A condition: `icmp lt v0, v1`.
    Cond,
    /// A reason, behind the operands: `guard v0 bounds state0`.
    Reason,
    /// An offset from the first operand: `load.len.int v0 + 8`.
    Offset,
    /// An offset from the element that the second operand names: `load_at.ints.int v0[v1] + 8`.
    Element,
    /// A number: `context 24`.
    Number,
    /// The number of a helper, by its name: `fcall1 float_sin v0`.
    Helper,
    /// The first word of an object, in hexadecimal.
    Header,
    /// A place in the code: `code fn 3 word 17`.
    Place,
    /// 1 where the first operand is known not to be negative wherever the result is used, behind the operands: `irem v0, v1 natural`.
    Natural,
    /// The number of a switch's cases, which stand with their targets.
    Cases,
}

/// What the immediate of an op is.
pub(crate) fn meaning(op: Op) -> Meaning {
    match op {
        Op::Iconst => Meaning::Int,
        Op::Fconst => Meaning::Float,
        Op::Cconst => Meaning::Cell,
        Op::Icmp | Op::Fcmp => Meaning::Cond,
        Op::IaddExit | Op::IsubExit | Op::ImulExit | Op::Guard | Op::Exit => Meaning::Reason,
        Op::Load | Op::Store | Op::StoreCell => Meaning::Offset,
        Op::LoadAt | Op::StoreAt | Op::StoreCellAt => Meaning::Element,
        Op::Context | Op::Constant | Op::Stack => Meaning::Number,
        Op::Fcall1 | Op::Fcall2 | Op::Helper => Meaning::Helper,
        Op::Alloc | Op::Make | Op::Virtual => Meaning::Header,
        Op::Code => Meaning::Place,
        Op::Switch => Meaning::Cases,
        Op::Idiv | Op::Irem => Meaning::Natural,
        Op::Iadd
        | Op::Isub
        | Op::Imul
        | Op::Imulh
        | Op::Iand
        | Op::Ior
        | Op::Ixor
        | Op::Ishl
        | Op::IshrS
        | Op::IshrU
        | Op::Imin
        | Op::Imax
        | Op::Iextend32
        | Op::IaddOverflows
        | Op::IsubOverflows
        | Op::ImulOverflows
        | Op::SelectInt
        | Op::SelectFloat
        | Op::SelectCell
        | Op::Fadd
        | Op::Fsub
        | Op::Fmul
        | Op::Fdiv
        | Op::Fmin
        | Op::Fmax
        | Op::Fneg
        | Op::Fabs
        | Op::Fsqrt
        | Op::Ffloor
        | Op::Fceil
        | Op::Ftrunc
        | Op::FfromInt
        | Op::IfromFloat
        | Op::FfromBits
        | Op::IfromBits
        | Op::BoxFloat
        | Op::BoxBool
        | Op::BoxSmall
        | Op::BoxInt
        | Op::Bits
        | Op::IsSmall
        | Op::IsFloat
        | Op::IsObject
        | Op::SmallInt
        | Op::CellFloat
        | Op::Same
        | Op::OfBits
        | Op::StringLen
        | Op::AsciiLen
        | Op::AsciiBase
        | Op::Poll
        | Op::Charge
        | Op::Call
        | Op::CallClosure
        | Op::Routine
        | Op::Jump
        | Op::Branch
        | Op::Return => Meaning::Nothing,
    }
}

/// The cells that are written by a name.
const NAMED_CELLS: &[Immediate] = Immediate::ALL;

impl RoutineKind {
    const NAMES: &'static [(RoutineKind, &'static str)] = &[
        (RoutineKind::Plain, "plain"),
        (RoutineKind::Branch, "branch"),
        (RoutineKind::Call, "call"),
        (RoutineKind::Switch, "switch"),
        (RoutineKind::Tail, "tail"),
        (RoutineKind::Jump, "jump"),
    ];

    fn name(self) -> &'static str {
        RoutineKind::NAMES.iter().find(|n| n.0 == self).map_or("?", |n| n.1)
    }
}

struct Printer<'a> {
    func: &'a Function,
    out: &'a mut String,
}

impl Printer<'_> {
    fn function(&mut self) -> fmt::Result {
        let func = self.func;
        self.out.write_str("function ")?;
        self.string(&func.name)?;
        if let Some(ty) = func.result {
            write!(self.out, " -> {}", ty.name())?;
        }
        self.out.write_str(" {\n")?;
        if !func.params.is_empty() {
            self.out.write_str("params ")?;
            self.list(&func.params)?;
            self.out.write_str("\n")?;
        }
        if let Some(word) = func.osr {
            writeln!(self.out, "osr {word}")?;
        }
        if !func.watches.is_empty() {
            self.out.write_str("watches ")?;
            self.list(&func.watches)?;
            self.out.write_str("\n")?;
        }
        let insts = || {
            func.layout
                .iter()
                .filter_map(|&b| func.blocks.get(b))
                .flat_map(|b| &b.insts)
                .filter_map(|&i| func.insts.get(i))
        };
        let mut states = BTreeSet::new();
        for state in insts().filter_map(|i| i.state.expand()) {
            let mut next = Some(state);
            while let Some(state) = next.filter(|&s| states.insert(s)) {
                next = func.states.get(state).and_then(|s| s.parent.expand());
            }
        }
        for state in states {
            self.state(state)?;
        }
        let sites: BTreeSet<Site> = insts().filter_map(|i| i.site.expand()).collect();
        for site in sites {
            self.site(site)?;
        }
        for &block in &func.layout {
            self.block(block)?;
        }
        self.out.write_str("}\n")
    }

    fn state(&mut self, state: State) -> fmt::Result {
        let Some(data) = self.func.states.get(state) else { return Ok(()) };
        write!(self.out, "{state} = fn {} word {}", data.function, data.word)?;
        if let Some((function, word)) = data.origin {
            write!(self.out, " for fn {function} word {word}")?;
        }
        write!(self.out, " base {}", data.base)?;
        if data.end != u32::MAX {
            write!(self.out, " end {}", data.end)?;
        }
        if let Some(parent) = data.parent.expand() {
            write!(self.out, " parent {parent}")?;
        }
        self.out.write_str(" [")?;
        for (i, (slot, value)) in data.slots.iter().enumerate() {
            write!(self.out, "{}{slot}: {value}", comma(i))?;
        }
        self.out.write_str("]\n")
    }

    fn site(&mut self, site: Site) -> fmt::Result {
        let Some(data) = self.func.sites.get(site) else { return Ok(()) };
        write!(self.out, "{site} = ")?;
        if data.routine != u32::MAX {
            write!(self.out, "routine {} ", data.routine)?;
        }
        self.out.write_str(data.kind.name())?;
        if data.slot != u32::MAX {
            write!(self.out, " slot {}", data.slot)?;
        }
        if let Some(uses) = &data.uses {
            self.out.write_str(" uses ")?;
            self.list(uses)?;
        }
        if data.callee != 0 {
            write!(self.out, " callee {}", data.callee)?;
        }
        if data.header != 0 {
            write!(self.out, " header {}", data.header)?;
        }
        if !data.params.is_empty() {
            self.out.write_str(" params ")?;
            self.list(&data.params)?;
        }
        if let Some(ty) = data.result {
            write!(self.out, " -> {}", ty.name())?;
        }
        let SiteEffects { writes, reads, collects, calls, own, grows, new } = data.effects;
        let effects = [
            (writes, "writes"),
            (own, "own"),
            (grows, "grows"),
            (reads, "reads"),
            (collects, "collects"),
            (calls, "calls"),
            (new, "new"),
        ];
        for (is, name) in effects {
            if is {
                write!(self.out, " {name}")?;
            }
        }
        self.out.write_str("\n")
    }

    fn block(&mut self, block: Block) -> fmt::Result {
        write!(self.out, "{block}")?;
        let Some(data) = self.func.blocks.get(block) else { return self.out.write_str(":\n") };
        if !data.params.is_empty() {
            self.out.write_str("(")?;
            for (i, &param) in data.params.iter().enumerate() {
                let ty = self.func.values.get(param).map_or("?", |v| v.ty.name());
                write!(self.out, "{}{param}: {ty}", comma(i))?;
            }
            self.out.write_str(")")?;
        }
        self.out.write_str(if data.cold { " cold:\n" } else { ":\n" })?;
        for &inst in &data.insts {
            self.out.write_str("    ")?;
            if let Some(data) = self.func.insts.get(inst) {
                self.inst(data)?;
            }
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    fn inst(&mut self, data: &InstData) -> fmt::Result {
        if let Some(result) = data.result.expand() {
            write!(self.out, "{result}")?;
            let site_exists = data.site.expand().is_none_or(|s| self.func.sites.get(s).is_some());
            let natural = if site_exists { self.func.result_type(data) } else { None };
            if let Some(ty) = self.func.values.get(result).map(|v| v.ty).filter(|&ty| Some(ty) != natural) {
                write!(self.out, ": {}", ty.name())?;
            }
            self.out.write_str(" = ")?;
        }
        self.out.write_str(data.op.info().mnemonic)?;
        if let Some(access) = data.access {
            write!(self.out, ".{}.{}", access.class.name(), access.width.name())?;
        }
        let imm = data.imm;
        let reason = usize::try_from(imm).ok().and_then(|i| Reason::ALL.get(i));
        let cond = usize::try_from(imm).ok().and_then(|i| Cond::ALL.get(i));
        let helper = usize::try_from(imm).ok().and_then(|i| Helper::ALL.get(i));
        let cases = usize::try_from(imm)
            .ok()
            .and_then(|i| self.func.cases.get(i))
            .filter(|c| c.len() + 1 == data.targets.len() && data.args.len() == 1);
        // What stands in front of the operands, and what behind; operands that are written otherwise are left out.
        let mut behind = String::new();
        let mut separator = " ";
        let mut rest = &data.args[..];
        let mut targets = &data.targets[..];
        let mut bare = false;
        match meaning(data.op) {
            Meaning::Nothing => bare = imm != 0,
            Meaning::Int | Meaning::Number => write!(self.out, " {imm}")?,
            Meaning::Float => write!(self.out, " {}", Float(imm as u64))?,
            Meaning::Cell => write!(self.out, " {}", CellText(imm as u64))?,
            Meaning::Header => write!(self.out, " {imm:#x}")?,
            Meaning::Place => write!(self.out, " fn {} word {}", (imm as u64) >> 32, imm as u32)?,
            Meaning::Cond => match cond {
                Some(cond) => write!(self.out, " {}", cond.name())?,
                None => bare = true,
            },
            Meaning::Helper => match helper {
                Some(helper) => write!(self.out, " {}", helper.info().name)?,
                None => bare = true,
            },
            Meaning::Reason => match reason {
                Some(reason) => write!(behind, " {}", reason.name())?,
                None => bare = true,
            },
            Meaning::Natural => match imm {
                0 => {}
                1 => behind.push_str(" natural"),
                _ => bare = true,
            },
            Meaning::Offset | Meaning::Element => match (&data.args[..], meaning(data.op)) {
                ([base, index, others @ ..], Meaning::Element) => {
                    write!(self.out, " {base}[{index}]{}", Offset(imm))?;
                    (rest, separator) = (others, ", ");
                }
                ([base, others @ ..], Meaning::Offset) => {
                    write!(self.out, " {base}{}", Offset(imm))?;
                    (rest, separator) = (others, ", ");
                }
                _ => bare = true,
            },
            Meaning::Cases => match cases {
                Some(cases) => {
                    write!(self.out, " {} [", data.args[0])?;
                    for (i, (case, target)) in cases.iter().zip(targets).enumerate() {
                        write!(self.out, "{}{case}: {}", comma(i), TargetText(target))?;
                    }
                    self.out.write_str("]")?;
                    targets = &targets[cases.len()..];
                    (rest, separator) = (&[], ", ");
                }
                None => bare = true,
            },
        }
        if bare {
            write!(self.out, " #{imm}")?;
        }
        for value in rest {
            write!(self.out, "{separator}{value}")?;
            separator = ", ";
        }
        for target in targets {
            write!(self.out, "{separator}{}", TargetText(target))?;
            separator = ", ";
        }
        self.out.write_str(&behind)?;
        if let Some(state) = data.state.expand() {
            write!(self.out, " {state}")?;
        }
        if let Some(site) = data.site.expand() {
            write!(self.out, " {site}")?;
        }
        Ok(())
    }

    fn list(&mut self, numbers: &[u32]) -> fmt::Result {
        self.out.write_str("[")?;
        for (i, number) in numbers.iter().enumerate() {
            write!(self.out, "{}{number}", comma(i))?;
        }
        self.out.write_str("]")
    }

    fn string(&mut self, text: &str) -> fmt::Result {
        self.out.write_str("\"")?;
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.out, "\\{c}")?,
                ' '..='~' => self.out.write_char(c)?,
                c if c.is_alphanumeric() => self.out.write_char(c)?,
                c => write!(self.out, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        self.out.write_str("\"")
    }
}

fn comma(i: usize) -> &'static str {
    if i == 0 { "" } else { ", " }
}

struct TargetText<'a>(&'a Target);

impl Display for TargetText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.block)?;
        for (i, value) in self.0.args.iter().enumerate() {
            write!(f, "{}{value}", if i == 0 { "(" } else { ", " })?;
        }
        f.write_str(if self.0.args.is_empty() { "" } else { ")" })
    }
}

/// ` + 8`, ` - 8`, nothing for 0.
struct Offset(i64);

impl Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n if n < 0 => write!(f, " - {}", n.unsigned_abs()),
            n => write!(f, " + {n}"),
        }
    }
}

/// The float with these bits.
struct Float(u64);

impl Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = f64::from_bits(self.0);
        if x.is_finite() { write!(f, "{x:?}") } else { write!(f, "{:#x}", self.0) }
    }
}

/// The cell with these bits.
struct CellText(u64);

impl Display for CellText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = Cell::from_bits(self.0);
        if let Some(named) = NAMED_CELLS.iter().find(|&&i| Cell::immediate(i) == cell) {
            f.write_str(named.text())
        } else if let Some(i) = cell.as_small_int() {
            write!(f, "{i}")
        } else if let Some(x) = cell.as_float().filter(|x| x.is_finite()) {
            write!(f, "{x:?}")
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// The number behind the prefix in an entity's name.
fn entity<T: EntityRef>(word: &str, prefix: &str) -> Option<T> {
    let digits = word.strip_prefix(prefix)?;
    let plain = digits == "0" || !digits.starts_with('0');
    let number = digits.parse::<u32>().ok().filter(|&n| plain && n < parser::LIMIT)?;
    Some(T::new(number as usize))
}

#[cfg(test)]
mod tests;
