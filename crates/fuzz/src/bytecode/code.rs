//! From programs to bytecode: variables, blocks and loops. What stands in blocks is in `ops.rs`.

use upshift::bytecode::ValueType::{Float, Int};
use upshift::bytecode::builder::{FunctionBuilder, Label, ModuleBuilder, Reg};
use upshift::bytecode::{ANY, Module, Span, SwitchKey};

use super::programs::{Genes, Program, Stmt};
use super::shared::{ANY_T, Shared};

/// A loop around.
#[derive(Clone, Copy)]
pub struct Around {
    /// Where a turn ends.
    next: Label,
    /// Where the loop is left.
    out: Label,
    /// The counter and the header, where the header tests: a turn may go back from anywhere.
    start: Option<(Reg, Label)>,
}

/// A program that becomes code.
pub struct Lower<'a> {
    pub f: FunctionBuilder,
    pub s: &'a Shared,
    pub risky: bool,
    pub long: bool,
    /// Registers by bank: variables, counters and limits of loops (which are not written), temporaries of the blocks around.
    pub ints: Vec<Reg>,
    pub fixed_ints: Vec<Reg>,
    pub int_temps: Vec<Reg>,
    pub floats: Vec<Reg>,
    pub fixed_floats: Vec<Reg>,
    pub float_temps: Vec<Reg>,
    /// Values that were made for one use in this statement.
    pub once: Vec<Reg>,
    /// Cells that are numbers.
    pub cells: Vec<Reg>,
    pub list: Reg,
    pub float_list: Reg,
    pub bool_list: Reg,
    pub map: Reg,
    pub string_map: Reg,
    pub cell_list: Reg,
    pub text: Reg,
    pub other_text: Reg,
    pub closure: Reg,
    pub boxed: [Reg; 3],
    pub record: Reg,
    pub ref_int: Reg,
    pub ref_float: Reg,
    /// What caught values go into.
    pub caught: Reg,
    pub loops: Vec<Around>,
    pub handlers: usize,
    pub line: u32,
}

/// Picks a register by a number: by even ones from all, by odd ones a temporary, the youngest first.
pub fn pick(n: usize, [variables, fixed, temporaries]: [&[Reg]; 3]) -> Option<Reg> {
    let (odd, n) = (n % 2 == 1, n / 2);
    if odd && !temporaries.is_empty() {
        return temporaries.iter().rev().nth(n % temporaries.len()).copied();
    }
    let len = variables.len() + fixed.len() + temporaries.len();
    variables.iter().chain(fixed).chain(temporaries).nth(n.checked_rem(len)?).copied()
}

