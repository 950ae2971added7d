//! Makes Mochi programs from a number.
//!
//! What people write is the model: types at the top, some global variables, functions that call those before them, then a main part
//! with hot loops. Programs are correct by construction, as Csmith's are: every int expression knows the largest magnitude it may
//! have, and one that might leave the range of its variable is brought back by `%`; lists and strings are never empty, and indices
//! are taken modulo the length; divisors are not zero. In half of the programs (`risky`) now and then such a guard is missing, so that
//! they end with an error, often late in a loop. The work is bounded: loops have bounded turns, which are fewer inside other
//! loops, and each function knows what it costs. Fuel is the safety net.

mod exprs;
mod stmts;
mod templates;

use upshift_bytecode::testing::Random;

use crate::parts;
use crate::tree::{Expr, Part, Program, Stmt, Type};

/// The magnitude of ints in parameters, results, fields and elements.
const SMALL: f64 = 1_000_003.0;
/// One program in so many is long.
pub const LONG: usize = 8;
/// What int expressions may reach. Below 2^63, with some distance because bounds are rounded.
const MOST: f64 = 9.2e18;

#[derive(Clone, Debug)]
struct Variable {
    name: String,
    ty: Type,
    /// Of ints: the magnitude.
    bound: f64,
    /// Whether statements may assign to it.
    mutable: bool,
}

#[derive(Clone, Debug)]
struct Function {
    name: String,
    params: Vec<Type>,
    result: Type,
    /// What a call costs, about, in statements.
    cost: f64,
    /// The first parameter says how deep it calls itself, and is at most this; 0: it does not.
    depth: usize,
}

#[derive(Clone, Debug)]
struct Record {
    name: String,
    fields: Vec<(String, Type)>,
}

#[derive(Clone, Debug)]
struct Union {
    name: String,
    variants: Vec<(String, Vec<(String, Type)>)>,
}

/// What is known where the generator stands.
struct Generator {
    r: Random,
    risky: bool,
    /// Whether it is one of the long programs: nine tenths of the time of a campaign are the compiler's, which grows with the text, so
    /// that most programs are short and another program is had for what length would cost.
    long: bool,
    /// Whether `any` is common.
    dynamic: bool,
    names: usize,
    variables: Vec<Variable>,
    functions: Vec<Function>,
    records: Vec<Record>,
    unions: Vec<Union>,
    /// How often the place where the generator stands is run, about.
    times: f64,
    /// What was spent so far, and what may be.
    spent: f64,
    most: f64,
    /// Blocks around, within the function.
    nesting: usize,
    /// Loops around, within the function.
    loops: usize,
    /// The result type of the function around.
    result: Option<Type>,
    /// Variables below this index are of a function around: closures capture them.
    outer: usize,
}

/// The program of a number.
pub fn program(seed: u64) -> Program {
    let mut r = Random(seed ^ 0x4D0C_4100);
    let risky = r.one_in(2);
    let dynamic = r.one_in(3);
    let most = r.pick(&[3_000.0, 10_000.0, 40_000.0]);
    let long = r.one_in(LONG);
    let mut g = Generator {
        r,
        risky,
        long,
        dynamic,
        names: 0,
        variables: Vec::new(),
        functions: Vec::new(),
        records: Vec::new(),
        unions: Vec::new(),
        times: 1.0,
        spent: 0.0,
        most,
        nesting: 0,
        loops: 0,
        result: None,
        outer: 0,
    };
    g.program()
}

impl Generator {
    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn program(&mut self) -> Program {
        let mut program = Vec::new();
        for _ in 0..self.r.below(3) {
            program.push(self.record());
        }
        for _ in 0..self.r.below(3) {
            program.push(self.union());
        }
        for _ in 0..1 + self.r.below(4) {
            program.push(self.variable());
        }
        let all = self.most;
        for _ in 0..self.r.below(if self.long { 5 } else { 3 }) {
            self.most = all / 10.0;
            let stmt = if self.r.one_in(4) { self.template_function() } else { self.function() };
            program.push(stmt);
        }
        if self.r.one_in(2) {
            // Most of the work in a function, whose variables are no globals.
            self.most = all / 2.0;
            program.push(self.function());
        }
        self.most = all;
        for _ in 0..self.r.below(4) {
            program.push(self.variable());
        }
        let (len, rounds) =
            if self.long { (2 + self.r.below(5), 1 + self.r.below(4)) } else { (1 + self.r.below(3), 1) };
        for _ in 0..rounds {
            for _ in 0..len / 2 {
                program.push(self.stmt());
            }
            program.push(self.a_loop());
            if self.r.one_in(2) {
                program.extend(self.show(2));
            }
        }
        program.extend(self.show(100));
        program
    }

    /// Prints variables.
    fn show(&mut self, most: usize) -> Vec<Stmt> {
        let mut shown: Vec<Variable> = self.variables.iter().rev().cloned().collect();
        shown.retain(|v| !matches!(v.ty, Type::Function(..)));
        shown.truncate(most);
        shown.into_iter().map(|v| Stmt(parts!["print(", read(&v), ")"])).collect()
    }

