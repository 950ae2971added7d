//! Expressions by type. `depth` bounds how much is inside.

use super::*;

/// Literals that are not ASCII alone, or where something is special.
const TEXTS: &[&str] =
    &["a", "b", "hello", "ä", "日本", "x😀y", "Zz", "0", " ", "\\\"q\\\"", "longer text than most"];
/// Floats at the edges of what floats are, and of how they are printed.
const FLOATS: &[&str] = &[
    "0.0",
    "1.0",
    "0.5",
    "2.0",
    "3.25",
    "0.1",
    "100.0",
    "1000000.0",
    "1e21",
    "1e300",
    "5e-324",
    "123456789.125",
    "0.00001",
    "9007199254740993.0",
    "4611686018427387904.0",
];

impl Generator {
    pub(super) fn make(&self, ty: &Type, bound: f64, parts: Vec<Part>) -> Expr {
        Expr { ty: ty.clone(), bound, parts }
    }

    /// A variable of a type.
    pub(super) fn find(&mut self, ty: &Type) -> Option<Variable> {
        self.find_where(|v| v.ty == *ty)
    }

    /// A variable that fits; younger ones are more common.
    pub(super) fn find_where(&mut self, fits: impl Fn(&Variable) -> bool) -> Option<Variable> {
        let found: Vec<usize> = (0..self.variables.len()).filter(|&i| fits(&self.variables[i])).collect();
        if found.is_empty() {
            return None;
        }
        let mut i = self.r.below(found.len());
        if self.r.one_in(2) {
            i = found.len() - 1 - self.r.below(found.len().min(4));
        }
        Some(self.variables[found[i]].clone())
    }

    /// An expression of a type.
    pub(super) fn expr(&mut self, ty: &Type, depth: usize) -> Expr {
        if depth > 0
            && self.r.one_in(7)
            && let Some(call) = self.call(ty, depth - 1)
        {
            return call;
        }
        if depth > 0
            && self.r.one_in(8)
            && let Some(access) = self.access(ty, depth - 1)
        {
            return access;
        }
        if depth > 0 && self.r.one_in(20) {
            return self.choice(ty, depth - 1);
        }
        match ty {
            Type::Int => self.int(depth),
            Type::Float => self.float(depth),
            Type::Text => self.text(depth),
            Type::Bool => self.bool(depth),
            Type::List(of) => self.list(ty, of, depth),
            Type::IntMap(of) | Type::TextMap(of) => self.map(ty, of, depth),
            Type::Record(n) => self.record_value(*n, depth),
            Type::Union(n) => self.union_value(*n, depth),
            Type::Function(params, result) => self.function_value(params, result, depth),
            Type::Number => self.number(depth),
            Type::Any => self.any(depth),
        }
    }

    /// Something of a type out of something larger.
    fn access(&mut self, ty: &Type, depth: usize) -> Option<Expr> {
        match self.r.below(5) {
            0 | 1 => {
                let list = Type::List(Box::new(ty.clone()));
                let v = self.find(&list)?;
                Some(self.element(&v, depth))
            }
            2 => {
                let n =
                    (0..self.records.len()).find(|&n| self.records[n].fields.iter().any(|(_, t)| t == ty))?;
                let v = self.find(&Type::Record(n))?;
                let fields: Vec<String> =
                    self.records[n].fields.iter().filter(|(_, t)| t == ty).map(|(f, _)| f.clone()).collect();
                let field = &fields[self.r.below(fields.len())];
                Some(self.make(ty, SMALL, parts![read(&v), format!(".{field}")]))
            }
            3 => {
                let int = self.r.one_in(2);
                let map = if int {
                    Type::IntMap(Box::new(ty.clone()))
                } else {
                    Type::TextMap(Box::new(ty.clone()))
                };
                let v = self.find(&map)?;
                let key = self.expr(if int { &Type::Int } else { &Type::Text }, depth.min(1));
                let otherwise = self.small(ty, depth);
                if self.r.one_in(3) && depth > 0 {
                    let key_text = read(&v);
                    return Some(self.make(
                        ty,
                        SMALL,
                        parts![
                            "(if ",
                            key.clone(),
                            " in ",
                            key_text,
                            " then ",
                            read(&v),
                            "[",
                            key,
                            "] else ",
                            otherwise,
                            ")"
                        ],
                    ));
                }
                Some(self.make(ty, SMALL, parts![read(&v), ".get(", key, ", ", otherwise, ")"]))
            }
            _ => self.matched(ty, depth),
        }
    }

