//! Reads the text form.
//!
//! A statement is a line. The reader takes what the printer writes, and a little more: spaces and comments anywhere, and
//! statements in any order of states, sites and blocks. Whether the function makes sense is the verifier's business; here a name that
//! is used must be defined, and only once.

use std::collections::BTreeMap;
use std::fmt;

use cranelift_entity::{EntityRef, PrimaryMap};
use smallvec::SmallVec;
use upshift_runtime::value::Value as Cell;

use super::{Meaning, NAMED_CELLS, entity, meaning};
use crate::helper::Helper;
use crate::ir::*;

/// The first number that no entity in a text may have, so that no text makes large tables.
pub(super) const LIMIT: u32 = 1 << 20;

/// Why a text is no function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for Error {}

type Result<T> = std::result::Result<T, Error>;

/// The function that a text holds.
pub fn parse(text: &str) -> Result<Function> {
    let mut parser = Parser::default();
    let mut phase = Phase::Before;
    let mut number = 0;
    for line in text.lines() {
        number += 1;
        let tokens = lex(line).map_err(|message| Error { line: number, message })?;
        if tokens.is_empty() {
            continue;
        }
        let mut line = Line { tokens: &tokens, at: 0, number };
        match phase {
            Phase::Before => {
                parser.header(&mut line)?;
                phase = Phase::Inside;
            }
            Phase::Inside if line.accept('}') => phase = Phase::Behind,
            Phase::Inside => parser.statement(&mut line)?,
            Phase::Behind => return line.error("text behind the function"),
        }
        line.end()?;
    }
    match phase {
        Phase::Before => Err(Error { line: number, message: "no function".into() }),
        Phase::Inside => Err(Error { line: number, message: "the function does not end".into() }),
        Phase::Behind => parser.finish(),
    }
}

/// The bits of a value, as [`super::print_bits`] writes them.
pub fn parse_bits(ty: Type, text: &str) -> Result<u64> {
    let tokens = lex(text).map_err(|message| Error { line: 1, message })?;
    let mut line = Line { tokens: &tokens, at: 0, number: 1 };
    let bits = match ty {
        Type::Int | Type::Ptr => line.i64()?,
        Type::Float => line.float()?,
        Type::Cell => line.cell()?,
    };
    line.end()?;
    Ok(bits as u64)
}

#[derive(Clone, Copy)]
enum Phase {
    Before,
    Inside,
    Behind,
}

// ---- Tokens ----

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    /// Digits with what belongs to a number: sign, point, exponent, `0x`.
    Number(String),
    String(String),
    Arrow,
    Punct(char),
}

fn lex(line: &str) -> std::result::Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            ';' => break,
            c if c.is_whitespace() => {}
            '-' if next == Some('>') => {
                chars.next();
                tokens.push(Token::Arrow);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|&c| c.is_ascii_alphanumeric() || c == '_') {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c if c.is_ascii_digit() || (c == '-' && next.is_some_and(|n| n.is_ascii_digit())) => {
                let mut number = String::from(c);
                let mut last = c;
                while let Some(c) = chars.next_if(|&c| {
                    c.is_ascii_alphanumeric() || c == '.' || (c == '-' && matches!(last, 'e' | 'E'))
                }) {
                    number.push(c);
                    last = c;
                }
                tokens.push(Token::Number(number));
            }
            '"' => tokens.push(Token::String(string(&mut chars)?)),
            '(' | ')' | '[' | ']' | '{' | '}' | ':' | ',' | '=' | '+' | '-' | '.' | '#' => {
                tokens.push(Token::Punct(c));
            }
            c => return Err(format!("unexpected character {c:?}")),
        }
    }
    Ok(tokens)
}

/// The rest of a string, behind its opening quote.
fn string(chars: &mut impl Iterator<Item = char>) -> std::result::Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next().ok_or("a string without end")? {
            '"' => return Ok(text),
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\')) => text.push(c),
                Some('u') => {
                    let digits: String = chars.by_ref().skip(1).take_while(|&c| c != '}').take(8).collect();
                    let c = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    text.push(c.ok_or("no such character")?);
                }
                _ => return Err("unknown escape in a string".into()),
            },
            c => text.push(c),
        }
    }
}

/// The tokens of a line, from where the reader is.
struct Line<'a> {
    tokens: &'a [Token],
    at: usize,
    number: usize,
}