    fn record(&mut self) -> Stmt {
        let name = self.name("R");
        let fields: Vec<(String, Type)> = (0..1 + self.r.below(4))
            .map(|_| {
                let ty = self.plain_type(1);
                (self.name(prefix(&ty)), ty)
            })
            .collect();
        let mut text = format!("type {name} {{ ");
        for (i, (field, ty)) in fields.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            text += &format!("{comma}{field}: {}", self.type_text(ty));
        }
        self.records.push(Record { name, fields });
        Stmt(parts![text + " }"])
    }

    fn union(&mut self) -> Stmt {
        let name = self.name("U");
        let mut variants = Vec::new();
        for i in 0..2 + self.r.below(3) {
            let fields = if i > 0 && self.r.one_in(3) { 0 } else { 1 + self.r.below(2) };
            let fields = (0..fields)
                .map(|_| {
                    let ty = self.plain_type(0);
                    (self.name(prefix(&ty)), ty)
                })
                .collect();
            variants.push((self.name("V"), fields));
        }
        let texts: Vec<String> = variants
            .iter()
            .map(|(name, fields): &(String, Vec<(String, Type)>)| {
                let fields: Vec<String> =
                    fields.iter().map(|(f, ty)| format!("{f}: {}", self.type_text(ty))).collect();
                if fields.is_empty() { name.clone() } else { format!("{name}({})", fields.join(", ")) }
            })
            .collect();
        let text = format!("type {name} = {}", texts.join(" | "));
        self.unions.push(Union { name, variants });
        Stmt(parts![text])
    }

    /// A type of values, not a function.
    fn plain_type(&mut self, depth: usize) -> Type {
        let most = if depth == 0 { 8 } else { 15 };
        match self.r.below(most) {
            0..=2 => Type::Int,
            3 | 4 => Type::Float,
            5 => Type::Text,
            6 => Type::Bool,
            7 if self.dynamic && self.r.one_in(3) => Type::Any,
            7 if self.dynamic => Type::Number,
            7 => Type::Int,
            8..=10 => Type::List(Box::new(self.plain_type(depth - 1))),
            11 => Type::IntMap(Box::new(self.plain_type(depth - 1))),
            12 => Type::TextMap(Box::new(self.plain_type(depth - 1))),
            13 if !self.records.is_empty() => Type::Record(self.r.below(self.records.len())),
            14 if !self.unions.is_empty() => Type::Union(self.r.below(self.unions.len())),
            _ => Type::List(Box::new(Type::Int)),
        }
    }

    fn type_text(&self, ty: &Type) -> String {
        match ty {
            Type::Int => "int".into(),
            Type::Float => "float".into(),
            Type::Text => "string".into(),
            Type::Bool => "bool".into(),
            Type::List(of) => format!("list<{}>", self.type_text(of)),
            Type::IntMap(of) => format!("map<int, {}>", self.type_text(of)),
            Type::TextMap(of) => format!("map<string, {}>", self.type_text(of)),
            Type::Record(n) => self.records[*n].name.clone(),
            Type::Union(n) => self.unions[*n].name.clone(),
            Type::Function(params, result) => {
                let params: Vec<String> = params.iter().map(|p| self.type_text(p)).collect();
                format!("fun({}): {}", params.join(", "), self.type_text(result))
            }
            Type::Number | Type::Any => "any".into(),
        }
    }

    /// Declares a variable with a value.
    fn variable(&mut self) -> Stmt {
        let ty = self.plain_type(2);
        self.variable_of(ty)
    }

    fn variable_of(&mut self, ty: Type) -> Stmt {
        let bound = self.r.pick(&[100.0, SMALL, SMALL, 1_000_000_007.0, 4e18]);
        let value = self.expr(&ty, 2);
        let value = if ty == Type::Int { self.fit(value, bound) } else { value };
        let name = self.name(prefix(&ty));
        let annotation = if matches!(ty, Type::Number | Type::Any) || self.r.one_in(2) {
            format!(": {}", self.type_text(&ty))
        } else {
            String::new()
        };
        let mutable = !self.r.one_in(6);
        let keyword = if mutable { "var" } else { "let" };
        let stmt = Stmt(parts![format!("{keyword} {name}{annotation} = "), value]);
        self.variables.push(Variable { name, ty, bound, mutable });
        stmt
    }

    /// An int expression within a bound.
    fn fit(&mut self, value: Expr, bound: f64) -> Expr {
        if value.bound < bound || value.ty != Type::Int {
            return value;
        }
        let modulus = (bound as i64).to_string();
        Expr { ty: Type::Int, bound, parts: parts!["(", value, format!(" % {modulus})")] }
    }

    /// Runs `f` in a scope of its own, a number of times.
    fn scope<R>(&mut self, times: f64, f: impl FnOnce(&mut Generator) -> R) -> R {
        let (variables, functions, before) = (self.variables.len(), self.functions.len(), self.times);
        self.times *= times;
        self.nesting += 1;
        let result = f(self);
        self.nesting -= 1;
        self.times = before;
        self.variables.truncate(variables);
        self.functions.truncate(functions);
        result
    }

    /// A function at the top.
    fn function(&mut self) -> Stmt {
        let name = self.name("f");
        let mut params: Vec<Type> = (0..self.r.below(4))
            .map(|_| {
                if self.r.one_in(8) {
                    Type::Function(vec![Type::Int], Box::new(Type::Int))
                } else {
                    self.plain_type(2)
                }
            })
            .collect();
        let deep = usize::from(self.r.one_in(3));
        let result = self.plain_type(deep);
        let calls = if self.r.one_in(4) { 1 + self.r.below(2) } else { 0 };
        let depth = match calls {
            0 => 0,
            1 => 8 + self.r.below(60),
            _ => 4 + self.r.below(4),
        };
        if depth > 0 {
            params.insert(0, Type::Int);
        }
        let untyped = self.dynamic && self.r.one_in(4);
        let before = (self.spent, self.most, self.times, self.variables.len());
        let (nesting, loops) = (self.nesting, self.loops);
        let outer = std::mem::replace(&mut self.outer, before.3);
        let around = self.result.replace(result.clone());
        (self.spent, self.times, self.nesting, self.loops) = (0.0, 1.0, 0, 0);
        if depth > 0 {
            self.most /= depth as f64;
        }
        let mut texts = Vec::new();
        for (i, ty) in params.iter().enumerate() {
            let name = self.name(prefix(ty));
            let annotation =
                if untyped && i > 0 { String::new() } else { format!(": {}", self.type_text(ty)) };
            texts.push(format!("{name}{annotation}"));
            let mutable = !(i == 0 && depth > 0 || self.r.one_in(3));
            self.variables.push(Variable { name, ty: ty.clone(), bound: SMALL, mutable });
        }
        let text = format!("fun {name}({})", texts.join(", "));
        let annotation =
            if untyped && self.r.one_in(2) { " ".into() } else { format!(": {} ", self.type_text(&result)) };
        let own = Function { name: name.clone(), params, result: result.clone(), cost: 1.0, depth };
        let mut body = Vec::new();
        let len = 1 + self.r.below(if self.long { 5 } else { 3 });
        if depth > 0 {
            let n = self.variables[before.3].name.clone();
            let base = self.small(&result, 1);
            body.push(Stmt(parts![format!("if {n} <= 0 "), vec![Stmt(parts!["return ", base])]]));
        }
        for _ in 0..self.r.below(4) {
            let ty = self.r.pick(&[&Type::Int, &Type::Int, &Type::Float]).clone();
            body.push(self.variable_of(ty));
        }
        body.extend(self.stmts(len));
        if self.r.one_in(2) {
            body.push(self.a_loop());
        }
        if depth > 0 {
            let n = self.variables[before.3].name.clone();
            for k in 0..calls {
                let call = self.call_with(&own, Some(parts![format!("({n} - {})", k + 1)]), 1);
                let ty = result.clone();
                let local = self.name(prefix(&ty));
                body.push(Stmt(parts![format!("let {local} = "), call]));
                self.variables.push(Variable { name: local, ty, bound: SMALL, mutable: false });
            }
        }
        let value = self.small(&result, 3);
        body.push(Stmt(parts!["return ", value]));
        let mut cost = self.spent + 2.0;
        match calls {
            0 => {}
            1 => cost *= depth as f64,
            _ => cost *= (1 << depth) as f64 / 2.0,
        }
        (self.spent, self.most, self.times) = (before.0, before.1, before.2);
        (self.nesting, self.loops, self.outer, self.result) = (nesting, loops, outer, around);
        self.variables.truncate(before.3);
        self.functions.push(Function { cost, ..own });
        Stmt(parts![text, annotation, body])
    }

    /// An expression of a type, its ints small.
    fn small(&mut self, ty: &Type, depth: usize) -> Expr {
        let value = self.expr(ty, depth);
        self.fit(value, SMALL)
    }
}

/// The beginning of names of variables of a type.
fn prefix(ty: &Type) -> &'static str {
    match ty {
        Type::Int => "i",
        Type::Float => "x",
        Type::Text => "s",
        Type::Bool => "b",
        Type::List(_) => "xs",
        Type::IntMap(_) | Type::TextMap(_) => "m",
        Type::Record(_) => "r",
        Type::Union(_) => "u",
        Type::Function(..) => "g",
        Type::Number => "n",
        Type::Any => "a",
    }
}

fn read(v: &Variable) -> Expr {
    Expr { ty: v.ty.clone(), bound: v.bound, parts: vec![Part::Text(v.name.clone())] }
}