    /// `xs[i]`
    pub(super) fn element(&mut self, v: &Variable, depth: usize) -> Expr {
        let Type::List(of) = &v.ty else { unreachable!("a list") };
        let (of, name) = ((**of).clone(), &v.name);
        let index = self.index(name, depth);
        self.make(&of, SMALL, parts![read(v), "[", index, "]"])
    }

    /// An index into something, in the middle or from the end.
    pub(super) fn index(&mut self, name: &str, depth: usize) -> Expr {
        match self.r.below(8) {
            0 => self.make(&Type::Int, 1.0, parts!["0"]),
            1 => self.make(&Type::Int, 1.0, parts!["(-1)"]),
            2 => self.make(&Type::Int, SMALL, parts![format!("(len({name}) - 1)")]),
            3 if self.risky => self.int(depth),
            _ => {
                let i = self.int(depth);
                self.make(&Type::Int, SMALL, parts!["(", i, format!(" % len({name}))")])
            }
        }
    }

    /// A match over a variable of a union.
    pub(super) fn matched(&mut self, ty: &Type, depth: usize) -> Option<Expr> {
        let v = self.find_where(|v| matches!(v.ty, Type::Union(_)))?;
        let Type::Union(n) = v.ty else { unreachable!("a union") };
        let mut parts = parts!["(match ", read(&v), " { "];
        let variants = self.unions[n].variants.clone();
        let otherwise = self.r.one_in(4).then(|| self.r.below(variants.len()));
        for (i, (variant, fields)) in variants.iter().enumerate() {
            if otherwise == Some(i) {
                break;
            }
            let names: Vec<String> = fields.iter().map(|(_, t)| self.name(prefix(t))).collect();
            let pattern =
                if names.is_empty() { variant.clone() } else { format!("{variant}({})", names.join(", ")) };
            let value = self.scope(1.0, |g| {
                for (name, (_, ty)) in names.iter().zip(fields) {
                    let (name, ty) = (name.clone(), ty.clone());
                    g.variables.push(Variable { name, ty, bound: SMALL, mutable: false });
                }
                g.small(ty, depth)
            });
            parts.extend(parts![format!("{pattern} => "), value, " "]);
        }
        if otherwise.is_some() {
            let value = self.small(ty, 0);
            parts.extend(parts!["_ => ", value, " "]);
        }
        parts.push("})".into());
        Some(self.make(ty, SMALL, parts))
    }

    fn choice(&mut self, ty: &Type, depth: usize) -> Expr {
        let (c, a, b) = (self.bool(depth), self.expr(ty, depth), self.expr(ty, depth));
        let bound = a.bound.max(b.bound);
        self.make(ty, bound, parts!["(if ", c, " then ", a, " else ", b, ")"])
    }

    /// A call of a function that gives a type.
    pub(super) fn call(&mut self, ty: &Type, depth: usize) -> Option<Expr> {
        let left = (self.most - self.spent) / self.times;
        if self.r.one_in(3)
            && let Some(v) =
                self.find_where(|v| matches!(&v.ty, Type::Function(_, result) if **result == *ty))
            && left > 20.0
        {
            let Type::Function(params, _) = &v.ty else { unreachable!("a function") };
            self.spent += self.times * 8.0;
            let mut parts = parts![format!("{}(", v.name)];
            for (i, ty) in params.clone().iter().enumerate() {
                let value = self.small(ty, depth);
                parts.extend(parts![if i > 0 { ", " } else { "" }, value]);
            }
            parts.push(")".into());
            return Some(self.make(ty, SMALL, parts));
        }
        let fits: Vec<usize> = (0..self.functions.len())
            .filter(|&i| self.functions[i].result == *ty && self.functions[i].cost < left)
            .collect();
        if fits.is_empty() {
            return None;
        }
        let function = self.functions[fits[self.r.below(fits.len())]].clone();
        Some(self.call_with(&function, None, depth))
    }