impl<'a> Line<'a> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Error { line: self.number, message: message.into() })
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn end(&self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.error("more on the line than expected"),
        }
    }

    fn accept(&mut self, c: char) -> bool {
        let is = self.peek() == Some(&Token::Punct(c));
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, c: char) -> Result<()> {
        if self.accept(c) { Ok(()) } else { self.error(format!("expected `{c}`")) }
    }

    fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn word(&mut self, what: &str) -> Result<&'a str> {
        match self.peek_word() {
            Some(word) => {
                self.at += 1;
                Ok(word)
            }
            None => self.error(format!("expected {what}")),
        }
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let is = self.peek_word() == Some(word);
        self.at += usize::from(is);
        is
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.accept_word(word) { Ok(()) } else { self.error(format!("expected `{word}`")) }
    }

    /// One of the items, by its name.
    fn name<T: Copy>(&mut self, items: &[T], name: impl Fn(T) -> &'static str, what: &str) -> Result<T> {
        let word = self.word(what)?;
        match items.iter().find(|&&i| name(i) == word) {
            Some(&item) => Ok(item),
            None => self.error(format!("`{word}` is not {what}")),
        }
    }

    fn number_text(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(Token::Number(number)) => {
                self.at += 1;
                Ok(number)
            }
            _ => self.error("expected a number"),
        }
    }

    fn u32(&mut self) -> Result<u32> {
        let text = self.number_text()?;
        text.parse().or_else(|_| self.error(format!("{text} is no number of 32 bits")))
    }

    /// A decimal number of 64 bits with sign, or 64 bits in hexadecimal.
    fn i64(&mut self) -> Result<i64> {
        let text = self.number_text()?;
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(|n| n as i64),
            None => text.parse().ok(),
        };
        number.map_or_else(|| self.error(format!("{text} is no number of 64 bits")), Ok)
    }

    /// Bits of a float.
    fn float(&mut self) -> Result<i64> {
        let text = self.number_text()?;
        let bits = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok().map(f64::to_bits),
        };
        bits.map_or_else(|| self.error(format!("{text} is no float")), |b| Ok(b as i64))
    }

    /// Bits of a cell.
    fn cell(&mut self) -> Result<i64> {
        if self.peek_word().is_some() {
            let named = self.name(NAMED_CELLS, |i| i.text(), "a cell")?;
            return Ok(Cell::immediate(named).bits() as i64);
        }
        if let Some(Token::Number(text)) = self.peek()
            && !text.starts_with("0x")
        {
            self.at += 1;
            let small = text.parse().ok().and_then(Cell::small_int);
            let float = || text.contains(['.', 'e']).then(|| text.parse().ok().map(Cell::float)).flatten();
            return match small.or_else(float) {
                Some(cell) => Ok(cell.bits() as i64),
                None => self.error(format!("{text} is no cell")),
            };
        }
        self.i64()
    }

    fn ty(&mut self) -> Result<Type> {
        self.name(&[Type::Int, Type::Float, Type::Cell, Type::Ptr], Type::name, "a type")
    }

    fn result(&mut self) -> Result<Option<Type>> {
        if self.peek() != Some(&Token::Arrow) {
            return Ok(None);
        }
        self.at += 1;
        self.ty().map(Some)
    }

    fn peek_entity<T: EntityRef>(&self, prefix: &str) -> Option<T> {
        self.peek_word().and_then(|w| entity(w, prefix))
    }

    fn accept_entity<T: EntityRef>(&mut self, prefix: &str) -> Option<T> {
        let found = self.peek_entity(prefix);
        self.at += usize::from(found.is_some());
        found
    }

    fn entity<T: EntityRef>(&mut self, prefix: &str) -> Result<T> {
        match self.accept_entity(prefix) {
            Some(found) => Ok(found),
            None => self.error(format!("expected `{prefix}` with a number")),
        }
    }

    fn value(&mut self) -> Result<Value> {
        self.entity("v")
    }

    /// Items separated by commas up to a closing character.
    fn items<T>(&mut self, close: char, mut item: impl FnMut(&mut Line<'a>) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if self.accept(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.accept(',') {
                break;
            }
        }
        self.expect(close)?;
        Ok(items)
    }

    fn numbers(&mut self) -> Result<Vec<u32>> {
        self.expect('[')?;
        self.items(']', Line::u32)
    }

    fn target(&mut self) -> Result<Target> {
        let block = self.entity("block")?;
        let args = if self.accept('(') { self.items(')', Line::value)? } else { Vec::new() };
        Ok(Target { block, args: SmallVec::from_vec(args) })
    }
}

