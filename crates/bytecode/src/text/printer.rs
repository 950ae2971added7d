//! Writes modules as text.

use super::{C_TYPES, KEY_POLICIES, ORDER_POLICIES, SIMPLE_TYPES, Slots};
use crate::inst::{Inst, Word};
use crate::module::*;
use crate::ops::{Effects, OperandKind};
use crate::types::*;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Writes the module in the text format.
pub fn print(module: &Module) -> String {
    dump(module, |_| None)
}

/// Writes the module in the text format, with the lines of the sources as comments before the code they became.
/// `source` gives the text of a source by its number.
pub fn dump<'a>(module: &Module, source: impl Fn(u32) -> Option<&'a str>) -> String {
    let mut printer = Printer { module, out: String::new() };
    // Writing into a string does not fail.
    let _ = printer.module(&source);
    printer.out
}

/// Writes a cell type as the text format does.
pub fn cell_type(types: &TypeTable, ty: CellType) -> String {
    let mut out = String::new();
    let _ = write_cell_type(&mut out, types, ty, 4);
    out
}

/// Writes a value type as the text format does.
pub fn value_type(types: &TypeTable, ty: ValueType) -> String {
    match ty {
        ValueType::Int => "int".into(),
        ValueType::Bool => "bool".into(),
        ValueType::Float => "float".into(),
        ValueType::Cell(c) => cell_type(types, c),
    }
}

/// Writes the instruction at a position of a function's code; branch targets as positions. For messages.
pub fn instruction(module: &Module, function: &Function, pc: usize) -> String {
    let mut out = String::new();
    match Inst::decode(function.code.get(pc..).unwrap_or(&[])) {
        Ok(inst) => {
            let _ = write_inst(&mut out, module, Slots::of(module, function), &inst, &|distance| {
                Target::Position(pc as i64 + distance)
            });
        }
        Err(_) => out.push_str("no instruction"),
    }
    out
}

/// A branch target as it is to be written.
enum Target {
    Label(usize),
    Distance(i64),
    Position(i64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Target::Label(n) => write!(f, "L{n}"),
            Target::Distance(d) => write!(f, "{d:+}"),
            Target::Position(p) => write!(f, "{p}"),
        }
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || ('\u{2028}'..='\u{202f}').contains(&c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(&mut out, text);
    out
}

fn name_of<T: PartialEq>(names: &'static [(T, &'static str)], value: &T) -> &'static str {
    names.iter().find(|(v, _)| v == value).map_or("", |(_, n)| n)
}

/// `depth` limits how far compound types are written out; below, and for unknown ids, the type's number is written.
fn write_cell_type(out: &mut String, types: &TypeTable, ty: CellType, depth: u32) -> fmt::Result {
    match types.get(ty.id) {
        Some(heap) if depth > 0 || *heap == HeapType::Any => {
            write_heap_type(out, types, heap, depth.saturating_sub(1))?;
            match (matches!(heap, HeapType::Any | HeapType::Results), ty.nullable) {
                (false, true) => out.push('?'),
                (true, false) => out.push('!'),
                (false, false) | (true, true) => {}
            }
        }
        Some(_) | None => write!(out, "{}{}", ty.id, if ty.nullable { "?" } else { "" })?,
    }
    Ok(())
}