    /// A call; `first`: the argument that says how deep.
    pub(super) fn call_with(&mut self, function: &Function, first: Option<Vec<Part>>, depth: usize) -> Expr {
        self.spent += self.times * function.cost;
        let mut parts = parts![format!("{}(", function.name)];
        let mut first = first;
        for (i, ty) in function.params.iter().enumerate() {
            parts.push(if i > 0 { ", " } else { "" }.into());
            match (i == 0 && function.depth > 0, first.take()) {
                (true, Some(given)) => parts.extend(given),
                (true, None) if self.r.one_in(2) => {
                    parts.push(format!("{}", self.r.below(function.depth)).into());
                }
                (true, None) => {
                    let n = self.int(1);
                    parts.extend(parts!["(", n, format!(" % {})", function.depth)]);
                }
                _ => {
                    let value = self.small(ty, depth);
                    parts.push(value.into());
                }
            }
        }
        parts.push(")".into());
        self.make(&function.result, SMALL, parts)
    }

    pub(super) fn int(&mut self, depth: usize) -> Expr {
        if depth == 0 || self.r.one_in(4) {
            return match self.find(&Type::Int) {
                Some(v) if !self.r.one_in(4) => read(&v),
                _ => self.int_literal(),
            };
        }
        let depth = depth - 1;
        match self.r.below(24) {
            0..=6 => {
                let op = self.r.pick(&["+", "+", "-"]);
                let (a, b) = (self.int_operand(depth), self.int_operand(depth));
                self.bounded(a, op, b, |a, b| a + b)
            }
            7..=9 => {
                let (a, b) = (self.int_operand(depth), self.int_operand(depth));
                self.bounded(a, "*", b, |a, b| a * b)
            }
            10 | 11 => {
                let op = self.r.pick(&["%", "/"]);
                let a = self.int_operand(depth);
                if self.risky && self.r.one_in(20) {
                    let b = self.int_operand(depth);
                    let bound = a.bound;
                    return self.make(&Type::Int, bound, parts!["(", a, format!(" {op} "), b, ")"]);
                }
                if self.r.one_in(3) {
                    // Neither zero nor -1.
                    let b = self.int_operand(depth);
                    let b = self.fit(b, SMALL);
                    let bound = a.bound;
                    let divisor = self.r.pick(&["7", "10", "64", "1000"]);
                    let offset = self.r.pick(&["2000", "1001"]);
                    return self.make(
                        &Type::Int,
                        bound,
                        parts!["(", a, format!(" {op} (("), b, format!(" % {divisor}) + {offset}))")],
                    );
                }
                let b = self
                    .r
                    .pick(&["1", "2", "3", "7", "8", "10", "16", "97", "1000", "(-3)", "(-8)", "65536"]);
                let bound = match op {
                    "%" => a.bound.min(b.trim_matches(['(', ')', '-']).parse().unwrap_or(a.bound)),
                    _ => a.bound,
                };
                self.make(&Type::Int, bound, parts!["(", a, format!(" {op} {b})")])
            }
            12 => {
                let v = self.find_where(|v| {
                    matches!(v.ty, Type::List(_) | Type::Text | Type::IntMap(_) | Type::TextMap(_))
                });
                match v {
                    Some(v) => self.make(&Type::Int, SMALL, parts![format!("len({})", v.name)]),
                    None => self.int_literal(),
                }
            }
            13 => {
                let a = self.int_operand(depth);
                let bound = a.bound;
                self.make(&Type::Int, bound, parts!["(-", a, ")"])
            }
            14 => {
                let x = self.float(depth);
                if self.risky && self.r.one_in(10) {
                    return self.make(&Type::Int, 9e18, parts!["(", x, " as int)"]);
                }
                // A float that no NaN and no infinity gets into.
                let i = self.int_operand(depth);
                let by = self.r.pick(&["2.5", "0.75", "1.0"]);
                let i = self.fit(i, SMALL);
                self.make(&Type::Int, 3.0 * SMALL, parts!["((", i, format!(" * {by}) as int)")])
            }
            15 => match self.find_where(|v| v.ty == Type::List(Box::new(Type::Int))) {
                Some(v) => {
                    self.spent += self.times * 5.0;
                    let f = self.r.pick(&["min", "max", "sum", "len", "first", "count"]);
                    let bound = if f == "sum" { 1e13 } else { SMALL };
                    let xs = if f == "len" || self.r.one_in(2) { v.name } else { format!("{}[0:9]", v.name) };
                    self.make(&Type::Int, bound, parts![format!("{f}({xs})")])
                }
                None => self.int_literal(),
            },
            16 => {
                let s = self.text(depth);
                let t = self.text(0);
                self.make(&Type::Int, 100.0, parts!["indexOf(", s, ", ", t, ")"])
            }
            17 => {
                let a = self.int_operand(depth);
                let bound = a.bound;
                self.make(&Type::Int, bound, parts!["abs(", a, ")"])
            }
            18 if self.dynamic => {
                // From `any`, where it is an int for certain.
                let v = self.find(&Type::Number);
                match v {
                    Some(v) if self.risky => {
                        self.make(&Type::Int, SMALL, parts![format!("({} as int)", v.name)])
                    }
                    _ => self.int_literal(),
                }
            }
            19 => {
                let of = self.r.pick(&[Type::Int, Type::Float, Type::Text].each_ref()).clone();
                let v = self.find(&Type::List(Box::new(of)));
                match v {
                    Some(v) if self.times < 200.0 => {
                        self.spent += self.times * 10.0;
                        let Type::List(of) = &v.ty else { unreachable!("a list") };
                        let (x, acc) = (self.name(prefix(of)), self.name("i"));
                        let of = (**of).clone();
                        let value = self.lambda(&[(acc, Type::Int), (x, of)], &Type::Int, depth);
                        let first = self.int_literal();
                        let first = self.fit(first, SMALL);
                        self.make(
                            &Type::Int,
                            SMALL,
                            parts![format!("reduce({}, ", v.name), value, ", ", first, ")"],
                        )
                    }
                    _ => self.int_literal(),
                }
            }
            _ => self.int_operand(depth),
        }
    }

