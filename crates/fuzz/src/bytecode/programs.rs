//! Programs as trees: how they are made from a number, and made smaller.

use upshift_bytecode::testing::Random;

use crate::mochi::LONG;

/// What a statement does and with what: numbers that are brought into range where code is made of them, so that a program
/// stays one whatever is taken away from it.
pub type Genes = [usize; 5];

/// A statement.
#[derive(Clone, Debug)]
pub enum Stmt {
    /// Without blocks.
    Op(Genes),
    /// Two ways.
    If(Genes, Vec<Stmt>, Vec<Stmt>),
    /// Many ways.
    Switch(Genes, Vec<Vec<Stmt>>),
    /// A loop.
    Loop(Genes, Vec<Stmt>),
    /// Statements, and what handles what they throw.
    Try(Vec<Stmt>, Vec<Stmt>),
    /// Ends or continues one of the loops around, returns, or throws.
    Leave(Genes),
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it was made from.
    pub number: usize,
    /// How many variables are ints.
    pub ints: usize,
    /// How many are floats.
    pub floats: usize,
    /// Traps may happen outside handlers, too.
    pub risky: bool,
    /// The turns of loops: many, where there is but one loop.
    pub long: bool,
    /// What it does.
    pub body: Vec<Stmt>,
}

fn genes(r: &mut Random) -> Genes {
    // Some operands are much more common than others, as in programs.
    std::array::from_fn(|i| if i > 0 && r.one_in(2) { r.below(6) } else { r.below(1 << 16) })
}

impl Program {
    /// The program of a number.
    pub fn new(number: usize) -> Program {
        let r = &mut Random(number as u64 ^ 0x5EED_0000);
        let long = r.one_in(40);
        let mut program = Program {
            number,
            ints: 1 + r.below(12),
            floats: 1 + r.below(14),
            risky: r.one_in(3),
            long,
            body: Vec::new(),
        };
        if long {
            let depth = if r.one_in(2) { 1 } else { 2 };
            let body = block(r, 9, depth, false);
            program.body.push(Stmt::Loop(genes(r), body));
            return program;
        }
        program.body = block(r, 4, 0, false);
        // Most are short, as in `mochi`: the compiler's time grows with them.
        let large = r.one_in(LONG);
        for _ in 0..if large { 1 + r.below(2) } else { 1 } {
            let len = if large { 3 + r.below(16) } else { 2 + r.below(8) };
            let body = block(r, len, 1, false);
            program.body.push(Stmt::Loop(genes(r), body));
            program.body.extend(block(r, 3, 0, false));
        }
        program
    }
}

/// Statements inside so many loops; `tried`: inside a handler's range.
fn block(r: &mut Random, most: usize, depth: usize, tried: bool) -> Vec<Stmt> {
    let len = r.below(most + 1);
    let smaller = most / 2;
    (0..len)
        .map(|_| match r.below(24) {
            0..=2 if smaller > 0 => {
                let mut then = block(r, smaller, depth, tried);
                if r.one_in(4) && (depth > 0 || tried) {
                    then.push(Stmt::Leave(genes(r)));
                }
                let otherwise = if r.one_in(2) { Vec::new() } else { block(r, smaller, depth, tried) };
                Stmt::If(genes(r), then, otherwise)
            }
            3 if smaller > 0 && r.one_in(2) => {
                let cases = (0..2 + r.below(3)).map(|_| block(r, smaller, depth, tried)).collect();
                Stmt::Switch(genes(r), cases)
            }
            4 | 5 if smaller > 0 && depth < 2 => {
                let body = block(r, most, depth + 1, tried);
                Stmt::Loop(genes(r), body)
            }
            6 if smaller > 0 => Stmt::Try(block(r, most, depth, true), block(r, smaller, depth, tried)),
            _ => Stmt::Op(genes(r)),
        })
        .collect()
}

/// All programs with one statement less, or with one statement's parts in its place.
pub fn smaller(body: &[Stmt]) -> Vec<Vec<Stmt>> {
    let mut all = Vec::new();
    for (i, stmt) in body.iter().enumerate() {
        let with = |parts: Vec<Stmt>| [&body[..i], &parts, &body[i + 1..]].concat();
        all.push(with(Vec::new()));
        let inner = |make: &dyn Fn(Vec<Stmt>) -> Stmt, part: &[Stmt]| {
            smaller(part).into_iter().map(|part| with(vec![make(part)])).collect::<Vec<_>>()
        };
        match stmt {
            Stmt::Op(_) | Stmt::Leave(_) => {}
            Stmt::If(g, a, b) => {
                all.extend([with(a.clone()), with(b.clone())]);
                all.extend(inner(&|a| Stmt::If(*g, a, b.clone()), a));
                all.extend(inner(&|b| Stmt::If(*g, a.clone(), b), b));
            }
            Stmt::Switch(g, cases) => {
                all.extend(cases.iter().map(|case| with(case.clone())));
                for (k, case) in cases.iter().enumerate() {
                    let make = |case| {
                        let mut cases = cases.clone();
                        cases[k] = case;
                        Stmt::Switch(*g, cases)
                    };
                    all.extend(inner(&make, case));
                }
            }
            Stmt::Loop(g, a) => {
                all.push(with(a.clone()));
                all.extend(inner(&|a| Stmt::Loop(*g, a), a));
            }
            Stmt::Try(a, b) => {
                all.push(with(a.clone()));
                all.extend(inner(&|a| Stmt::Try(a, b.clone()), a));
                all.extend(inner(&|b| Stmt::Try(a.clone(), b), b));
            }
        }
    }
    all
}
