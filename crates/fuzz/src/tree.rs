//! Programs as trees of text: what the generator makes, what is rendered, and what the reducer takes apart.
//!
//! A statement is text with expressions and blocks in it, an expression is text with expressions in it. So neither rendering nor
//! reduction knows the language's grammar: a statement can go, a statement can give way to the contents of its block, an
//! expression can give way to the plainest one of its type or to a part of the same type. Since the language lets any program run
//! (undeclared names are null, types are hints), each of these leaves a program.

use std::fmt::Write;

/// The type of an expression, as the generator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// An int.
    Int,
    /// A float.
    Float,
    /// A string that is not empty.
    Text,
    /// A bool.
    Bool,
    /// A list that is not empty.
    List(Box<Type>),
    /// A map from ints.
    IntMap(Box<Type>),
    /// A map from strings.
    TextMap(Box<Type>),
    /// A record by number.
    Record(usize),
    /// A union by number.
    Union(usize),
    /// A function.
    Function(Vec<Type>, Box<Type>),
    /// An int or a float behind `any`.
    Number,
    /// Anything behind `any`.
    Any,
}

/// A part of a statement or of an expression.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// An expression.
    Expr(Expr),
    /// Statements in braces.
    Block(Vec<Stmt>),
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Its type.
    pub ty: Type,
    /// Where its value is an int: the largest magnitude that it may have.
    pub bound: f64,
    /// What it consists of.
    pub parts: Vec<Part>,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt(pub Vec<Part>);

/// A program.
pub type Program = Vec<Stmt>;

impl From<&str> for Part {
    fn from(text: &str) -> Part {
        Part::Text(text.into())
    }
}
impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::Text(text)
    }
}
impl From<Expr> for Part {
    fn from(expr: Expr) -> Part {
        Part::Expr(expr)
    }
}
impl From<Vec<Stmt>> for Part {
    fn from(block: Vec<Stmt>) -> Part {
        Part::Block(block)
    }
}

/// A list of parts from texts, expressions and blocks.
#[macro_export]
macro_rules! parts {
    ($($part:expr),* $(,)?) => { vec![$($crate::tree::Part::from($part)),*] };
}

/// The program's text.
pub fn render(program: &[Stmt]) -> String {
    let mut text = String::new();
    for stmt in program {
        write_stmt(stmt, 0, &mut text);
    }
    text
}

fn write_stmt(stmt: &Stmt, indent: usize, text: &mut String) {
    let _ = write!(text, "{:indent$}", "");
    write_parts(&stmt.0, indent, text);
    text.push('\n');
}

fn write_parts(parts: &[Part], indent: usize, text: &mut String) {
    for part in parts {
        match part {
            // A statement may have several lines.
            Part::Text(t) => text.push_str(&t.replace('\n', &format!("\n{:indent$}", ""))),
            Part::Expr(e) => write_parts(&e.parts, indent, text),
            Part::Block(block) => {
                text.push_str("{\n");
                for stmt in block {
                    write_stmt(stmt, indent + 2, text);
                }
                let _ = write!(text, "{:indent$}}}", "");
            }
        }
    }
}

/// Calls `f` with each block, outer ones first, until it returns true; whether it did.
fn each_block(block: &mut Vec<Stmt>, f: &mut dyn FnMut(&mut Vec<Stmt>) -> bool) -> bool {
    fn inside(parts: &mut [Part], f: &mut dyn FnMut(&mut Vec<Stmt>) -> bool) -> bool {
        parts.iter_mut().any(|part| match part {
            Part::Text(_) => false,
            Part::Expr(e) => inside(&mut e.parts, f),
            Part::Block(block) => each_block(block, f),
        })
    }
    f(block) || block.iter_mut().any(|stmt| inside(&mut stmt.0, f))
}