    fn int_operand(&mut self, depth: usize) -> Expr {
        self.expr(&Type::Int, depth)
    }

    /// `(a op b)`, with operands brought into range where the result might leave it.
    fn bounded(&mut self, a: Expr, op: &str, b: Expr, bound: impl Fn(f64, f64) -> f64) -> Expr {
        let (mut a, mut b) = (a, b);
        if bound(a.bound, b.bound) > MOST && !(self.risky && self.r.one_in(12)) {
            a = self.fit(a, SMALL);
        }
        if bound(a.bound, b.bound) > MOST && !(self.risky && self.r.one_in(12)) {
            b = self.fit(b, SMALL);
        }
        let bound = bound(a.bound, b.bound).min(9.3e18);
        self.make(&Type::Int, bound, parts!["(", a, format!(" {op} "), b, ")"])
    }

    fn int_literal(&mut self) -> Expr {
        let n: i64 = match self.r.below(20) {
            0..=9 => self.r.below(12) as i64,
            10..=14 => self.r.below(200) as i64,
            15 => self.r.pick(&[255, 256, 1000, 65535, 65536, 131_071]),
            16 => self.r.pick(&[i64::from(i32::MAX), i64::from(i32::MAX) + 1, 1 << 47, (1 << 47) - 1]),
            17 => self.r.pick(&[i64::MAX, i64::MAX - 1, 1 << 62]),
            _ => self.r.below(1_000_000) as i64,
        };
        if self.r.one_in(8) {
            return self.make(&Type::Int, n as f64, parts![format!("(-{n})")]);
        }
        self.make(&Type::Int, n as f64 + 1.0, parts![n.to_string()])
    }

