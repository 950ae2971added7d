//! The pass over the instructions of a function.

use super::flow::{self, Flow};
use super::init::{Edge, From, Need, unwritten};
use super::types::{Context, Type, admits, produced};
use super::{Fault, Placed, Rule, fault};
use crate::frame::{FrameLayout, HEADER_SLOTS};
use crate::inst::Inst;
use crate::module::*;
use crate::ops::{Constraint, Effects, Op, OperandKind, Role};
use crate::types::*;
use std::collections::HashSet;

/// What a slot of the frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Raw(Bank),
    Cell(CellType),
    Header,
}

/// What was written into a window slot, and when.
#[derive(Clone, Copy)]
enum Written<'m> {
    Never,
    Raw(Bank, u64),
    Cell(Type<'m>, u64),
}

/// Which feedback sites belong to an instruction: each to one at most, as ops keep different things there.
pub(super) struct Sites(Vec<u64>);

impl Sites {
    /// For so many sites, which the tables' check has bounded.
    pub fn new(count: u32) -> Sites {
        Sites(vec![0; count.div_ceil(64) as usize])
    }

    fn take(&mut self, site: i64) -> Result<(), Fault> {
        let (word, bit) = (site as usize / 64, 1 << (site % 64));
        match self.0.get_mut(word) {
            Some(w) if *w & bit == 0 => {
                *w |= bit;
                Ok(())
            }
            Some(_) | None => {
                fault(Rule::Feedback, format!("feedback site fb{site} belongs to another instruction"))
            }
        }
    }
}

/// The state of the pass.
pub(super) struct Pass<'c, 'm> {
    pub cx: &'c Context<'m>,
    pub f: &'m Function,
    pub signature: &'m Signature,
    layout: FrameLayout,
    slots: Vec<Slot>,
    /// The current instruction.
    pub inst: Inst,
    pc: usize,
    sites: &'c mut Sites,

    // The window: a written slot counts while nothing used the window since, no jump joined, and, for cells, nothing collected.
    clock: u64,
    invalidated: u64,
    collected: u64,
    window: Vec<Written<'m>>,

    // Registers: which block wrote them last, which block reported a need for them last; counted from 1.
    block: u32,
    written_in: Vec<u32>,
    needed_in: Vec<u32>,
    writes: Vec<(u32, u32)>,
    needs: Vec<Need>,

    // Of each slot, whether `string.append` extends it, and where something else read it last, or `UNREAD`.
    appended: Vec<bool>,
    read_at: Vec<u32>,
}

/// No position in code.
const UNREAD: u32 = u32::MAX;