impl Lower<'_> {
    /// The next statement begins.
    pub fn line(&mut self) {
        for reg in self.once.drain(..) {
            self.f.free(reg);
        }
        self.line = (self.line + 1) % 1990;
        self.f.set_span(Span { source: self.s.source, start: self.line * 2, end: self.line * 2 + 1 });
    }

    /// An int to read. Now and then it is a value that nothing else reads, so that it dies where it is used.
    pub fn int(&mut self, n: usize) -> Reg {
        let old = pick(n, [&self.ints, &self.fixed_ints, &self.int_temps]).expect("there are ints");
        if n % 7 != 3 {
            return old;
        }
        let new = self.f.int();
        self.f.int_add_imm(new, old, 1);
        self.once.push(new);
        new
    }

    /// As [`Lower::int`].
    pub fn float(&mut self, n: usize) -> Reg {
        let old = pick(n, [&self.floats, &self.fixed_floats, &self.float_temps]).expect("there are floats");
        if n % 7 != 3 {
            return old;
        }
        let new = self.f.float();
        self.f.float_add(new, old, old);
        self.once.push(new);
        new
    }

    pub fn cell(&self, n: usize) -> Reg {
        self.cells[n % self.cells.len()]
    }

    /// An int to write: a variable, or a temporary of one of the blocks around, or a new one of this block.
    pub fn int_dst(&mut self, n: usize) -> Reg {
        if let Some(old) = pick(n, [&self.ints, &[], &self.int_temps])
            && n % 5 != 4
        {
            return old;
        }
        let new = self.f.int();
        self.int_temps.push(new);
        new
    }

    pub fn float_dst(&mut self, n: usize) -> Reg {
        if let Some(old) = pick(n, [&self.floats, &[], &self.float_temps])
            && n % 5 != 4
        {
            return old;
        }
        let new = self.f.float();
        self.float_temps.push(new);
        new
    }

    fn block(&mut self, stmts: &[Stmt]) {
        let (ints, floats) = (self.int_temps.len(), self.float_temps.len());
        for stmt in stmts {
            if !self.f.is_reachable() {
                break;
            }
            self.stmt(stmt);
        }
        for reg in self.int_temps.drain(ints..).chain(self.float_temps.drain(floats..)) {
            self.f.free(reg);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Op(genes) => self.op(*genes),
            Stmt::If(genes, then, otherwise) => {
                let (other, out) = (self.f.label(), self.f.label());
                self.branch(*genes, other);
                self.block(then);
                if otherwise.is_empty() {
                    self.f.bind(other);
                    return;
                }
                if self.f.is_reachable() {
                    self.f.jump(out);
                }
                self.f.bind(other);
                self.block(otherwise);
                self.f.bind(out);
            }
            Stmt::Switch(genes, cases) => {
                self.line();
                let (t, out) = (self.f.int(), self.f.label());
                let a = self.int(genes[2]);
                self.f.int_and_imm(t, a, 3);
                let labels: Vec<Label> = cases.iter().map(|_| self.f.label()).collect();
                // Keys far apart make a table of another sort.
                let step = if genes[4] % 2 == 0 { 1 } else { 1_000_000 };
                if step > 1 {
                    let big = self.f.int();
                    self.f.load_int(big, step);
                    self.f.int_mul(t, t, big);
                    self.f.free(big);
                }
                let keys =
                    labels.iter().enumerate().map(|(k, &l)| (SwitchKey::Int(k as i64 * step), l)).collect();
                let table = self.f.switch_table(keys, out);
                self.f.int_switch(t, table);
                self.f.free(t);
                for (label, case) in labels.into_iter().zip(cases) {
                    self.f.bind(label);
                    self.block(case);
                    if self.f.is_reachable() {
                        self.f.jump(out);
                    }
                }
                self.f.bind(out);
            }
            Stmt::Loop(genes, body) => self.a_loop(*genes, body),
            Stmt::Try(body, handler) => {
                let (start, end, target, out) =
                    (self.f.label(), self.f.label(), self.f.label(), self.f.label());
                self.f.bind(start);
                self.f.nop();
                self.handlers += 1;
                self.block(body);
                self.handlers -= 1;
                if self.f.is_reachable() {
                    self.f.jump(out);
                }
                self.f.bind(end);
                self.f.bind_reachable(target);
                self.f.handler(start, end, target, self.caught);
                self.line();
                // What was caught is the code of a trap or a number that was thrown.
                let x = self.f.float();
                self.f.unbox_number(x, self.caught);
                self.f.float_add(self.floats[0], self.floats[0], x);
                self.f.free(x);
                self.block(handler);
                self.f.bind(out);
            }
            Stmt::Leave([kind, d, a, b, _]) => {
                self.line();
                let (i, j) = (self.int(*a), self.int(*b));
                match (kind % 9, self.loops.is_empty()) {
                    (0, _) => self.f.return_int(i),
                    (1, _) => {
                        let t = self.f.int();
                        let j = if self.traps(*a) { t } else { j };
                        if j == t {
                            // Too much for most.
                            self.f.load_int(t, i64::MAX);
                        }
                        self.f.int_add_checked(t, i, j);
                        self.f.return_int(t);
                    }
                    (2 | 3, _) if self.handlers > 0 => self.f.throw(self.cell(*a)),
                    (4, _) => {
                        self.call(&[Int], &[i], false);
                        self.f.tail_call(self.s.next);
                    }
                    (_, true) => self.f.return_int(j),
                    (_, false) => {
                        let Around { next, out, start } =
                            self.loops[self.loops.len() - 1 - d % self.loops.len()];
                        match (start, a % 4) {
                            // A second way back.
                            (Some((counter, top)), 0 | 1) => {
                                self.f.int_add_imm(counter, counter, 1);
                                self.f.jump_loop(top);
                            }
                            (_, 0 | 2) => self.f.jump(next),
                            _ => self.f.jump(out),
                        }
                    }
                }
            }
        }
    }

    fn a_loop(&mut self, [kind, _, a, b, n]: Genes, body: &[Stmt]) {
        let turns = match (self.long, self.loops.is_empty()) {
            (false, _) => 1 + n as i64 % 9,
            (true, true) => 11_000 + n as i64 % 9000,
            (true, false) => 1 + n as i64 % 2,
        };
        let (top, next, out) = (self.f.label(), self.f.label(), self.f.label());
        let (i, limit, t) = (self.f.int(), self.f.int(), self.f.int());
        let (x, high, one, y) = (self.f.float(), self.f.float(), self.f.float(), self.f.float());
        let kind = if kind % 5 == 0 { 2 } else { kind % 18 };
        self.line();
        // By kind it counts an int up, or down, or a float up.
        let (down, floating) = (matches!(kind, 1 | 7), kind >= 13);
        self.f.load_int(i, if down { turns } else { 0 });
        self.f.load_int(limit, if down { 0 } else { turns });
        if floating {
            self.f.load_float(x, 0.0);
            self.f.load_float(one, 1.0);
            self.f.load_float(high, turns as f64);
            self.fixed_floats.extend([x, high]);
        }
        self.fixed_ints.extend([i, limit]);
        // A value that all turns use and one that the loop alone has.
        let hoisted = self.f.int();
        let (first, second) = (self.int(a), self.int(b));
        self.f.int_sub(hoisted, first, second);
        self.int_temps.push(hoisted);
        if b % 4 == 1 {
            // Straight to the header, from where the registers are not yet those of the loop.
            self.branch([a, 0, b, a, n], top);
            self.f.int_add_imm(hoisted, hoisted, 1);
        }
        self.f.begin_loop(top);
        if kind == 2 {
            self.f.int_le_branch(limit, i, out);
        }
        self.loops.push(Around { next, out, start: (kind == 2).then_some((i, top)) });
        self.block(body);
        self.loops.pop();
        self.f.bind(next);
        if self.f.is_reachable() {
            self.line();
            if floating {
                self.f.float_add(x, x, one);
            } else if kind == 3 {
                self.f.int_add_imm_checked(i, i, 1);
            } else if kind != 0 {
                self.f.int_add_imm(i, i, if down { -1 } else { 1 });
            }
            let last = if down { 0 } else { turns as i16 };
            let f = &mut self.f;
            match kind {
                0 => f.int_for_loop(i, limit, top),
                1 => f.int_gt_imm_loop(i, last, top),
                2 => f.jump_loop(top),
                3 => f.int_lt_loop(i, limit, top),
                4 => {
                    f.int_add_imm(t, i, 1);
                    f.int_le_loop(t, limit, top);
                }
                5 => f.int_lt_imm_loop(i, last, top),
                6 => f.int_ne_loop(i, limit, top),
                7 => {
                    f.int_add_imm(t, i, -1);
                    f.int_ge_imm_loop(t, last, top);
                }
                8 => f.int_ne_imm_loop(i, last, top),
                9 => {
                    f.int_lt(t, i, limit);
                    f.if_loop(t, top);
                }
                10 => {
                    f.int_le(t, limit, i);
                    f.unless_loop(t, top);
                }
                11 => {
                    f.int_lt(t, i, limit);
                    f.int_eq_imm_loop(t, 1, top);
                }
                12 => {
                    f.int_min(t, i, limit);
                    f.int_eq_loop(t, i, top);
                }
                13 => f.float_lt_loop(x, high, top),
                14 => f.float_ne_loop(x, high, top),
                15 => f.float_not_le_loop(high, x, top),
                16 => {
                    f.float_add(y, x, one);
                    if n % 2 == 0 { f.float_not_lt_loop(high, y, top) } else { f.float_le_loop(y, high, top) }
                }
                _ => {
                    f.float_min(y, high, x);
                    f.float_eq_loop(y, x, top);
                }
            }
        }
        self.f.bind(out);
        self.int_temps.retain(|&t| t != hoisted);
        self.fixed_ints.truncate(self.fixed_ints.len() - 2);
        if floating {
            self.fixed_floats.truncate(self.fixed_floats.len() - 2);
        }
        for reg in [i, limit, t, hoisted, x, high, one, y] {
            self.f.free(reg);
        }
    }

    /// What the variables, lists and objects hold, as one int.
    fn hash(&mut self) {
        let (h, k, t, x) = (self.f.int(), self.f.int(), self.f.int(), self.f.float());
        self.f.load_int(h, 0x1CE4_E5B9);
        self.f.load_int(k, 0x5851_F42D_4C95_7F2D);
        for i in self.ints.clone() {
            self.mix(h, k, i);
        }
        for x in self.floats.clone() {
            self.mix_float(h, k, t, x);
        }
        for c in self.cells.clone() {
            self.f.unbox_number(x, c);
            self.mix_float(h, k, t, x);
        }
        self.f.record_int_get(t, self.record, 0);
        self.mix(h, k, t);
        self.f.record_float_get(x, self.record, 1);
        self.mix_float(h, k, t, x);
        self.f.ref_int_get(t, self.ref_int);
        self.mix(h, k, t);
        self.f.map_len(t, self.map);
        self.mix(h, k, t);
        let (i, n) = (self.f.int(), self.f.int());
        for (which, list) in [self.list, self.float_list, self.bool_list].into_iter().enumerate() {
            let top = self.f.label();
            self.f.list_len(n, list);
            self.f.load_int(i, 0);
            self.f.begin_loop(top);
            match which {
                0 => self.f.list_int_get(t, list, i),
                1 => {
                    self.f.list_float_get(x, list, i);
                    self.mix_float(h, k, t, x);
                }
                _ => self.f.list_bool_get(t, list, i),
            }
            self.mix(h, k, t);
            self.f.int_for_loop(i, n, top);
        }
        self.f.return_int(h);
    }

    fn mix(&mut self, h: Reg, k: Reg, value: Reg) {
        self.f.int_mul(h, h, k);
        self.f.int_xor(h, h, value);
    }

    /// As [`Lower::mix`]; all NaNs are one.
    fn mix_float(&mut self, h: Reg, k: Reg, t: Reg, value: Reg) {
        let nan = self.f.label();
        self.f.load_int(t, 77);
        self.f.float_ne_branch(value, value, nan);
        self.f.int_from_bits(t, value);
        self.f.bind(nan);
        self.mix(h, k, t);
    }
}