    pub(super) fn float(&mut self, depth: usize) -> Expr {
        if depth == 0 || self.r.one_in(4) {
            return match self.find(&Type::Float) {
                Some(v) if !self.r.one_in(4) => read(&v),
                _ => {
                    let text = self.r.pick(FLOATS);
                    let text = if self.r.one_in(8) { format!("(-{text})") } else { text.into() };
                    self.make(&Type::Float, 0.0, parts![text])
                }
            };
        }
        let depth = depth - 1;
        let parts = match self.r.below(14) {
            0..=6 => {
                let op = self.r.pick(&["+", "-", "*", "+", "-", "*", "%"]);
                let a = self.expr(&Type::Float, depth);
                let b = self.expr(&Type::Float, depth);
                if op == "%" {
                    let by = self.r.pick(&["3.0", "1000.0", "0.25", "(-7.5)"]);
                    parts!["(", a, format!(" % {by})")]
                } else {
                    parts!["(", a, format!(" {op} "), b, ")"]
                }
            }
            7 => {
                // The divisor is not zero, but may be anything else.
                let (a, b) = (self.expr(&Type::Float, depth), self.float(0));
                if self.risky && self.r.one_in(6) {
                    parts!["(", a, " / ", b, ")"]
                } else {
                    parts!["(", a, " / ((", b.clone(), " * ", b, ") + 0.5))"]
                }
            }
            8 => {
                let i = self.expr(&Type::Int, depth);
                parts!["(", i, " as float)"]
            }
            9 => {
                // Mixed operands.
                let op = self.r.pick(&["+", "-", "*"]);
                let (i, x) = (self.expr(&Type::Int, depth), self.float(depth));
                if self.r.one_in(2) {
                    parts!["(", i, format!(" {op} "), x, ")"]
                } else {
                    parts!["(", x, format!(" {op} "), i, ")"]
                }
            }
            10 => {
                let x = self.float(depth);
                let f = self.r.pick(&["floor", "ceil", "abs"]);
                parts![format!("{f}("), x, ")"]
            }
            11 => {
                let x = self.float(depth);
                parts!["(-", x, ")"]
            }
            12 => match self.find(&Type::List(Box::new(Type::Float))) {
                Some(v) => {
                    let f = self.r.pick(&["min", "max", "sum", "avg"]);
                    parts![format!("{f}({}[0:9])", v.name)]
                }
                None => parts!["(1e300 * 1e300)"],
            },
            _ => {
                let (c, a, b) = (self.bool(depth), self.float(depth), self.float(depth));
                parts!["(if ", c, " then ", a, " else ", b, ")"]
            }
        };
        self.make(&Type::Float, 0.0, parts)
    }

    pub(super) fn text(&mut self, depth: usize) -> Expr {
        if depth == 0 || self.r.one_in(4) {
            return match self.find(&Type::Text) {
                Some(v) if !self.r.one_in(4) => read(&v),
                _ => {
                    let text = self.r.pick(TEXTS);
                    self.make(&Type::Text, 0.0, parts![format!("\"{text}\"")])
                }
            };
        }
        let depth = depth - 1;
        let parts = match self.r.below(10) {
            0..=2 => {
                let (a, b) = (self.text(depth), self.text(depth));
                let most = 3 + self.r.below(24);
                parts!["(", a, " + ", b, format!(")[0:{most}]")]
            }
            3 => {
                let ty = if self.r.one_in(3) { self.plain_type(1) } else { Type::Int };
                let value = self.expr(&ty, depth);
                parts!["str(", value, ")"]
            }
            4 | 5 => match self.find(&Type::Text) {
                Some(v) => {
                    let i = self.index(&v.name, depth);
                    parts![format!("{}[", v.name), i, "]"]
                }
                None => parts!["\"none\""],
            },
            6 => {
                let s = self.text(depth);
                let f = self.r.pick(&["upper", "lower", "reverse"]);
                parts![format!("{f}("), s, ")"]
            }
            7 => {
                let s = self.text(depth);
                let n = self.int_literal();
                let n = self.fit(n, 9.0);
                parts!["padStart(", s, ", ", n, ", \"*\")"]
            }
            8 => {
                let s = self.text(depth);
                let most = 1 + self.r.below(5);
                parts!["substring(", s, format!(", 0, {most})")]
            }
            _ => match self.find(&Type::List(Box::new(Type::Text))) {
                Some(v) => parts![format!("join({}[0:4], \"-\")[0:30]", v.name)],
                None => parts!["\"é\""],
            },
        };
        self.make(&Type::Text, 0.0, parts)
    }

