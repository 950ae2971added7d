//! Reads modules from text.

use super::lexer::{Lexer, TextError, Token};
use super::{C_TYPES, KEY_POLICIES, ORDER_POLICIES, SIMPLE_TYPES, Slots};
use crate::inst::{Inst, Word, is_signed};
use crate::module::*;
use crate::ops::{MAX_OPERANDS, Op, OperandKind};
use crate::types::*;
use std::collections::HashMap;

/// Reads a module in the text format.
///
/// # Errors
/// The first place where the text is no module. Whether the module makes sense is for the verifier to say.
pub fn parse(text: &str) -> Result<Module> {
    let mut lexer = Lexer::new(text);
    let (token, at) = lexer.next()?;
    let mut parser = Parser { lexer, token, at, module: Module::default() };
    parser.module()?;
    Ok(parser.module)
}

type Result<T> = std::result::Result<T, TextError>;

/// How deep types may nest in the text; the printer stays far below.
const MAX_TYPE_DEPTH: u32 = 64;

struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token<'t>,
    at: usize,
    module: Module,
}

/// A branch target as written: a label or a number.
enum Place<'t> {
    Label(&'t str, usize),
    Number(i64),
}

/// An operand whose value depends on labels behind it.
struct Fixup<'t> {
    position: usize,
    operand: usize,
    label: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(self.lexer.error(self.at, message))
    }

    fn fail_at<T>(&self, at: usize, message: impl Into<String>) -> Result<T> {
        Err(self.lexer.error(at, message))
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        self.fail(format!("expected {what}, found {}", self.token))
    }

    fn advance(&mut self) -> Result<Token<'t>> {
        let (token, at) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn is(&self, mark: &str) -> bool {
        matches!(&self.token, Token::Mark(m) if *m == mark)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(w) if *w == word)
    }

    fn eat(&mut self, mark: &str) -> Result<bool> {
        let found = self.is(mark);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn eat_word(&mut self, word: &str) -> Result<bool> {
        let found = self.is_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn mark(&mut self, mark: &str) -> Result<()> {
        if self.eat(mark)? { Ok(()) } else { self.expected(&format!("`{mark}`")) }
    }

    fn word(&mut self, what: &str) -> Result<&'t str> {
        match self.token {
            Token::Word(w) => {
                self.advance()?;
                Ok(w)
            }
            _ => self.expected(what),
        }
    }

    fn text(&mut self) -> Result<String> {
        match &mut self.token {
            Token::Text(t) => {
                let text = std::mem::take(t);
                self.advance()?;
                Ok(text)
            }
            _ => self.expected("a string"),
        }
    }

    /// A whole number, decimal or hexadecimal, within bounds.
    fn number(&mut self, low: i128, high: i128) -> Result<i128> {
        let Token::Number(n) = self.token else { return self.expected("a number") };
        let (negative, digits) = match n.strip_prefix('-') {
            Some(d) => (true, d),
            None => (false, n.strip_prefix('+').unwrap_or(n)),
        };
        let value = match digits.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let Ok(value) = value else { return self.fail(format!("`{n}` is no whole number")) };
        let value = if negative { -value } else { value };
        if value < low || value > high {
            return self.fail(format!("{n} is outside {low} to {high}"));
        }
        self.advance()?;
        Ok(value)
    }

    fn u32(&mut self) -> Result<u32> {
        self.number(0, u32::MAX.into()).map(|n| n as u32)
    }

    fn u16(&mut self) -> Result<u16> {
        self.number(0, u16::MAX.into()).map(|n| n as u16)
    }

    /// The number behind a prefix, as in `fn12`; `None` where the token is something else.
    fn peek_id(&self, prefix: &str) -> Option<u32> {
        match self.token {
            Token::Word(w) => w.strip_prefix(prefix).and_then(decimal),
            _ => None,
        }
    }

    fn id(&mut self, prefix: &str) -> Result<u32> {
        match self.peek_id(prefix) {
            Some(n) => {
                self.advance()?;
                Ok(n)
            }
            None => self.expected(&format!("`{prefix}` with a number")),
        }
    }

    /// A list in parentheses, with commas between.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.mark("(")?;
        let mut items = Vec::new();
        while !self.eat(")")? {
            if !items.is_empty() {
                self.mark(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// One item or more with commas between.
    fn row<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(",")? {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn named<T: Copy>(&mut self, names: &[(T, &str)], what: &str) -> Result<T> {
        let found = match self.token {
            Token::Word(w) => names.iter().find(|(_, n)| *n == w).map(|(v, _)| *v),
            _ => None,
        };
        match found {
            Some(v) => {
                self.advance()?;
                Ok(v)
            }
            None => {
                let names: Vec<&str> = names.iter().map(|(_, n)| *n).collect();
                self.expected(&format!("{what} ({})", names.join(", ")))
            }
        }
    }

    // Types.

    fn heap_type(&mut self, depth: u32) -> Result<HeapType> {
        if depth > MAX_TYPE_DEPTH {
            return self.fail("types nest too deep");
        }
        let Token::Word(word) = self.token else { return self.expected("a heap type") };
        if let Some((ty, _)) = SIMPLE_TYPES.iter().find(|(_, n)| *n == word) {
            self.advance()?;
            return Ok(ty.clone());
        }
        if let Some(n) = self.peek_id("record") {
            self.advance()?;
            return Ok(HeapType::Record(RecordId(n)));
        }
        if let Some(n) = self.peek_id("union") {
            self.advance()?;
            return Ok(HeapType::Union(UnionId(n)));
        }
        let ty = match word {
            "list.cell" | "ref.cell" => {
                self.advance()?;
                self.mark("(")?;
                let component = self.cell_type(depth + 1)?;
                if word == "list.cell" { HeapType::ListCell(component) } else { HeapType::RefCell(component) }
            }
            "map" => {
                self.advance()?;
                self.mark("(")?;
                let key = self.named(KEY_POLICIES, "a key policy")?;
                self.mark(",")?;
                let order = self.named(ORDER_POLICIES, "an order")?;
                self.mark(",")?;
                HeapType::Map { key, order, value: self.cell_type(depth + 1)? }
            }
            "closure" => {
                self.advance()?;
                self.mark("(")?;
                HeapType::Closure(SigId(self.id("sig")?))
            }
            "tuple" | "bytes" => {
                self.advance()?;
                self.mark("(")?;
                let kind = self.u16()?;
                if word == "tuple" { HeapType::Tuple(kind) } else { HeapType::Bytes(kind) }
            }
            _ => return self.expected("a heap type"),
        };
        self.mark(")")?;
        Ok(ty)
    }

    fn cell_type(&mut self, depth: u32) -> Result<CellType> {
        if let Some(n) = self.peek_id("type") {
            self.advance()?;
            return Ok(CellType { id: TypeId(n), nullable: self.eat("?")? });
        }
        let ty = self.heap_type(depth)?;
        let default = matches!(ty, HeapType::Any | HeapType::Results);
        let nullable = if default { !self.eat("!")? } else { self.eat("?")? };
        Ok(CellType { id: self.module.types.intern(ty), nullable })
    }

    fn value_type(&mut self) -> Result<ValueType> {
        for (word, ty) in [("int", ValueType::Int), ("bool", ValueType::Bool), ("float", ValueType::Float)] {
            if self.eat_word(word)? {
                return Ok(ty);
            }
        }
        self.cell_type(0).map(ValueType::Cell)
    }

    // The tables of the module.

    fn module(&mut self) -> Result<()> {
        if !self.eat_word("module")? {
            return self.expected("`module`");
        }
        self.module.name = self.text()?;
        while self.token != Token::End {
            self.item()?;
        }
        Ok(())
    }

    /// Takes `prefixN`, which must be the next number of its table.
    fn next_of(&mut self, prefix: &str, length: usize) -> Result<()> {
        match self.peek_id(prefix) {
            Some(n) if n as usize == length => self.advance().map(drop),
            _ => self.expected(&format!("`{prefix}{length}`, the next of its table")),
        }
    }

    fn item(&mut self) -> Result<()> {
        let Token::Word(word) = self.token else { return self.expected("a table entry or a function") };
        let prefix = word.trim_end_matches(|c: char| c.is_ascii_digit());
        match prefix {
            "type" => {
                let at = self.at;
                self.next_of("type", self.module.types.len())?;
                self.mark("=")?;
                let expected = self.module.types.len();
                let ty = self.heap_type(0)?;
                if self.module.types.intern(ty).index() != expected {
                    return self.fail_at(
                        at,
                        "this type, or one that it is made of, stands in the table already or not yet",
                    );
                }
            }
            "record" => {
                self.next_of("record", self.module.records.len())?;
                let name = self.text()?;
                let tag = if self.eat_word("tag")? { self.u16()? } else { 0 };
                self.mark("{")?;
                let mut fields = Vec::new();
                while !self.eat("}")? {
                    if !fields.is_empty() {
                        self.mark(",")?;
                    }
                    let name = self.text()?;
                    self.mark(":")?;
                    fields.push(Field { name, ty: self.value_type()? });
                }
                self.module.records.push(Record { name, tag, fields });
            }
            "union" => {
                self.next_of("union", self.module.unions.len())?;
                let name = self.text()?;
                self.mark("{")?;
                let mut variants = Vec::new();
                while !self.eat("}")? {
                    if !variants.is_empty() {
                        self.mark(",")?;
                    }
                    variants.push(RecordId(self.id("record")?));
                }
                self.module.unions.push(Union { name, variants });
            }
            "sig" => {
                self.next_of("sig", self.module.signatures.len())?;
                self.mark("=")?;
                let params = self.list(Self::value_type)?;
                let rest = self.eat_word("rest")?;
                let result = if self.eat("->")? { Some(self.value_type()?) } else { None };
                self.module.signatures.push(Signature { params, rest, result });
            }
            "host" => {
                self.next_of("host", self.module.hosts.len())?;
                let name = self.text()?;
                let signature = SigId(self.id("sig")?);
                self.module.hosts.push(HostImport { name, signature });
            }
            "cfn" => {
                self.next_of("cfn", self.module.c_functions.len())?;
                let library = if self.eat_word("process")? { None } else { Some(self.text()?) };
                let symbol = self.text()?;
                let params = self.list(|p| p.named(C_TYPES, "a C type"))?;
                self.mark("->")?;
                let result = self.named(C_TYPES, "a C type")?;
                self.module.c_functions.push(CImport { library, symbol, params, result });
            }
            "global" => {
                self.next_of("global", self.module.globals.len())?;
                let name = self.text()?;
                self.mark(":")?;
                let ty = self.value_type()?;
                self.module.globals.push(Global { name, ty });
            }
            "str" => {
                self.next_of("str", self.module.strings.len())?;
                let text = self.text()?;
                self.module.strings.push(text);
            }
            "name" => {
                self.next_of("name", self.module.names.len())?;
                let text = self.text()?;
                let kind = if self.eat_word("kind")? { self.number(0, 255)? as u8 } else { 0 };
                self.module.names.push(Name { text, kind });
            }
            "watch" => {
                self.next_of("watch", self.module.watches.len())?;
                let name = self.text()?;
                self.module.watches.push(Watch { name });
            }
            "source" => {
                self.next_of("source", self.module.sources.len())?;
                let name = self.text()?;
                if !self.eat_word("lines")? {
                    return self.expected("`lines`");
                }
                let line_starts = self.list(Self::u32)?;
                self.module.sources.push(Source { name, line_starts });
            }
            "fn" => self.function()?,
            _ => match word {
                "feedback" => {
                    self.advance()?;
                    self.module.feedback_sites = self.u32()?;
                }
                "protocol" => self.protocol()?,
                "catchable" => {
                    self.advance()?;
                    let bits = self.list(Self::trap_bits)?;
                    self.module.catchable = TrapSet(bits.into_iter().fold(0, |a, b| a | b));
                }
                "entry" => {
                    self.advance()?;
                    self.module.entry = Some(FuncId(self.id("fn")?));
                }
                _ => return self.expected("a table entry or a function"),
            },
        }
        Ok(())
    }

    fn trap_bits(&mut self) -> Result<u32> {
        if let Token::Word(w) = self.token {
            let Some(code) = TrapCode::from_text(w) else { return self.expected("a trap code") };
            self.advance()?;
            return Ok(1 << code as u32);
        }
        self.u32()
    }

    fn protocol(&mut self) -> Result<()> {
        self.advance()?;
        if self.eat_word("entries")? {
            let n = self.number(0, 1 << 16)?;
            self.module.protocol.0 = vec![None; n as usize];
            return Ok(());
        }
        let entry = match self.token {
            Token::Word(w) => match Protocol::from_text(w) {
                Some(entry) => {
                    self.advance()?;
                    entry as usize
                }
                None => return self.expected("a protocol entry"),
            },
            _ => self.number(0, 1 << 16)? as usize,
        };
        let callee = match self.peek_id("fn") {
            Some(n) => {
                self.advance()?;
                Callee::Function(FuncId(n))
            }
            None => Callee::Host(HostId(self.id("host")?)),
        };
        match self.module.protocol.0.get_mut(entry) {
            Some(place) => *place = Some(callee),
            None => return self.fail("the protocol table has no such entry"),
        }
        Ok(())
    }

    // Functions.

    fn function(&mut self) -> Result<()> {
        self.next_of("fn", self.module.functions.len())?;
        let name = self.text()?;
        let signature = SigId(self.id("sig")?);
        let mut f = Function { name, signature, ..Function::default() };
        let mut switches = Vec::new();
        let mut handlers = Vec::new();
        self.mark("{")?;
        loop {
            let Token::Word(word) = self.token else { return self.expected("`code`") };
            let at = self.at;
            if self.peek_id("switch").is_some() {
                self.next_of("switch", switches.len())?;
                switches.push(self.switch()?);
                continue;
            }
            self.advance()?;
            match word {
                "environment" => f.environment = Some(self.list(|p| p.cell_type(0))?),
                "arities" => f.arities = self.row(|p| Ok(FuncId(p.id("fn")?)))?,
                "window" => f.window = self.u32()?,
                "cells" => {
                    let first = Slots::of(&self.module, &f).first_cell;
                    f.cells = self.cells(first)?;
                }
                "raws" => {
                    let first = Slots::of(&self.module, &f).first_raw;
                    f.raws = self.raws(first)?;
                }
                "spilled" => {
                    let slots = Slots::of(&self.module, &f);
                    match self.word("`raws` or `cells`")? {
                        "raws" => f.spilled_raws = self.raws(slots.first_spilled_raw)?,
                        "cells" => f.spilled_cells = self.cells(slots.first_spilled_cell)?,
                        _ => return self.fail_at(at, "expected `spilled raws` or `spilled cells`"),
                    }
                }
                "constants" => {
                    f.constants =
                        self.row(|p| p.number(i64::MIN.into(), u64::MAX.into()).map(|n| n as u64))?;
                }
                "cell" => {
                    if !self.eat_word("constants")? {
                        return self.expected("`constants`");
                    }
                    f.cell_constants = self.row(Self::cell_constant)?;
                }
                "handler" => {
                    let start = self.place()?;
                    self.mark("..")?;
                    let end = self.place()?;
                    self.mark("->")?;
                    let target = self.place()?;
                    self.mark(",")?;
                    handlers.push((start, end, target, self.number_behind("c", u16::MAX.into())? as u16));
                }
                "spans" => {
                    f.spans = self.row(|p| Ok((p.u32()?, p.span()?)))?;
                }
                "code" => break,
                _ => return self.fail_at(at, format!("`{word}` is no part of a function")),
            }
        }
        self.code(&mut f, switches, handlers)?;
        self.module.functions.push(f);
        Ok(())
    }

    fn number_behind(&mut self, prefix: &str, high: u64) -> Result<u64> {
        match self.peek_id(prefix) {
            Some(n) if u64::from(n) <= high => {
                self.advance()?;
                Ok(n.into())
            }
            Some(_) | None => self.expected(&format!("`{prefix}` with a number up to {high}")),
        }
    }

    fn cells(&mut self, first: u64) -> Result<Vec<CellType>> {
        let mut next = first;
        self.row(|p| {
            if p.peek_id("c").map(u64::from) != Some(next) {
                return p.expected(&format!("`c{next}`, the next slot of the frame"));
            }
            next += 1;
            p.advance()?;
            p.mark(":")?;
            p.cell_type(0)
        })
    }

    fn raws(&mut self, first: u64) -> Result<Vec<Bank>> {
        let mut next = first;
        self.row(|p| {
            for (prefix, bank) in [("i", Bank::Int), ("f", Bank::Float), ("c", Bank::Cell)] {
                if p.peek_id(prefix).map(u64::from) == Some(next) {
                    next += 1;
                    p.advance()?;
                    return Ok(bank);
                }
            }
            p.expected(&format!("`i{next}` or `f{next}`, the next slot of the frame"))
        })
    }

    fn cell_constant(&mut self) -> Result<CellConst> {
        if self.eat_word("float")? {
            let Token::Number(n) = self.token else { return self.expected("a float") };
            if n.starts_with("0x") {
                let bits = self.number(0, u64::MAX.into())? as u64;
                return Ok(CellConst::Float(f64::from_bits(bits)));
            }
            let Ok(x) = n.parse() else { return self.expected("a float") };
            self.advance()?;
            return Ok(CellConst::Float(x));
        }
        if let Some(i) = self.immediate()? {
            return Ok(CellConst::Immediate(i));
        }
        self.number(i64::MIN.into(), i64::MAX.into()).map(|n| CellConst::Int(n as i64))
    }

    fn immediate(&mut self) -> Result<Option<Immediate>> {
        let Token::Word(w) = self.token else { return Ok(None) };
        let found = Immediate::from_text(w);
        if found.is_some() {
            self.advance()?;
        }
        Ok(found)
    }

    fn place(&mut self) -> Result<Place<'t>> {
        let at = self.at;
        match self.token {
            Token::Word(w) if w.strip_prefix('L').and_then(decimal).is_some() => {
                self.advance()?;
                Ok(Place::Label(w, at))
            }
            Token::Number(_) => Ok(Place::Number(self.number(i64::MIN.into(), i64::MAX.into())? as i64)),
            _ => self.expected("a label or a number of words"),
        }
    }

    fn switch(&mut self) -> Result<(Vec<(SwitchKey, Place<'t>)>, Place<'t>)> {
        self.mark("{")?;
        let mut cases = Vec::new();
        loop {
            if self.eat_word("default")? {
                self.mark(":")?;
                let default = self.place()?;
                self.mark("}")?;
                return Ok((cases, default));
            }
            let key = if let Some(n) = self.peek_id("name") {
                self.advance()?;
                SwitchKey::Name(NameId(n))
            } else if let Some(n) = self.peek_id("str") {
                self.advance()?;
                SwitchKey::String(StringId(n))
            } else if let Some(i) = self.immediate()? {
                SwitchKey::Immediate(i)
            } else {
                SwitchKey::Int(self.number(i64::MIN.into(), i64::MAX.into())? as i64)
            };
            self.mark(":")?;
            cases.push((key, self.place()?));
            self.mark(",")?;
        }
    }

    fn span(&mut self) -> Result<Span> {
        self.mark("@")?;
        let source = self.u32()?;
        self.mark(":")?;
        let start = self.u32()?;
        self.mark("..")?;
        let end = self.u32()?;
        Ok(Span { source, start, end })
    }

    fn code(
        &mut self,
        f: &mut Function,
        switches: Vec<(Vec<(SwitchKey, Place<'t>)>, Place<'t>)>,
        handlers: Vec<(Place<'t>, Place<'t>, Place<'t>, u16)>,
    ) -> Result<()> {
        let size = Slots::of(&self.module, f).size;
        let mut labels: HashMap<&'t str, i64> = HashMap::new();
        let mut fixups: Vec<Fixup<'t>> = Vec::new();
        let mut bases: HashMap<i64, i64> = HashMap::new();
        while !self.eat("}")? {
            let at = self.at;
            let word = self.word("an instruction, a label or `}`")?;
            let position = f.code.len();
            if self.is(":") && word.strip_prefix('L').and_then(decimal).is_some() {
                self.advance()?;
                if labels.insert(word, position as i64).is_some() {
                    return self.fail_at(at, format!("label `{word}` stands twice"));
                }
                continue;
            }
            if word == ".word" {
                f.code.push(Word(self.number(0, u64::MAX.into())? as u64));
            } else {
                let Some(op) = Op::from_mnemonic(word) else {
                    return self.fail_at(at, format!("`{word}` is no instruction"));
                };
                let mut operands = [0; MAX_OPERANDS];
                for (i, operand) in op.info().operands.iter().enumerate() {
                    if i > 0 {
                        self.mark(",")?;
                    }
                    operands[i] = match operand.kind {
                        OperandKind::Label | OperandKind::Label16 => match self.place()? {
                            Place::Number(n) => n,
                            Place::Label(label, at) => {
                                fixups.push(Fixup { position, operand: i, label, at });
                                0
                            }
                        },
                        kind => self.operand(kind, size)?,
                    };
                    self.check_width(operand.kind, operands[i], at)?;
                    if operand.kind == OperandKind::Switch {
                        bases.entry(operands[i]).or_insert(position as i64);
                    }
                }
                let (words, n) = Inst { op, operands }.encode();
                f.code.extend(&words[..n]);
            }
            if self.is("@") {
                f.spans.push((position as u32, self.span()?));
            }
        }
        for fixup in fixups {
            let Some(&to) = labels.get(fixup.label) else {
                return self.fail_at(fixup.at, format!("label `{}` stands nowhere", fixup.label));
            };
            // It was encoded above, so it decodes.
            let Ok(mut inst) = Inst::decode(&f.code[fixup.position..]) else { continue };
            inst.operands[fixup.operand] = to - fixup.position as i64;
            self.check_width(
                inst.op.info().operands[fixup.operand].kind,
                inst.operands[fixup.operand],
                fixup.at,
            )?;
            let (words, n) = inst.encode();
            f.code[fixup.position..fixup.position + n].copy_from_slice(&words[..n]);
        }
        let resolve = |place: &Place<'t>, base: i64| -> Result<i64> {
            match *place {
                Place::Number(n) => Ok(n),
                Place::Label(label, at) => match labels.get(label) {
                    Some(to) => Ok(to - base),
                    None => Err(self.lexer.error(at, format!("label `{label}` stands nowhere"))),
                },
            }
        };
        for (i, (cases, default)) in switches.iter().enumerate() {
            let base = bases.get(&(i as i64)).copied();
            let distance = |place: &Place<'t>| -> Result<i32> {
                if let (None, Place::Label(_, at)) = (base, place) {
                    return Err(self.lexer.error(*at, format!("no instruction uses switch{i}")));
                }
                let distance = resolve(place, base.unwrap_or(0))?;
                i32::try_from(distance)
                    .map_err(|_| self.lexer.error(self.at, "a switch target is too far away"))
            };
            let default = distance(default)?;
            let cases = cases.iter().map(|(k, p)| Ok((*k, distance(p)?))).collect::<Result<Vec<_>>>()?;
            f.switches.push(SwitchTable { cases, default });
        }
        for (start, end, target, slot) in &handlers {
            let position = |place| -> Result<u32> {
                let position = resolve(place, 0)?;
                u32::try_from(position)
                    .map_err(|_| self.lexer.error(self.at, "a handler's position is out of range"))
            };
            f.handlers.push(Handler {
                start: position(start)?,
                end: position(end)?,
                target: position(target)?,
                slot: *slot,
            });
        }
        Ok(())
    }

    fn check_width(&self, kind: OperandKind, value: i64, at: usize) -> Result<()> {
        let fits = match (kind.units(), is_signed(kind)) {
            (1, true) => i16::try_from(value).is_ok(),
            (1, false) => u16::try_from(value).is_ok(),
            (_, true) => i32::try_from(value).is_ok(),
            (_, false) => u32::try_from(value).is_ok(),
        };
        if fits {
            Ok(())
        } else {
            self.fail_at(at, format!("operand {value} does not fit its {} bits", 16 * kind.units()))
        }
    }

    fn operand(&mut self, kind: OperandKind, size: u64) -> Result<i64> {
        let window = self.peek_id("w").map(|n| (u64::from(n) + size) as i64);
        if let Some((_, bank, _)) = kind.register() {
            if let Some(slot) = window {
                self.advance()?;
                return Ok(slot);
            }
            let (prefix, what) = match bank {
                Bank::Int => ("i", "an int register (`i` with a slot)"),
                Bank::Float => ("f", "a float register (`f` with a slot)"),
                Bank::Cell => ("c", "a cell register (`c` with a slot)"),
            };
            return match self.peek_id(prefix) {
                Some(n) => {
                    self.advance()?;
                    Ok(n.into())
                }
                None => self.expected(what),
            };
        }
        let prefix = match kind {
            OperandKind::Const | OperandKind::CellConst => "k",
            OperandKind::Slot | OperandKind::SlotDef => match window {
                Some(slot) => {
                    self.advance()?;
                    return Ok(slot);
                }
                None => "s",
            },
            OperandKind::Switch => "switch",
            OperandKind::FuncId => "fn",
            OperandKind::HostId => "host",
            OperandKind::CFuncId => "cfn",
            OperandKind::StringId => "str",
            OperandKind::NameId => "name",
            OperandKind::GlobalId => "global",
            OperandKind::RecordId => "record",
            OperandKind::WatchId => "watch",
            OperandKind::Feedback => "fb",
            OperandKind::Type => {
                let ty = self.cell_type(0)?;
                return Ok(i64::from(ty.id.0) << 1 | i64::from(ty.nullable));
            }
            OperandKind::Policy => return self.flags(NumberPolicy::NAMES),
            OperandKind::Mask => return self.flags(TruthMask::NAMES),
            OperandKind::Immediate => {
                if let Some(i) = self.immediate()? {
                    return Ok(i as i64);
                }
                return self.number(0, u16::MAX.into()).map(|n| n as i64);
            }
            OperandKind::TrapCode => {
                if let Token::Word(w) = self.token {
                    let Some(code) = TrapCode::from_text(w) else { return self.expected("a trap code") };
                    self.advance()?;
                    return Ok(code as i64);
                }
                return self.number(0, u16::MAX.into()).map(|n| n as i64);
            }
            _ => return self.number(i32::MIN.into(), u32::MAX.into()).map(|n| n as i64),
        };
        self.id(prefix).map(i64::from)
    }

    fn flags(&mut self, names: &[(&str, u16)]) -> Result<i64> {
        let mut bits = 0;
        loop {
            match self.token {
                Token::Word(w) => match names.iter().find(|(n, _)| *n == w) {
                    Some((_, bit)) => {
                        bits |= bit;
                        self.advance()?;
                    }
                    None => {
                        let names: Vec<&str> = names.iter().map(|(n, _)| *n).collect();
                        return self.expected(&format!("a flag ({})", names.join(", ")));
                    }
                },
                _ => bits |= self.u16()?,
            }
            if !self.eat("|")? {
                return Ok(bits.into());
            }
        }
    }
}

/// A number of decimal digits only, so that `c+5` or `L_1` are no registers or labels.
fn decimal(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