fn write_heap_type(out: &mut String, types: &TypeTable, ty: &HeapType, depth: u32) -> fmt::Result {
    match ty {
        HeapType::ListCell(element) => {
            out.push_str("list.cell(");
            write_cell_type(out, types, *element, depth)?;
            out.push(')');
        }
        HeapType::Map { key, order, value } => {
            write!(out, "map({}, {}, ", name_of(KEY_POLICIES, key), name_of(ORDER_POLICIES, order))?;
            write_cell_type(out, types, *value, depth)?;
            out.push(')');
        }
        HeapType::RefCell(content) => {
            out.push_str("ref.cell(");
            write_cell_type(out, types, *content, depth)?;
            out.push(')');
        }
        HeapType::Record(id) => write!(out, "{id}")?,
        HeapType::Union(id) => write!(out, "{id}")?,
        HeapType::Closure(id) => write!(out, "closure({id})")?,
        HeapType::Tuple(kind) => write!(out, "tuple({kind})")?,
        HeapType::Bytes(kind) => write!(out, "bytes({kind})")?,
        HeapType::Any
        | HeapType::Results
        | HeapType::Int
        | HeapType::Float
        | HeapType::Bool
        | HeapType::Name
        | HeapType::String
        | HeapType::ListInt
        | HeapType::ListFloat
        | HeapType::ListBool
        | HeapType::Function
        | HeapType::RefInt
        | HeapType::RefFloat => out.push_str(name_of(SIMPLE_TYPES, ty)),
    }
    Ok(())
}

fn write_flags(out: &mut String, names: &[(&str, u16)], bits: u16) -> fmt::Result {
    let mut rest = bits;
    let mut first = true;
    for (name, bit) in names {
        if bits & bit != 0 {
            write!(out, "{}{name}", if first { "" } else { "|" })?;
            rest &= !bit;
            first = false;
        }
    }
    match (first, rest) {
        (true, 0) => out.push('0'),
        (true, _) => write!(out, "{rest:#x}")?,
        (false, 0) => {}
        (false, _) => write!(out, "|{rest:#x}")?,
    }
    Ok(())
}

fn bank_letter(bank: Bank) -> char {
    match bank {
        Bank::Int => 'i',
        Bank::Float => 'f',
        Bank::Cell => 'c',
    }
}

fn write_inst(
    out: &mut String,
    module: &Module,
    slots: Slots,
    inst: &Inst,
    target: &dyn Fn(i64) -> Target,
) -> fmt::Result {
    out.push_str(inst.op.info().mnemonic);
    for (i, (kind, value)) in inst.iter().enumerate() {
        out.push_str(if i == 0 { " " } else { ", " });
        write_operand(out, module, slots, kind, value, target)?;
    }
    Ok(())
}

fn write_operand(
    out: &mut String,
    module: &Module,
    slots: Slots,
    kind: OperandKind,
    value: i64,
    target: &dyn Fn(i64) -> Target,
) -> fmt::Result {
    if let Some((_, bank, _)) = kind.register() {
        return match (value as u64).checked_sub(slots.size) {
            Some(w) => write!(out, "w{w}"),
            None => write!(out, "{}{value}", bank_letter(bank)),
        };
    }
    match kind {
        OperandKind::Label | OperandKind::Label16 => write!(out, "{}", target(value)),
        OperandKind::Const | OperandKind::CellConst => write!(out, "k{value}"),
        OperandKind::Slot | OperandKind::SlotDef => match (value as u64).checked_sub(slots.size) {
            Some(w) => write!(out, "w{w}"),
            None => write!(out, "s{value}"),
        },
        OperandKind::Switch => write!(out, "switch{value}"),
        OperandKind::FuncId => write!(out, "fn{value}"),
        OperandKind::HostId => write!(out, "host{value}"),
        OperandKind::CFuncId => write!(out, "cfn{value}"),
        OperandKind::StringId => write!(out, "str{value}"),
        OperandKind::NameId => write!(out, "name{value}"),
        OperandKind::GlobalId => write!(out, "global{value}"),
        OperandKind::RecordId => write!(out, "record{value}"),
        OperandKind::WatchId => write!(out, "watch{value}"),
        OperandKind::Feedback => write!(out, "fb{value}"),
        OperandKind::Type => {
            let ty = CellType { id: TypeId((value >> 1) as u32), nullable: value & 1 != 0 };
            write_cell_type(out, &module.types, ty, 4)
        }
        OperandKind::Policy => write_flags(out, NumberPolicy::NAMES, value as u16),
        OperandKind::Mask => write_flags(out, TruthMask::NAMES, value as u16),
        OperandKind::Immediate => match Immediate::from_number(value as u64) {
            Some(i) => write!(out, "{}", i.text()),
            None => write!(out, "{value}"),
        },
        OperandKind::TrapCode => match TrapCode::from_number(value as u64) {
            Some(c) => write!(out, "{}", c.text()),
            None => write!(out, "{value}"),
        },
        // Registers were handled above; what remains are numbers.
        _ => write!(out, "{value}"),
    }
}