    pub(super) fn bool(&mut self, depth: usize) -> Expr {
        if depth == 0 || self.r.one_in(6) {
            return match self.find(&Type::Bool) {
                Some(v) if !self.r.one_in(4) => read(&v),
                _ => {
                    let (a, op, b) = (self.int(0), self.r.pick(&["<", ">", "==", "<=", "!="]), self.int(0));
                    self.make(&Type::Bool, 0.0, parts!["(", a, format!(" {op} "), b, ")"])
                }
            };
        }
        let depth = depth - 1;
        let parts = match self.r.below(12) {
            0..=4 => {
                let (a, op, b) =
                    (self.int(depth), self.r.pick(&["<", "<=", ">", ">=", "==", "!="]), self.int(depth));
                parts!["(", a, format!(" {op} "), b, ")"]
            }
            5 | 6 => {
                let ty = self.r.pick(&[&Type::Float, &Type::Text, &Type::Float, &Type::Number]);
                let ty = if *ty == Type::Number && !self.dynamic { Type::Float } else { ty.clone() };
                let op = self.r.pick(&["<", "<=", ">", ">=", "==", "!="]);
                let (a, b) = (self.expr(&ty, depth), self.expr(&ty, depth));
                parts!["(", a, format!(" {op} "), b, ")"]
            }
            7 => {
                let ty = self.plain_type(2);
                let op = self.r.pick(&["==", "!="]);
                let (a, b) = (self.expr(&ty, depth), self.expr(&ty, depth));
                parts!["(", a, format!(" {op} "), b, ")"]
            }
            8 => {
                let (a, op, b) = (self.bool(depth), self.r.pick(&["&&", "||"]), self.bool(depth));
                parts!["(", a, format!(" {op} "), b, ")"]
            }
            9 => {
                let a = self.bool(depth);
                parts!["(!", a, ")"]
            }
            10 => {
                let (a, b) = (self.text(0), self.text(depth));
                parts!["(", a, " in ", b, ")"]
            }
            _ => {
                let v = self.find_where(|v| {
                    matches!(&v.ty, Type::List(of) if **of == Type::Int) || matches!(v.ty, Type::IntMap(_))
                });
                let i = self.int(depth);
                match v {
                    Some(v) => parts!["(", i, format!(" in {})", v.name)],
                    None => {
                        let modulus = self.r.pick(&["2", "3", "7", "10", "100"]);
                        parts!["((", i, format!(" % {modulus}) == 0)")]
                    }
                }
            }
        };
        self.make(&Type::Bool, 0.0, parts)
    }