/// Checks the code of a function whose declaration has been checked.
pub(super) fn check<'m>(cx: &Context<'m>, f: &'m Function, sites: &mut Sites) -> Result<(), Placed> {
    let Flow { marks } = flow::analyse(cx.module, f)?;
    let signature = &cx.module.signatures[f.signature.index()];
    let layout = FrameLayout::of(f, signature);
    let slots = slots(f, signature, &layout);
    let mut pass = Pass {
        cx,
        f,
        signature,
        layout,
        written_in: vec![0; slots.len()],
        needed_in: vec![0; slots.len()],
        read_at: vec![UNREAD; slots.len()],
        appended: vec![false; slots.len()],
        slots,
        inst: Inst { op: Op::Nop, operands: [0; crate::ops::MAX_OPERANDS] },
        pc: 0,
        sites,
        clock: 2,
        invalidated: 1,
        collected: 1,
        window: Vec::new(),
        block: 0,
        writes: Vec::new(),
        needs: Vec::new(),
    };
    for (i, h) in f.handlers.iter().enumerate() {
        let any = match pass.slot(i64::from(h.slot)) {
            Some(Slot::Cell(ty)) => cx.includes(cx.get(ty), Type::Heap(&HeapType::Any, true)),
            Some(Slot::Raw(_) | Slot::Header) | None => false,
        };
        if !any {
            let message = format!("handler {i}: the exception goes into a cell register of type `any`");
            return fault(Rule::Handler, message).map_err(|e| (None, e));
        }
        pass.keeps_closure(h.slot.into()).map_err(|e| (None, e))?;
    }

    // Blocks are numbered in code order, from 0.
    let mut blocks = 0;
    let block_of: Vec<u32> = marks
        .iter()
        .map(|m| {
            blocks += u32::from(m.is_leader());
            blocks.max(1) - 1
        })
        .collect();
    let mut edges = Vec::new();
    let mut entry = Entry::new(&pass);
    let mut at = 0;
    while at < f.code.len() {
        // The flow analysis decoded it.
        let Ok(inst) = Inst::decode(&f.code[at..]) else { break };
        let next = at + inst.op.words();
        let effects = inst.op.effects();
        if marks[at].is_leader() {
            pass.block += 1;
        }
        if marks[at].is_join() {
            pass.clock += 1;
            pass.invalidated = pass.clock;
        }
        pass.inst = inst;
        pass.pc = at;
        let placed = |e: Fault| (Some(at), e);
        entry.before(&pass, at, effects).map_err(placed)?;
        let late = pass.instruction().map_err(placed)?;
        // What a branch writes, it writes where it does not jump.
        let block = pass.block - 1;
        flow::targets(f, &inst, |distance| {
            let to = block_of[(at as i64 + distance) as usize];
            edges.push(Edge { from: From::End(block), to, writes: None });
        });
        if marks[next].is_leader() && !effects.has(Effects::END) {
            edges.push(Edge { from: From::End(block), to: block_of[next], writes: late });
        }
        at = next;
    }
    let misread = |&(&at, &appended): &(&u32, &bool)| appended && at != UNREAD;
    if let Some((&at, _)) = pass.read_at.iter().zip(&pass.appended).find(misread) {
        let message = "what string.append extends is read by string.append, string.share and string.len only";
        return fault(Rule::Append, message).map_err(|e| (Some(at as usize), e));
    }
    handler_edges(f, &block_of, &mut edges);
    match unwritten(pass.block, edges, &pass.writes, &pass.needs) {
        None => Ok(()),
        Some(need) => {
            let message = format!("{} may be read before it is written", pass.name(need.slot));
            fault(Rule::Initialised, message).map_err(|e| (Some(need.pc as usize), e))
        }
    }
}

/// From every block of a handler's range to its target, with what held at the block's start. Where ranges overlap, the first
/// handler in the list gets the exception.
fn handler_edges(f: &Function, block_of: &[u32], edges: &mut Vec<Edge>) {
    let blocks = block_of.last().map_or(0, |&b| b as usize + 1);
    // The next block from here that no handler covers yet.
    let mut free: Vec<u32> = (0..=blocks as u32).collect();
    fn find(free: &mut [u32], from: u32) -> u32 {
        let mut root = from;
        while free[root as usize] != root {
            root = free[root as usize];
        }
        let mut at = from;
        while at != root {
            at = std::mem::replace(&mut free[at as usize], root);
        }
        root
    }
    for h in &f.handlers {
        let to = block_of[h.target as usize];
        // At the end of the code no block starts, but the marks have one more leader there.
        let end = block_of[h.end as usize];
        let mut at = find(&mut free, block_of[h.start as usize]);
        while at < end {
            edges.push(Edge { from: From::Start(at), to, writes: Some(h.slot.into()) });
            free[at as usize] = at + 1;
            at = find(&mut free, at + 1);
        }
    }
}

fn slots(f: &Function, signature: &Signature, layout: &FrameLayout) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(layout.size() as usize);
    slots.extend(signature.params.iter().filter(|t| !t.is_cell()).map(|t| Slot::Raw(t.bank())));
    slots.extend([Slot::Header; HEADER_SLOTS as usize]);
    slots.extend(f.cells.iter().map(|&t| Slot::Cell(t)));
    slots.extend(f.raws.iter().chain(&f.spilled_raws).map(|&b| Slot::Raw(b)));
    slots.extend(f.spilled_cells.iter().map(|&t| Slot::Cell(t)));
    slots
}