// ---- Statements ----

/// A value as its definition says: the type of an instruction's result may follow from the rest of the text.
struct Defined {
    def: Def,
    ty: Option<Type>,
    line: usize,
}

/// What is read so far. References are checked at the end, since everything may be used above where it is defined.
#[derive(Default)]
struct Parser {
    func: Function,
    values: BTreeMap<Value, Defined>,
    blocks: BTreeMap<Block, BlockData>,
    states: BTreeMap<State, StateData>,
    sites: BTreeMap<Site, SiteData>,
    block: Option<Block>,
    /// The line of each instruction, and of each state.
    inst_lines: Vec<usize>,
    state_lines: BTreeMap<State, usize>,
}

impl Parser {
    fn header(&mut self, line: &mut Line<'_>) -> Result<()> {
        line.expect_word("function")?;
        match line.peek() {
            Some(Token::String(name)) => self.func.name.clone_from(name),
            _ => return line.error("expected the function's name"),
        }
        line.at += 1;
        self.func.result = line.result()?;
        line.expect('{')
    }

    fn statement(&mut self, line: &mut Line<'_>) -> Result<()> {
        if let Some(state) = line.accept_entity("state") {
            self.state(line, state)
        } else if let Some(site) = line.accept_entity("site") {
            self.site(line, site)
        } else if let Some(block) = line.accept_entity("block") {
            self.start_block(line, block)
        } else if let Some(block) = self.block {
            self.inst(line, block)
        } else if line.accept_word("params") {
            self.func.params = line.numbers()?;
            Ok(())
        } else if line.accept_word("osr") {
            self.func.osr = Some(line.u32()?);
            Ok(())
        } else if line.accept_word("watches") {
            self.func.watches = line.numbers()?;
            if self.func.watches.is_sorted_by(|a, b| a < b) {
                Ok(())
            } else {
                line.error("watches are named once, in the order of their numbers")
            }
        } else {
            line.error("expected a state, a site or a block")
        }
    }

    fn state(&mut self, line: &mut Line<'_>, state: State) -> Result<()> {
        line.expect('=')?;
        line.expect_word("fn")?;
        let function = line.u32()?;
        line.expect_word("word")?;
        let word = line.u32()?;
        let origin = if line.accept_word("for") {
            line.expect_word("fn")?;
            let function = line.u32()?;
            line.expect_word("word")?;
            Some((function, line.u32()?))
        } else {
            None
        };
        line.expect_word("base")?;
        let base = line.u32()?;
        let end = if line.accept_word("end") { line.u32()? } else { u32::MAX };
        let parent: Option<State> =
            if line.accept_word("parent") { Some(line.entity("state")?) } else { None };
        line.expect('[')?;
        let slots = line.items(']', |line| {
            let slot = line.u32()?;
            line.expect(':')?;
            Ok((slot, line.value()?))
        })?;
        self.state_lines.insert(state, line.number);
        let data = StateData { parent: parent.into(), function, word, origin, base, end, slots };
        match self.states.insert(state, data) {
            Some(_) => line.error(format!("{state} is defined twice")),
            None => Ok(()),
        }
    }

    fn site(&mut self, line: &mut Line<'_>, site: Site) -> Result<()> {
        line.expect('=')?;
        let routine = if line.accept_word("routine") { line.u32()? } else { u32::MAX };
        let kind = line.name(RoutineKind::NAMES, |n| n.1, "a kind of routine")?.0;
        let slot = if line.accept_word("slot") { line.u32()? } else { u32::MAX };
        let uses = if line.accept_word("uses") { Some(line.numbers()?.into()) } else { None };
        let callee = if line.accept_word("callee") { line.u32()? } else { 0 };
        let header = if line.accept_word("header") { line.u32()? } else { 0 };
        let params = if line.accept_word("params") { line.numbers()? } else { Vec::new() };
        let result = line.result()?;
        let effects = SiteEffects {
            writes: line.accept_word("writes"),
            own: line.accept_word("own"),
            grows: line.accept_word("grows"),
            reads: line.accept_word("reads"),
            collects: line.accept_word("collects"),
            calls: line.accept_word("calls"),
            new: line.accept_word("new"),
        };
        let data =
            SiteData { routine, kind, slot, uses, result, callee, params: params.into(), header, effects };
        match self.sites.insert(site, data) {
            Some(_) => line.error(format!("{site} is defined twice")),
            None => Ok(()),
        }
    }