    fn list(&mut self, ty: &Type, of: &Type, depth: usize) -> Expr {
        if (depth == 0 || self.r.one_in(3))
            && let Some(v) = self.find(ty)
        {
            return read(&v);
        }
        let depth = depth.saturating_sub(1);
        let parts = match self.r.below(12) {
            0 => match self.find(ty) {
                Some(v) => {
                    let k = 1 + self.r.below(6);
                    parts![read(&v), format!("[0:{k}]")]
                }
                None => {
                    let value = self.small(of, depth);
                    parts!["[", value, "]"]
                }
            },
            1 => match self.find(ty) {
                Some(v) => {
                    let value = self.small(of, depth);
                    parts!["append(", read(&v), "[0:20], ", value, ")"]
                }
                None => {
                    let value = self.small(of, depth);
                    parts!["append([], ", value, ")"]
                }
            },
            2 => match self.find(ty) {
                Some(v) => {
                    let b = self.list(ty, of, depth.min(1));
                    parts!["(", read(&v), "[0:8] + ", b, "[0:8])"]
                }
                None => {
                    let value = self.small(of, depth);
                    parts!["[", value, "]"]
                }
            },
            3 if *of == Type::Int => {
                let n = 1 + self.r.below(20);
                parts![format!("range({n})")]
            }
            4 | 5 => match self.find(ty) {
                Some(v) => parts![format!("reverse({})", v.name)],
                None => {
                    let value = self.small(of, depth);
                    parts!["[", value, "]"]
                }
            },
            _ => {
                let mut parts = parts!["["];
                for i in 0..1 + self.r.below(5) {
                    let value = self.small(of, depth);
                    parts.extend(parts![if i > 0 { ", " } else { "" }, value]);
                }
                parts.push("]".into());
                parts
            }
        };
        self.make(ty, 0.0, parts)
    }

    fn map(&mut self, ty: &Type, of: &Type, depth: usize) -> Expr {
        if (depth == 0 || self.r.one_in(3))
            && let Some(v) = self.find(ty)
        {
            return read(&v);
        }
        let depth = depth.saturating_sub(1);
        let mut parts = parts!["{"];
        for i in 0..1 + self.r.below(4) {
            let key = if matches!(ty, Type::IntMap(_)) {
                self.r.pick(&["0", "1", "2", "3", "7", "10", "-1", "100", "1099511627776"])
            } else {
                self.r.pick(&["\"a\"", "\"b\"", "\"key\"", "\"ä\"", "\"10\"", "\"9\"", "\"\""])
            };
            let value = self.small(of, depth);
            parts.extend(parts![if i > 0 { ", " } else { "" }, format!("{key}: "), value]);
        }
        parts.push("}".into());
        self.make(ty, 0.0, parts)
    }

    fn record_value(&mut self, n: usize, depth: usize) -> Expr {
        let ty = Type::Record(n);
        if (depth == 0 || self.r.one_in(2))
            && let Some(v) = self.find(&ty)
        {
            return read(&v);
        }
        let Record { name, fields } = self.records[n].clone();
        let mut parts = parts![format!("{name} {{ ")];
        for (i, (field, ty)) in fields.iter().enumerate() {
            let value = self.small(ty, depth.saturating_sub(1));
            parts.extend(parts![if i > 0 { ", " } else { "" }, format!("{field}: "), value]);
        }
        parts.push(" }".into());
        self.make(&ty, 0.0, parts)
    }

    fn union_value(&mut self, n: usize, depth: usize) -> Expr {
        let ty = Type::Union(n);
        if (depth == 0 || self.r.one_in(2))
            && let Some(v) = self.find(&ty)
        {
            return read(&v);
        }
        let variants = &self.unions[n].variants;
        let (name, fields) = variants[self.r.below(variants.len())].clone();
        if fields.is_empty() {
            return self.make(&ty, 0.0, parts![name]);
        }
        let mut parts = parts![format!("{name}(")];
        for (i, (_, ty)) in fields.iter().enumerate() {
            let value = self.small(ty, depth.saturating_sub(1));
            parts.extend(parts![if i > 0 { ", " } else { "" }, value]);
        }
        parts.push(")".into());
        self.make(&ty, 0.0, parts)
    }