struct Printer<'m> {
    module: &'m Module,
    out: String,
}

impl Printer<'_> {
    fn cell_types(&mut self, types: &[CellType]) {
        let list: Vec<String> = types.iter().map(|&t| cell_type(&self.module.types, t)).collect();
        let _ = write!(self.out, "({})", list.join(", "));
    }

    fn signature(&self, signature: &Signature) -> String {
        let types = &self.module.types;
        let params: Vec<String> = signature.params.iter().map(|&t| value_type(types, t)).collect();
        let mut out = format!("({})", params.join(", "));
        if signature.rest {
            out.push_str(" rest");
        }
        if let Some(result) = signature.result {
            let _ = write!(out, " -> {}", value_type(types, result));
        }
        out
    }

    fn module<'a>(&mut self, source: &dyn Fn(u32) -> Option<&'a str>) -> fmt::Result {
        let m = self.module;
        writeln!(self.out, "module {}", quoted(&m.name))?;
        // Components by number: a type may stand before those it is made of.
        for (id, ty) in m.types.iter().skip(1) {
            write!(self.out, "{id} = ")?;
            write_heap_type(&mut self.out, &m.types, ty, 0)?;
            self.out.push('\n');
        }
        for (i, record) in m.records.iter().enumerate() {
            write!(self.out, "record{i} {}", quoted(&record.name))?;
            if record.tag != 0 {
                write!(self.out, " tag {}", record.tag)?;
            }
            let fields: Vec<String> = record
                .fields
                .iter()
                .map(|f| format!("{}: {}", quoted(&f.name), value_type(&m.types, f.ty)))
                .collect();
            let space = if fields.is_empty() { "" } else { " " };
            writeln!(self.out, " {{ {}{space}}}", fields.join(", "))?;
        }
        for (i, union) in m.unions.iter().enumerate() {
            let variants: Vec<String> = union.variants.iter().map(ToString::to_string).collect();
            writeln!(self.out, "union{i} {} {{ {} }}", quoted(&union.name), variants.join(", "))?;
        }
        for (i, signature) in m.signatures.iter().enumerate() {
            let text = self.signature(signature);
            writeln!(self.out, "sig{i} = {text}")?;
        }
        for (i, host) in m.hosts.iter().enumerate() {
            writeln!(self.out, "host{i} {} {}", quoted(&host.name), host.signature)?;
        }
        for (i, c) in m.c_functions.iter().enumerate() {
            let library = c.library.as_ref().map_or("process".into(), |l| quoted(l));
            let params: Vec<&str> = c.params.iter().map(|p| name_of(C_TYPES, p)).collect();
            let result = name_of(C_TYPES, &c.result);
            writeln!(self.out, "cfn{i} {library} {} ({}) -> {result}", quoted(&c.symbol), params.join(", "))?;
        }
        for (i, global) in m.globals.iter().enumerate() {
            writeln!(self.out, "global{i} {}: {}", quoted(&global.name), value_type(&m.types, global.ty))?;
        }
        for (i, string) in m.strings.iter().enumerate() {
            writeln!(self.out, "str{i} {}", quoted(string))?;
        }
        for (i, name) in m.names.iter().enumerate() {
            writeln!(self.out, "name{i} {} kind {}", quoted(&name.text), name.kind)?;
        }
        for (i, watch) in m.watches.iter().enumerate() {
            writeln!(self.out, "watch{i} {}", quoted(&watch.name))?;
        }
        if m.feedback_sites != 0 {
            writeln!(self.out, "feedback {}", m.feedback_sites)?;
        }
        self.protocol()?;
        for (i, s) in m.sources.iter().enumerate() {
            let starts: Vec<String> = s.line_starts.iter().map(ToString::to_string).collect();
            writeln!(self.out, "source{i} {} lines ({})", quoted(&s.name), starts.join(", "))?;
        }
        if let Some(entry) = m.entry {
            writeln!(self.out, "entry {entry}")?;
        }
        for (i, function) in m.functions.iter().enumerate() {
            self.function(i, function, source)?;
        }
        Ok(())
    }

    fn protocol(&mut self) -> fmt::Result {
        let m = self.module;
        if m.protocol.0.len() != Protocol::ALL.len() {
            writeln!(self.out, "protocol entries {}", m.protocol.0.len())?;
        }
        for (i, callee) in m.protocol.0.iter().enumerate() {
            let callee = match callee {
                None => continue,
                Some(Callee::Function(f)) => f.to_string(),
                Some(Callee::Host(h)) => h.to_string(),
            };
            match Protocol::ALL.get(i) {
                Some(entry) => writeln!(self.out, "protocol {} {callee}", entry.text())?,
                None => writeln!(self.out, "protocol {i} {callee}")?,
            }
        }
        if m.catchable != TrapSet::default() {
            let mut codes = Vec::new();
            let mut rest = m.catchable.0;
            for &code in TrapCode::ALL {
                if m.catchable.has(code) {
                    codes.push(code.text().to_string());
                    rest &= !(1 << code as u32);
                }
            }
            if rest != 0 {
                codes.push(format!("{rest:#x}"));
            }
            writeln!(self.out, "catchable ({})", codes.join(", "))?;
        }
        Ok(())
    }

    fn function<'a>(
        &mut self,
        number: usize,
        f: &Function,
        source: &dyn Fn(u32) -> Option<&'a str>,
    ) -> fmt::Result {
        let m = self.module;
        write!(self.out, "\nfn{number} {} {} {{", quoted(&f.name), f.signature)?;
        if let Some(signature) = m.signatures.get(f.signature.index()) {
            let text = self.signature(signature);
            write!(self.out, "  ; {text}")?;
        }
        self.out.push('\n');
        if let Some(environment) = &f.environment {
            self.out.push_str("  environment ");
            self.cell_types(environment);
            self.out.push('\n');
        }
        if !f.arities.is_empty() {
            let arities: Vec<String> = f.arities.iter().map(FuncId::to_string).collect();
            writeln!(self.out, "  arities {}", arities.join(", "))?;
        }
        if f.window != 0 {
            writeln!(self.out, "  window {}", f.window)?;
        }
        let slots = Slots::of(m, f);
        let cells = |first: u64, list: &[CellType]| -> String {
            let list: Vec<String> = list
                .iter()
                .enumerate()
                .map(|(i, &t)| format!("c{}: {}", first + i as u64, cell_type(&m.types, t)))
                .collect();
            list.join(", ")
        };
        let raws = |first: u64, list: &[Bank]| -> String {
            let list: Vec<String> = list
                .iter()
                .enumerate()
                .map(|(i, &b)| format!("{}{}", bank_letter(b), first + i as u64))
                .collect();
            list.join(", ")
        };
        let mut lists: Vec<(&str, String)> = vec![
            ("cells", cells(slots.first_cell, &f.cells)),
            ("raws", raws(slots.first_raw, &f.raws)),
            ("spilled raws", raws(slots.first_spilled_raw, &f.spilled_raws)),
            ("spilled cells", cells(slots.first_spilled_cell, &f.spilled_cells)),
        ];
        let constants: Vec<String> = f.constants.iter().map(|c| format!("{c:#x}")).collect();
        lists.push(("constants", constants.join(", ")));
        let constants: Vec<String> = f
            .cell_constants
            .iter()
            .map(|c| match c {
                CellConst::Int(i) => i.to_string(),
                CellConst::Float(x) if x.is_finite() => format!("float {x:?}"),
                CellConst::Float(x) => format!("float {:#x}", x.to_bits()),
                CellConst::Immediate(i) => i.text().into(),
            })
            .collect();
        lists.push(("cell constants", constants.join(", ")));
        for (name, list) in lists.iter().filter(|(_, l)| !l.is_empty()) {
            writeln!(self.out, "  {name} {list}")?;
        }
        self.code(f, slots, source)
    }

    fn code<'a>(
        &mut self,
        f: &Function,
        slots: Slots,
        source: &dyn Fn(u32) -> Option<&'a str>,
    ) -> fmt::Result {
        let lines = Lines::of(f);
        let label = |position: i64| lines.labels.get(&position).copied();
        let switch_bases = switch_bases(&lines);
        for (i, table) in f.switches.iter().enumerate() {
            let base = switch_bases.get(&(i as i64)).copied();
            let target = |distance: i32| match base.and_then(|b| label(b + i64::from(distance))) {
                Some(n) => Target::Label(n),
                None => Target::Distance(i64::from(distance)),
            };
            write!(self.out, "  switch{i} {{ ")?;
            for (key, distance) in &table.cases {
                match key {
                    SwitchKey::Int(v) => write!(self.out, "{v}")?,
                    SwitchKey::Immediate(v) => write!(self.out, "{}", v.text())?,
                    SwitchKey::Name(v) => write!(self.out, "{v}")?,
                    SwitchKey::String(v) => write!(self.out, "{v}")?,
                }
                write!(self.out, ": {}, ", target(*distance))?;
            }
            writeln!(self.out, "default: {} }}", target(table.default))?;
        }
        for h in &f.handlers {
            let place = |position: u32| match label(i64::from(position)) {
                Some(n) => Target::Label(n),
                None => Target::Position(i64::from(position)),
            };
            let (start, end, to) = (place(h.start), place(h.end), place(h.target));
            writeln!(self.out, "  handler {start}..{end} -> {to}, c{}", h.slot)?;
        }
        let regular = f.spans.is_sorted_by(|a, b| a.0 < b.0)
            && f.spans.iter().all(|(p, _)| lines.starts.binary_search_by_key(p, |l| l.0 as u32).is_ok());
        if !regular {
            let spans: Vec<String> =
                f.spans.iter().map(|(p, s)| format!("{p} @{}:{}..{}", s.source, s.start, s.end)).collect();
            writeln!(self.out, "  spans {}", spans.join(", "))?;
        }
        self.out.push_str("  code\n");
        let mut spans = f.spans.iter().peekable();
        let mut shown = None;
        for &(position, inst) in &lines.starts {
            if let Some(n) = label(position as i64) {
                writeln!(self.out, "L{n}:")?;
            }
            let span = match spans.peek() {
                Some((p, span)) if regular && *p as usize == position => {
                    spans.next();
                    Some(span)
                }
                Some(_) | None => None,
            };
            if let Some(span) = span {
                self.source_line(span, &mut shown, source)?;
            }
            let start = self.out.len();
            self.out.push_str("    ");
            match inst {
                Some(inst) => {
                    let target = |distance: i64| match label(position as i64 + distance) {
                        Some(n) => Target::Label(n),
                        None => Target::Distance(distance),
                    };
                    write_inst(&mut self.out, self.module, slots, &inst, &target)?;
                }
                None => write!(self.out, ".word {:#018x}", f.code[position].0)?,
            }
            if let Some(span) = span {
                let width = self.out.len() - start;
                let pad = 44usize.saturating_sub(width).max(1);
                write!(self.out, "{:pad$}@{}:{}..{}", "", span.source, span.start, span.end)?;
            }
            if let Some(note) = inst.and_then(|i| self.note(&i)) {
                write!(self.out, "  ; {note}")?;
            }
            self.out.push('\n');
        }
        if let Some(n) = label(f.code.len() as i64) {
            writeln!(self.out, "L{n}:")?;
        }
        self.out.push_str("}\n");
        Ok(())
    }

    fn source_line<'a>(
        &mut self,
        span: &Span,
        shown: &mut Option<(u32, u32)>,
        source: &dyn Fn(u32) -> Option<&'a str>,
    ) -> fmt::Result {
        let (Some(text), Some(table)) = (source(span.source), self.module.sources.get(span.source as usize))
        else {
            return Ok(());
        };
        let line = table.line_starts.partition_point(|&s| s <= span.start).max(1) as u32;
        if *shown != Some((span.source, line)) {
            *shown = Some((span.source, line));
            let start = table.line_starts.get(line as usize - 1).map_or(0, |&s| s as usize);
            let content = text.get(start..).and_then(|t| t.lines().next()).unwrap_or("");
            writeln!(self.out, "  ; {}:{line}: {}", quoted(&table.name), content.trim())?;
        }
        Ok(())
    }

    /// What the ids of an instruction stand for, where that helps the reader.
    fn note(&self, inst: &Inst) -> Option<String> {
        let m = self.module;
        inst.iter().find_map(|(kind, value)| {
            let i = value as usize;
            let text = match kind {
                OperandKind::StringId => m.strings.get(i)?,
                OperandKind::NameId => &m.names.get(i)?.text,
                OperandKind::FuncId => &m.functions.get(i)?.name,
                OperandKind::HostId => &m.hosts.get(i)?.name,
                OperandKind::CFuncId => &m.c_functions.get(i)?.symbol,
                OperandKind::GlobalId => &m.globals.get(i)?.name,
                OperandKind::RecordId => &m.records.get(i)?.name,
                _ => return None,
            };
            Some(if text.chars().count() > 40 {
                format!("{}…", quoted(&text.chars().take(40).collect::<String>()))
            } else {
                quoted(text)
            })
        })
    }
}