/// Calls `f` with each expression, outer ones first, until it returns true; whether it did.
fn each_expr(block: &mut [Stmt], f: &mut dyn FnMut(&mut Expr) -> bool) -> bool {
    fn inside(parts: &mut [Part], f: &mut dyn FnMut(&mut Expr) -> bool) -> bool {
        parts.iter_mut().any(|part| match part {
            Part::Text(_) => false,
            Part::Expr(e) => f(e) || inside(&mut e.parts, f),
            Part::Block(block) => each_expr(block, f),
        })
    }
    block.iter_mut().any(|stmt| inside(&mut stmt.0, f))
}

/// The number of statements in the block with this number; `None` beyond the last.
pub fn block_len(program: &mut Program, number: usize) -> Option<usize> {
    let (mut at, mut len) = (0, None);
    each_block(program, &mut |block| {
        at += 1;
        if at > number {
            len = Some(block.len());
        }
        at > number
    });
    len
}

/// Without some statements of one block.
pub fn without(program: &Program, number: usize, range: std::ops::Range<usize>) -> Program {
    let (mut at, mut program) = (0, program.clone());
    each_block(&mut program, &mut |block| {
        at += 1;
        if at > number {
            block.drain(range.clone());
        }
        at > number
    });
    program
}

/// The programs in which one statement of one block gave way to the contents of its blocks.
pub fn unwrapped(program: &Program, number: usize, index: usize) -> Vec<Program> {
    let mut found = Vec::new();
    let mut which = 0;
    loop {
        let (mut at, mut done, mut copy) = (0, false, program.clone());
        each_block(&mut copy, &mut |block| {
            at += 1;
            if at > number {
                let blocks: Vec<Vec<Stmt>> = block[index]
                    .0
                    .iter()
                    .filter_map(|p| if let Part::Block(b) = p { Some(b.clone()) } else { None })
                    .collect();
                if let Some(contents) = blocks.get(which) {
                    block.splice(index..=index, contents.clone());
                    done = true;
                }
            }
            at > number
        });
        if !done {
            return found;
        }
        found.push(copy);
        which += 1;
    }
}

/// The programs in which the expression with this number gave way to a plainer one; `None` beyond the last expression.
pub fn plainer(program: &Program, number: usize) -> Option<Vec<Program>> {
    let (mut at, mut instead) = (0, None);
    each_expr(&mut program.clone(), &mut |expr| {
        at += 1;
        if at > number {
            instead = Some(candidates(expr));
        }
        at > number
    });
    let replace = |with: Expr| {
        let (mut at, mut copy) = (0, program.clone());
        each_expr(&mut copy, &mut |expr| {
            at += 1;
            if at > number {
                *expr = with.clone();
            }
            at > number
        });
        copy
    };
    Some(instead?.into_iter().map(replace).collect())
}

fn candidates(expr: &Expr) -> Vec<Expr> {
    let mut found = Vec::new();
    let whole = if let [Part::Text(t)] = &expr.parts[..] { t.as_str() } else { "" };
    let literals: &[&str] = match &expr.ty {
        Type::Int => &["0", "1"],
        Type::Float => &["0.0", "1.0"],
        Type::Text => &["\"a\""],
        Type::Bool => &["true", "false"],
        Type::Number | Type::Any => &["1", "0.5"],
        _ => &[],
    };
    if !literals.contains(&whole) {
        found.extend(literals.iter().map(|l| Expr { ty: expr.ty.clone(), bound: 1.0, parts: parts![*l] }));
    }
    if let Ok(n) = whole.parse::<i64>()
        && expr.ty == Type::Int
        && n > 3
    {
        for smaller in [n / 10, n / 2, n - 1] {
            found.push(Expr { ty: Type::Int, bound: expr.bound, parts: parts![smaller.to_string()] });
        }
    }
    fn children(parts: &[Part], ty: &Type, found: &mut Vec<Expr>) {
        for part in parts {
            if let Part::Expr(e) = part {
                if e.ty == *ty {
                    found.push(e.clone());
                } else {
                    children(&e.parts, ty, found);
                }
            }
        }
    }
    children(&expr.parts, &expr.ty, &mut found);
    found
}