/// Puts a program into a module.
fn lower(m: &mut ModuleBuilder, s: &Shared, program: &Program) {
    let signature = m.signature(&[Int, Float], Some(Int));
    let id = m.declare(&format!("p{}", program.number), signature, None);
    let mut f = m.define(id);
    f.set_span(Span { source: s.source, start: 0, end: 1 });
    let (n, y) = (f.param(0), f.param(1));
    let string = m.string("a text of this length");
    let cells: Vec<Reg> = (0..3).map(|_| f.cell(ANY)).collect();
    let ints = [vec![n], (1..program.ints).map(|_| f.int()).collect()].concat();
    let floats = [vec![y], (1..program.floats).map(|_| f.float()).collect()].concat();
    for (k, &i) in ints.iter().enumerate().skip(1) {
        match k % 3 {
            0 => f.load_int(i, k as i64 * 0x1234_5677),
            1 => f.int_add_imm(i, n, k as i16),
            _ => f.int_shr_s_imm(i, n, k as i16 * 5),
        }
    }
    for (k, &x) in floats.iter().enumerate().skip(1) {
        match k % 3 {
            0 => f.load_float(x, k as f64 * 0.75),
            1 => f.float_add(x, y, y),
            _ => f.float_from_int(x, n),
        }
    }
    for (k, &c) in cells.iter().enumerate() {
        if k == 1 { f.box_float(c, y) } else { f.box_int(c, n) }
    }
    let mut lower = Lower {
        list: f.cell(s.ints),
        float_list: f.cell(s.floats),
        bool_list: f.cell(s.bools),
        map: f.cell(s.map),
        string_map: f.cell(s.strings),
        cell_list: f.cell(s.cells),
        text: f.cell(s.string),
        other_text: f.cell(s.string),
        closure: f.cell(s.closure),
        boxed: s.boxed_types.map(|ty| f.cell(ty)),
        record: f.cell(s.record_type),
        ref_int: f.cell(s.ref_int),
        ref_float: f.cell(s.ref_float),
        caught: f.cell(ANY),
        f,
        s,
        risky: program.risky,
        long: program.long,
        ints,
        fixed_ints: Vec::new(),
        int_temps: Vec::new(),
        floats,
        fixed_floats: Vec::new(),
        float_temps: Vec::new(),
        once: Vec::new(),
        cells,
        loops: Vec::new(),
        handlers: 0,
        line: 0,
    };
    lower.f.list_int_new(lower.list, 8);
    lower.f.list_float_new(lower.float_list, 0);
    lower.f.list_bool_new(lower.bool_list, 9);
    for k in 0..8 {
        let (i, x) = (lower.int(k), lower.float(k));
        lower.f.list_int_push(lower.list, i);
        lower.f.list_float_push(lower.float_list, x);
        lower.f.list_bool_push(lower.bool_list, i);
    }
    lower.f.map_new(lower.map, 0, s.map);
    let key = lower.f.int();
    for k in [2, -3, 1 << 40, 0, 1] {
        lower.f.load_int(key, k);
        lower.f.map_int_set(lower.map, key, lower.cells[0]);
    }
    lower.f.free(key);
    lower.f.list_cell_new(lower.cell_list, 3, s.cells);
    for k in 0..8 {
        let c = lower.cell(k);
        lower.f.list_cell_push(lower.cell_list, c);
    }
    lower.f.string_const(lower.text, string);
    let string = m.string("ä textö of that length");
    lower.f.string_const(lower.other_text, string);
    lower.f.map_new(lower.string_map, 0, s.strings);
    lower.f.map_string_set(lower.string_map, lower.text, lower.cells[1]);
    lower.f.map_string_set(lower.string_map, lower.other_text, lower.cells[0]);
    lower.f.cell_move(FunctionBuilder::cell_arguments(1)[0], lower.cells[0]);
    lower.f.closure_new(lower.closure, s.captured);
    for (closure, callee) in lower.boxed.into_iter().zip(s.boxed) {
        lower.f.cell_move(FunctionBuilder::cell_arguments(1)[0], lower.cells[1]);
        lower.f.closure_new(closure, callee);
    }
    lower.call(&[Int, Float, ANY_T], &[lower.ints[0], lower.floats[0], lower.cells[1]], false);
    lower.f.record_new(lower.record, s.record);
    lower.f.ref_int_new(lower.ref_int, lower.ints[0]);
    lower.f.ref_float_new(lower.ref_float, lower.floats[0]);
    lower.f.global_cell_set(lower.cells[2], s.global_cell);
    lower.block(&program.body);
    if lower.f.is_reachable() {
        lower.hash();
    }
    lower.f.finish(m);
}

/// A module of programs: functions that are named `p` and their number.
pub fn module(programs: &[Program]) -> Module {
    let mut m = ModuleBuilder::new("t");
    let shared = Shared::new(&mut m);
    for program in programs {
        lower(&mut m, &shared, program);
    }
    m.finish()
}