/// Watches the first block: before the first op that may collect, every cell slot must be valid.
struct Entry {
    /// Whether the cell slots were found valid.
    settled: bool,
    /// Slots that a `frame.clear` at the start covers.
    cleared: std::ops::Range<u32>,
    /// Whether there is one: it clears the spilled cells, too.
    spilled: bool,
    /// A caught trap may collect, when it is made into a value.
    catches: bool,
}

impl Entry {
    fn new(pass: &Pass<'_, '_>) -> Entry {
        Entry { settled: false, cleared: 0..0, spilled: false, catches: !pass.f.handlers.is_empty() }
    }

    fn before(&mut self, pass: &Pass<'_, '_>, at: usize, effects: Effects) -> Result<(), Fault> {
        let layout = &pass.layout;
        let locals = layout.first_cell() + layout.cell_params..layout.first_raw();
        if pass.inst.op == Op::FrameClear {
            let (first, count) = (pass.inst.operands[0] as u32, pass.inst.operands[1] as u32);
            if at != 0 {
                return fault(Rule::Collect, "`frame.clear` stands only at the start");
            }
            if count != 0 && (first < locals.start || first + count > locals.end) {
                return fault(Rule::Slot, "`frame.clear` covers slots that are no cell locals");
            }
            self.cleared = first..first + count;
            self.spilled = true;
        }
        let collects = effects.collects() || (self.catches && effects.may_trap());
        if self.settled || !collects {
            return Ok(());
        }
        // What the first block wrote by now is surely written.
        let written: HashSet<u32> = pass.writes.iter().take_while(|w| w.1 == 0).map(|w| w.0).collect();
        let spilled = layout.first_spilled_cell()..if self.spilled { 0 } else { layout.size() };
        for slot in locals.filter(|s| !self.cleared.contains(s)).chain(spilled) {
            if !written.contains(&slot) {
                let message = format!("c{slot} is neither cleared nor written when this first may collect");
                return fault(Rule::Collect, message);
            }
        }
        self.settled = true;
        Ok(())
    }
}