/// The lines of a function's code: positions with instructions (`None` for raw words), and the numbered labels.
struct Lines {
    starts: Vec<(usize, Option<Inst>)>,
    labels: BTreeMap<i64, usize>,
}

impl Lines {
    fn of(f: &Function) -> Lines {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < f.code.len() {
            let inst = Inst::decode(&f.code[at..]).ok().filter(|inst| round_trips(inst, &f.code[at..]));
            starts.push((at, inst));
            at += inst.map_or(1, |i| i.op.words());
        }
        let mut lines = Lines { starts, labels: BTreeMap::new() };
        let mut wanted: Vec<i64> = Vec::new();
        for (position, inst) in &lines.starts {
            wanted.extend(inst.and_then(|i| i.target()).map(|d| *position as i64 + d));
        }
        let bases = switch_bases(&lines);
        for (i, table) in f.switches.iter().enumerate() {
            if let Some(base) = bases.get(&(i as i64)) {
                wanted.extend(table.cases.iter().map(|(_, d)| base + i64::from(*d)));
                wanted.push(base + i64::from(table.default));
            }
        }
        for h in &f.handlers {
            wanted.extend([h.start, h.end, h.target].map(i64::from));
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|&p| {
            p == f.code.len() as i64 || lines.starts.binary_search_by_key(&p, |l| l.0 as i64).is_ok()
        });
        lines.labels = wanted.into_iter().enumerate().map(|(n, p)| (p, n + 1)).collect();
        lines
    }
}

/// Whether encoding the instruction gives the very words it came from.
fn round_trips(inst: &Inst, code: &[Word]) -> bool {
    let (words, n) = inst.encode();
    words[..n] == code[..n]
}

/// For each switch table the position of the first instruction that uses it.
fn switch_bases(lines: &Lines) -> BTreeMap<i64, i64> {
    let mut bases = BTreeMap::new();
    for (position, inst) in &lines.starts {
        let Some(inst) = inst.filter(|i| i.op.effects().has(Effects::BRANCH)) else { continue };
        for (kind, value) in inst.iter() {
            if kind == OperandKind::Switch {
                bases.entry(value).or_insert(*position as i64);
            }
        }
    }
    bases
}