    fn function_value(&mut self, params: &[Type], result: &Type, depth: usize) -> Expr {
        let ty = Type::Function(params.to_vec(), Box::new(result.clone()));
        if self.r.one_in(3) {
            if let Some(v) = self.find(&ty) {
                return read(&v);
            }
            let top = self
                .functions
                .iter()
                .find(|f| f.params == params && f.result == *result && f.depth == 0 && f.cost < 20.0)
                .map(|f| f.name.clone());
            if let Some(name) = top {
                return self.make(&ty, 0.0, parts![name]);
            }
        }
        let params: Vec<(String, Type)> =
            params.iter().map(|ty| (self.name(prefix(ty)), ty.clone())).collect();
        self.lambda(&params, result, depth)
    }

    /// A function expression, which may use what is around it.
    pub(super) fn lambda(&mut self, params: &[(String, Type)], result: &Type, depth: usize) -> Expr {
        let types: Vec<Type> = params.iter().map(|(_, ty)| ty.clone()).collect();
        let texts: Vec<String> =
            params.iter().map(|(name, ty)| format!("{name}: {}", self.type_text(ty))).collect();
        let head = format!("fun({}): {} ", texts.join(", "), self.type_text(result));
        // Calls inside are not counted, so there are none.
        let functions = std::mem::take(&mut self.functions);
        let (around, loops) = (self.result.take(), std::mem::take(&mut self.loops));
        let hidden: Vec<Variable> = self.variables.clone();
        self.variables.retain(|v| !matches!(v.ty, Type::Function(..)));
        let block = self.r.one_in(3);
        let body = self.scope(1.0, |g| {
            for (name, ty) in params {
                let (name, ty) = (name.clone(), ty.clone());
                g.variables.push(Variable { name, ty, bound: SMALL, mutable: false });
            }
            if !block {
                let value = g.small(result, depth.min(2));
                return parts![head, "=> ", value];
            }
            let mut body = Vec::new();
            for _ in 0..1 + g.r.below(2) {
                body.extend(g.assignment());
            }
            let value = g.small(result, depth.min(2));
            body.push(Stmt(parts!["return ", value]));
            parts![head, body]
        });
        self.variables = hidden;
        self.functions = functions;
        self.result = around;
        self.loops = loops;
        self.make(&Type::Function(types, Box::new(result.clone())), 0.0, body)
    }

    /// An int or a float behind `any`.
    fn number(&mut self, depth: usize) -> Expr {
        let ty = Type::Number;
        if (depth == 0 || self.r.one_in(3))
            && let Some(v) = self.find(&ty)
        {
            return Expr { bound: SMALL, ..read(&v) };
        }
        let depth = depth.saturating_sub(1);
        if self.r.one_in(2) && self.find(&ty).is_some() {
            let op = self.r.pick(&["+", "-", "*"]);
            let (a, b) = (self.number(depth), self.number(depth));
            return self.make(&ty, SMALL, parts!["((", a, format!(" {op} "), b, ") % 1000003)"]);
        }
        if self.r.one_in(2) {
            let value = self.float(depth);
            return self.make(&ty, SMALL, value.parts);
        }
        let value = self.small(&Type::Int, depth);
        self.make(&ty, SMALL, value.parts)
    }

    fn any(&mut self, depth: usize) -> Expr {
        if (depth == 0 || self.r.one_in(3))
            && let Some(v) = self.find(&Type::Any)
        {
            return read(&v);
        }
        if self.r.one_in(8) {
            return self.make(&Type::Any, 0.0, parts!["none"]);
        }
        // An entry that may be missing, and what comes of it.
        if self.r.one_in(5)
            && let Some(v) = self.find(&Type::IntMap(Box::new(Type::Int)))
        {
            let (key, value) = (self.int(1), self.small(&Type::Int, 1));
            let op = self.r.pick(&["+", "-", "*", "==", "<"]);
            return self.make(
                &Type::Any,
                0.0,
                parts![format!("({}[", v.name), key, format!("] {op} "), value, ")"],
            );
        }
        let ty = self.plain_type(1);
        let ty = if matches!(ty, Type::Any) { Type::Int } else { ty };
        let value = self.expr(&ty, depth.saturating_sub(1));
        Expr { ty: Type::Any, bound: 0.0, parts: parts![value] }
    }
}