impl<'m> Pass<'_, 'm> {
    fn slot(&self, number: i64) -> Option<Slot> {
        usize::try_from(number).ok().and_then(|n| self.slots.get(n)).copied()
    }

    fn name(&self, slot: u32) -> String {
        match self.slot(slot.into()) {
            Some(Slot::Raw(Bank::Int)) => format!("i{slot}"),
            Some(Slot::Raw(Bank::Float)) => format!("f{slot}"),
            Some(Slot::Raw(Bank::Cell) | Slot::Cell(_) | Slot::Header) | None => format!("c{slot}"),
        }
    }

    /// Operand `i`.
    pub fn operand(&self, i: usize) -> i64 {
        self.inst.operands[i]
    }

    /// Operand `i` as an index.
    pub fn index(&self, i: usize) -> usize {
        self.inst.operands[i] as usize
    }

    /// The declared type of the cell register that operand `i` reads.
    pub fn declared(&self, i: usize) -> Type<'m> {
        match self.slot(self.inst.operands[i]) {
            Some(Slot::Cell(ty)) => self.cx.get(ty),
            // Reading operands were checked to be cells.
            Some(Slot::Raw(_) | Slot::Header) | None => Type::Heap(&HeapType::Results, true),
        }
    }

    /// The declared heap type of the cell register that operand `i` reads.
    pub fn heap(&self, i: usize) -> &'m HeapType {
        match self.declared(i) {
            Type::Heap(heap, _) => heap,
            Type::Nil | Type::Made(_) => &HeapType::Any,
        }
    }

    /// The value in operand `i` must be one of the type.
    pub fn fits(&self, ty: Type<'_>, i: usize) -> Result<(), Fault> {
        self.flows(self.declared(i), ty)
    }

    /// A value of type `from` goes where `to` is declared.
    pub fn flows(&self, from: Type<'_>, to: Type<'_>) -> Result<(), Fault> {
        if self.cx.includes(to, from) {
            return Ok(());
        }
        fault(Rule::Type, format!("{} is no {}", self.cx.show(from), self.cx.show(to)))
    }

    fn param(&self, slot: u32) -> bool {
        let first = self.layout.first_cell();
        slot < self.layout.raw_params || (first..first + self.layout.cell_params).contains(&slot)
    }

    fn read(&mut self, slot: u32) {
        let s = slot as usize;
        if self.written_in[s] != self.block && self.needed_in[s] != self.block && !self.param(slot) {
            self.needed_in[s] = self.block;
            self.needs.push(Need { slot, block: self.block - 1, pc: self.pc as u32 });
        }
    }

    fn write(&mut self, slot: u32) {
        if self.written_in[slot as usize] != self.block {
            self.written_in[slot as usize] = self.block;
            self.writes.push((slot, self.block - 1));
        }
    }

    /// Checks one instruction. Returns the register that it writes on its way to the next instruction only, if it may jump.
    fn instruction(&mut self) -> Result<Option<u32>, Fault> {
        let inst = self.inst;
        let info = inst.op.info();
        self.clock += 2;
        for (i, (kind, value)) in inst.iter().enumerate() {
            match kind.register() {
                Some((Role::Use | Role::Update, bank, constraint)) => {
                    self.use_operand(i, bank, constraint)?
                }
                Some((Role::Def, _, _)) => {}
                None => {
                    self.immediate(kind, value)?;
                    if kind == OperandKind::Feedback {
                        self.sites.take(value)?;
                    }
                }
            }
        }
        let made = self.rule()?;
        let effects = info.effects;
        if effects.has(Effects::CALL) {
            self.invalidated = self.clock;
        }
        if effects.collects() {
            self.collected = self.clock;
        }
        let jumps = effects.has(Effects::BRANCH);
        let mut late = None;
        for (kind, value) in inst.iter() {
            match kind.register() {
                Some((Role::Def, Bank::Cell, constraint)) => {
                    let Some(ty) = produced(constraint).or(made) else {
                        return fault(Rule::Type, "the op makes no cell");
                    };
                    late = self.define_cell(value, ty)?.filter(|_| jumps);
                    if let (Some(slot), false) = (self.local(value), jumps) {
                        self.write(slot);
                    }
                }
                Some((Role::Def, bank, _)) => {
                    late = self.define_raw(value, bank)?.filter(|_| jumps);
                    if let (Some(slot), false) = (self.local(value), jumps) {
                        self.write(slot);
                    }
                }
                Some((Role::Use | Role::Update, _, _)) | None => {}
            }
        }
        Ok(late)
    }

    /// The slot, unless it is one of the window.
    fn local(&self, slot: i64) -> Option<u32> {
        (slot < self.slots.len() as i64).then_some(slot as u32)
    }

    fn use_operand(&mut self, i: usize, bank: Bank, constraint: Constraint) -> Result<(), Fault> {
        let value = self.inst.operands[i];
        match self.slot(value) {
            Some(Slot::Raw(b)) if b == bank => {}
            Some(Slot::Cell(ty)) if bank == Bank::Cell => {
                let ty = self.cx.get(ty);
                if !admits(constraint, ty) {
                    let name = self.inst.op.info().operands[i].name;
                    let wanted = format!("{constraint:?}").to_lowercase();
                    let ty = self.cx.show(ty);
                    return fault(Rule::Type, format!("operand {name} is {ty}, where the op takes {wanted}"));
                }
            }
            Some(Slot::Raw(_) | Slot::Cell(_)) => {
                return fault(Rule::Bank, format!("slot {value} is of another bank"));
            }
            Some(Slot::Header) => return fault(Rule::Slot, format!("slot {value} belongs to the header")),
            None => return fault(Rule::Slot, format!("slot {value} is not in the frame")),
        }
        let appends = matches!(self.inst.op, Op::StringAppend | Op::StringShare | Op::StringLen) && i == 1;
        if bank == Bank::Cell && !appends {
            self.read_at[value as usize] = self.pc as u32;
        }
        self.read(value as u32);
        Ok(())
    }

    /// Notes that `string.append` extends what is in a slot of the frame.
    pub fn appends(&mut self, slot: i64) {
        if let Some(slot) = self.local(slot) {
            self.appended[slot as usize] = true;
        }
    }

    fn window_slot(&mut self, slot: i64) -> Result<&mut Written<'m>, Fault> {
        let k = slot - self.slots.len() as i64;
        if k >= i64::from(self.f.window) {
            return fault(Rule::Slot, format!("the function declares {} window slots", self.f.window));
        }
        let k = k as usize;
        if k >= self.window.len() {
            self.window.resize(k + 1, Written::Never);
        }
        Ok(&mut self.window[k])
    }

    /// The op itself writes the first raw slot of the window.
    pub fn write_first_argument(&mut self, bank: Bank) -> Result<(), Fault> {
        let now = self.clock + 1;
        *self.window_slot(self.slots.len() as i64)? = Written::Raw(bank, now);
        Ok(())
    }

    fn define_raw(&mut self, value: i64, bank: Bank) -> Result<Option<u32>, Fault> {
        match self.slot(value) {
            Some(Slot::Raw(b)) if b == bank => Ok(Some(value as u32)),
            Some(Slot::Raw(_) | Slot::Cell(_)) => {
                fault(Rule::Bank, format!("slot {value} is of another bank"))
            }
            Some(Slot::Header) => fault(Rule::Slot, format!("slot {value} belongs to the header")),
            None => {
                let now = self.clock + 1;
                *self.window_slot(value)? = Written::Raw(bank, now);
                Ok(None)
            }
        }
    }

    /// The slot, which is written, is not the one of the closure that runs: captures are read through that.
    fn keeps_closure(&self, slot: u32) -> Result<(), Fault> {
        if self.f.environment.is_some() && slot == self.layout.first_cell() {
            return fault(
                Rule::Environment,
                format!("c{slot} holds the closure that runs and is not written"),
            );
        }
        Ok(())
    }

    fn define_cell(&mut self, value: i64, ty: Type<'m>) -> Result<Option<u32>, Fault> {
        match self.slot(value) {
            Some(Slot::Cell(declared)) => {
                self.flows(ty, self.cx.get(declared))?;
                self.keeps_closure(value as u32)?;
                Ok(Some(value as u32))
            }
            Some(Slot::Raw(_)) => fault(Rule::Bank, format!("slot {value} is of another bank")),
            Some(Slot::Header) => fault(Rule::Slot, format!("slot {value} belongs to the header")),
            None => {
                let now = self.clock + 1;
                *self.window_slot(value)? = Written::Cell(ty, now);
                Ok(None)
            }
        }
    }

    /// Reads the wide slot of operand `i`, which must be of the bank.
    pub fn read_wide(&mut self, i: usize, bank: Bank) -> Result<(), Fault> {
        self.use_operand(i, bank, Constraint::Results)
    }

    /// Writes the wide slot of operand `i`.
    pub fn write_wide(&mut self, i: usize, bank: Bank, ty: Type<'m>) -> Result<(), Fault> {
        let value = self.inst.operands[i];
        let local = match bank {
            Bank::Int | Bank::Float => self.define_raw(value, bank)?,
            Bank::Cell => self.define_cell(value, ty)?,
        };
        if let Some(slot) = local {
            self.write(slot);
        }
        Ok(())
    }

    /// Uses the window: it must hold values of these types, laid out as the parameters of a call.
    pub fn consume(
        &mut self,
        types: impl Iterator<Item = ValueType> + Clone,
        environment: bool,
    ) -> Result<(), Fault> {
        let raws = types.clone().filter(|t| !t.is_cell()).count();
        let (mut raw, mut cell) = (0, raws + HEADER_SLOTS as usize + usize::from(environment));
        for (i, ty) in types.enumerate() {
            let place = if ty.is_cell() { &mut cell } else { &mut raw };
            let k = *place;
            *place += 1;
            let written = self.window.get(k).copied().unwrap_or(Written::Never);
            let valid = match (written, ty) {
                (Written::Cell(found, when), ValueType::Cell(wanted))
                    if when > self.invalidated.max(self.collected) =>
                {
                    self.flows(found, self.cx.get(wanted))?;
                    true
                }
                (Written::Raw(bank, when), ty) if when > self.invalidated => bank == ty.bank(),
                (Written::Never | Written::Raw(..) | Written::Cell(..), _) => false,
            };
            if !valid {
                let text = crate::text::value_type(&self.cx.module.types, ty);
                let message = format!(
                    "argument {i} ({text}) is not in window slot w{k}: it was not written since the last label, call or collection"
                );
                return fault(Rule::Window, message);
            }
        }
        self.invalidated = self.clock;
        Ok(())
    }

    /// An immediate operand, as far as its kind says what it may be.
    fn immediate(&self, kind: OperandKind, value: i64) -> Result<(), Fault> {
        let m = self.cx.module;
        let below = |length: usize, what: &str| -> Result<(), Fault> {
            if (value as u64) < length as u64 {
                Ok(())
            } else {
                fault(Rule::Id, format!("there is no {what}{value}"))
            }
        };
        let known = |ok: bool, what: &str| -> Result<(), Fault> {
            if ok { Ok(()) } else { fault(Rule::Immediate, format!("{value:#x} is no {what}")) }
        };
        match kind {
            OperandKind::Const => below(self.f.constants.len(), "constant k"),
            OperandKind::CellConst => below(self.f.cell_constants.len(), "cell constant k"),
            OperandKind::Switch => below(self.f.switches.len(), "switch"),
            OperandKind::FuncId => below(m.functions.len(), "fn"),
            OperandKind::HostId => below(m.hosts.len(), "host"),
            OperandKind::CFuncId => below(m.c_functions.len(), "cfn"),
            OperandKind::StringId => below(m.strings.len(), "str"),
            OperandKind::NameId => below(m.names.len(), "name"),
            OperandKind::GlobalId => below(m.globals.len(), "global"),
            OperandKind::RecordId => below(m.records.len(), "record"),
            OperandKind::WatchId => below(m.watches.len(), "watch"),
            OperandKind::Feedback => below(m.feedback_sites as usize, "feedback site fb"),
            OperandKind::Type => {
                let id = TypeId((value >> 1) as u32);
                let Some(heap) = m.types.get(id) else { return fault(Rule::Id, format!("there is no {id}")) };
                let nullable = value & 1 != 0;
                known(*heap != HeapType::Results, "type for values in the heap")?;
                known(nullable || *heap != HeapType::Any, "type: `any` includes nil")
            }
            OperandKind::Policy => known(value as u16 & !NumberPolicy::KNOWN == 0, "policy"),
            OperandKind::Mask => known(value as u16 & !TruthMask::KNOWN == 0, "set of false values"),
            OperandKind::Immediate => {
                known(Immediate::from_number(value as u64).is_some(), "reserved immediate")
            }
            OperandKind::TrapCode => known(TrapCode::from_number(value as u64).is_some(), "trap code"),
            // Any number will do, or the control flow analysis or the op's rule looks at it.
            OperandKind::ImmI16
            | OperandKind::ImmU16
            | OperandKind::ImmI32
            | OperandKind::ImmU32
            | OperandKind::Label
            | OperandKind::Label16
            | OperandKind::Slot
            | OperandKind::SlotDef
            | OperandKind::Field => Ok(()),
            // Registers have a role.
            _ => Ok(()),
        }
    }
}