    fn start_block(&mut self, line: &mut Line<'_>, block: Block) -> Result<()> {
        let mut data = BlockData::default();
        let params = if line.accept('(') {
            line.items(')', |line| {
                let value = line.value()?;
                line.expect(':')?;
                Ok((value, line.ty()?))
            })?
        } else {
            Vec::new()
        };
        for (i, (value, ty)) in params.into_iter().enumerate() {
            self.define(line, value, Def::Param(block, i as u32), Some(ty))?;
            data.params.push(value);
        }
        data.cold = line.accept_word("cold");
        line.expect(':')?;
        self.block = Some(block);
        self.func.layout.push(block);
        match self.blocks.insert(block, data) {
            Some(_) => line.error(format!("{block} is defined twice")),
            None => Ok(()),
        }
    }

    fn define(&mut self, line: &Line<'_>, value: Value, def: Def, ty: Option<Type>) -> Result<()> {
        match self.values.insert(value, Defined { def, ty, line: line.number }) {
            Some(_) => line.error(format!("{value} is defined twice")),
            None => Ok(()),
        }
    }

    fn inst(&mut self, line: &mut Line<'_>, block: Block) -> Result<()> {
        let inst = self.func.insts.next_key();
        let result: Option<Value> = line.accept_entity("v");
        if let Some(value) = result {
            let ty = if line.accept(':') { Some(line.ty()?) } else { None };
            line.expect('=')?;
            self.define(line, value, Def::Inst(inst), ty)?;
        }
        let mnemonic = line.word("an op")?;
        let Some(op) = Op::from_mnemonic(mnemonic) else {
            return line.error(format!("there is no op `{mnemonic}`"));
        };
        let mut data = InstData::new(op, &[]);
        data.result = result.into();
        if line.accept('.') {
            let class = line.name(Class::ALL, Class::name, "a class of memory")?;
            line.expect('.')?;
            let width = line.name(Width::ALL, Width::name, "a width")?;
            data.access = Some(Access { class, width });
        }
        self.operands(line, &mut data)?;
        data.state = line.accept_entity("state").into();
        data.site = line.accept_entity("site").into();
        self.func.insts.push(data);
        self.inst_lines.push(line.number);
        if let Some(block) = self.blocks.get_mut(&block) {
            block.insts.push(inst);
        }
        Ok(())
    }

    /// Operands, immediate and targets.
    fn operands(&mut self, line: &mut Line<'_>, data: &mut InstData) -> Result<()> {
        let bare = line.accept('#');
        let meaning = if bare { Meaning::Nothing } else { meaning(data.op) };
        if bare {
            data.imm = line.i64()?;
        }
        // Whether an item was read, so that a comma is needed before the next one.
        let mut first = true;
        match meaning {
            Meaning::Nothing | Meaning::Reason | Meaning::Natural => {}
            Meaning::Int | Meaning::Number | Meaning::Header => data.imm = line.i64()?,
            Meaning::Float => data.imm = line.float()?,
            Meaning::Cell => data.imm = line.cell()?,
            Meaning::Cond => data.imm = line.name(Cond::ALL, Cond::name, "a condition")? as i64,
            Meaning::Helper => data.imm = line.name(Helper::ALL, |h| h.info().name, "a helper")? as i64,
            Meaning::Place => {
                line.expect_word("fn")?;
                let function = line.u32()?;
                line.expect_word("word")?;
                data.imm = (u64::from(function) << 32 | u64::from(line.u32()?)) as i64;
            }
            Meaning::Offset | Meaning::Element => {
                data.args.push(line.value()?);
                if meaning == Meaning::Element {
                    line.expect('[')?;
                    data.args.push(line.value()?);
                    line.expect(']')?;
                }
                data.imm = offset(line)?;
                first = false;
            }
            Meaning::Cases => {
                data.args.push(line.value()?);
                line.expect('[')?;
                let cases = line.items(']', |line| {
                    let case = line.i64()?;
                    line.expect(':')?;
                    Ok((case, line.target()?))
                })?;
                data.imm = self.func.cases.len() as i64;
                self.func.cases.push(cases.iter().map(|c| c.0).collect());
                data.targets.extend(cases.into_iter().map(|c| c.1));
                first = false;
            }
        }
        loop {
            let item = match (first, line.peek()) {
                (false, _) => line.accept(','),
                (true, _) => {
                    line.peek_entity::<Value>("v").is_some() || line.peek_entity::<Block>("block").is_some()
                }
            };
            if !item {
                break;
            }
            first = false;
            if let Some(value) = line.accept_entity("v") {
                if !data.targets.is_empty() {
                    return line.error("operands stand before targets");
                }
                data.args.push(value);
            } else {
                data.targets.push(line.target()?);
            }
        }
        if meaning == Meaning::Reason {
            data.imm = line.name(Reason::ALL, Reason::name, "a reason")? as i64;
        }
        if meaning == Meaning::Natural {
            data.imm = i64::from(line.accept_word("natural"));
        }
        Ok(())
    }

    // ---- The end ----

    fn finish(self) -> Result<Function> {
        self.references()?;
        let mut func = self.func;
        func.states = dense(self.states, || StateData {
            parent: None.into(),
            function: 0,
            word: 0,
            origin: None,
            base: 0,
            end: u32::MAX,
            slots: Vec::new(),
        });
        func.sites = dense(self.sites, || SiteData::plain(u32::MAX));
        func.blocks = dense(self.blocks, BlockData::default);
        let mut values = BTreeMap::new();
        for (value, defined) in self.values {
            let natural = match defined.def {
                Def::Inst(inst) => func.result_type(&func.insts[inst]),
                Def::Param(..) => None,
            };
            let Some(ty) = defined.ty.or(natural) else {
                return Err(Error {
                    line: defined.line,
                    message: format!("the type of {value} is not known"),
                });
            };
            values.insert(value, ValueData { ty, def: defined.def });
        }
        // Numbers that are not used belong to an instruction in no block, as those of a removed one would.
        let nothing = func.insts.next_key();
        func.values = dense(values, || ValueData { ty: Type::Int, def: Def::Inst(nothing) });
        func.insts.push(InstData::new(Op::Iconst, &[]));
        Ok(func)
    }

    /// Everything that is named is defined.
    fn references(&self) -> Result<()> {
        let value = |v: Value, line: usize| self.known(self.values.contains_key(&v), v, line);
        for (data, &line) in self.func.insts.values().zip(&self.inst_lines) {
            for &v in data.args.iter().chain(data.targets.iter().flat_map(|t| &t.args)) {
                value(v, line)?;
            }
            for target in &data.targets {
                self.known(self.blocks.contains_key(&target.block), target.block, line)?;
            }
            if let Some(state) = data.state.expand() {
                self.known(self.states.contains_key(&state), state, line)?;
            }
            if let Some(site) = data.site.expand() {
                self.known(self.sites.contains_key(&site), site, line)?;
            }
        }
        for (state, data) in &self.states {
            let line = self.state_lines.get(state).copied().unwrap_or(0);
            if let Some(parent) = data.parent.expand() {
                self.known(self.states.contains_key(&parent), parent, line)?;
            }
            for &(_, v) in &data.slots {
                value(v, line)?;
            }
        }
        Ok(())
    }

    fn known(&self, is: bool, name: impl fmt::Display, line: usize) -> Result<()> {
        if is { Ok(()) } else { Err(Error { line, message: format!("{name} is not defined") }) }
    }
}

/// `+ 8`, `- 8` or nothing.
fn offset(line: &mut Line<'_>) -> Result<i64> {
    let negative = line.accept('-');
    if !negative && !line.accept('+') {
        return Ok(0);
    }
    let text = line.number_text()?;
    let sign = if negative { -1 } else { 1 };
    let number = text.parse::<u64>().ok().and_then(|n| i64::try_from(i128::from(n) * sign).ok());
    number.map_or_else(|| line.error(format!("{text} is no offset")), Ok)
}

/// A table of the entries, with `fill` for numbers that are not used.
fn dense<K: EntityRef, V>(entries: BTreeMap<K, V>, fill: impl Fn() -> V) -> PrimaryMap<K, V> {
    let mut table: PrimaryMap<K, V> = PrimaryMap::new();
    for (key, data) in entries {
        while table.len() < key.index() {
            table.push(fill());
        }
        table.push(data);
    }
    table
}
