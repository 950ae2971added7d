//! Statements.

use super::*;

impl Generator {
    /// So many statements, more or less.
    pub(super) fn stmts(&mut self, len: usize) -> Vec<Stmt> {
        let mut all = Vec::new();
        for _ in 0..len {
            if self.spent > self.most {
                break;
            }
            all.push(self.stmt());
        }
        if all.is_empty() {
            all.extend(self.assignment());
        }
        if all.is_empty() {
            all.push(self.variable());
        }
        all
    }

    pub(super) fn stmt(&mut self) -> Stmt {
        self.spent += self.times;
        let inner = self.nesting < if self.long { 5 } else { 3 } && self.spent + self.times * 4.0 < self.most;
        match self.r.below(40) {
            0..=5 => self.variable(),
            6..=11 if inner => self.an_if(),
            12..=15 if inner && self.loops < 3 => self.a_loop(),
            16 if self.loops > 0 && self.nesting > 0 => self.leave(),
            17 if self.result.is_some() && self.nesting > 0 => self.leave(),
            18 if inner => self.closure(),
            19 if self.times < 3000.0 => self.print(),
            20 if self.risky => self.error(),
            21 | 22 if inner && self.loops < 3 => self.template(),
            23 if inner && !self.functions.is_empty() => {
                let function = &self.functions[self.r.below(self.functions.len())];
                if function.cost * self.times + self.spent < self.most {
                    let function = function.clone();
                    let call = self.call_with(&function, None, 1);
                    let name = self.name(prefix(&function.result));
                    let (ty, bound) = (function.result, SMALL);
                    self.variables.push(Variable { name: name.clone(), ty, bound, mutable: true });
                    return Stmt(parts![format!("var {name} = "), call]);
                }
                self.variable()
            }
            _ => match self.assignment() {
                Some(stmt) => stmt,
                None => self.variable(),
            },
        }
    }

    /// Assigns to a variable, an element, a field, an entry.
    pub(super) fn assignment(&mut self) -> Option<Stmt> {
        let v = self.find_where(|v| {
            v.mutable || matches!(v.ty, Type::List(_) | Type::IntMap(_) | Type::TextMap(_) | Type::Record(_))
        })?;
        if matches!(v.ty, Type::Function(..)) {
            return None;
        }
        let name = v.name.clone();
        let whole = v.mutable && self.r.one_in(3);
        Some(match &v.ty {
            Type::List(of) if !whole => {
                let of = (**of).clone();
                if v.mutable && self.r.one_in(2) {
                    let value = self.small(&of, 2);
                    // Bounded, so that lists of lists stay small.
                    if self.times > 500.0 || !matches!(of, Type::Int | Type::Float | Type::Bool) {
                        let most = self.r.pick(&["10", "50", "300"]);
                        let append = Stmt(parts![format!("{name} = append({name}, "), value, ")"]);
                        return Some(Stmt(parts![format!("if len({name}) < {most} "), vec![append]]));
                    }
                    return Some(Stmt(parts![format!("{name} = append({name}, "), value, ")"]));
                }
                let index = self.index(&name, 2);
                // The inner list, sometimes.
                if let Type::List(inner) = &of
                    && self.r.one_in(2)
                {
                    let value = self.small(inner, 2);
                    return Some(Stmt(parts![format!("{name}["), index, "][0] = ", value]));
                }
                let value = self.small(&of, 2);
                // Nothing contains itself.
                Stmt(parts![format!("{name}["), index, "] = ", value])
            }
            Type::IntMap(of) if !whole => {
                let of = (**of).clone();
                let (key, value) = (self.int(1), self.small(&of, 2));
                let modulus = self.r.pick(&["8", "50", "1000"]);
                if of == Type::Int && self.r.one_in(2) {
                    let k = self.name("i");
                    self.variables.push(Variable {
                        name: k.clone(),
                        ty: Type::Int,
                        bound: 1000.0,
                        mutable: false,
                    });
                    // A histogram.
                    let body = vec![
                        Stmt(parts![format!("let {k} = "), key, format!(" % {modulus}")]),
                        Stmt(parts![format!("{name}[{k}] = {name}.get({k}, 0) + 1")]),
                    ];
                    self.variables.pop();
                    return Some(Stmt(parts!["if true ", body]));
                }
                Stmt(parts![format!("{name}[("), key, format!(" % {modulus})] = "), value])
            }
            Type::TextMap(of) if !whole => {
                let of = (**of).clone();
                let (key, value) = (self.text(1), self.small(&of, 2));
                Stmt(parts![format!("{name}["), key, "[0:2]] = ", value])
            }
            Type::Record(n) if !whole => {
                let fields = &self.records[*n].fields;
                let (field, ty) = fields[self.r.below(fields.len())].clone();
                let value = self.small(&ty, 2);
                Stmt(parts![format!("{name}.{field} = "), value])
            }
            _ if !v.mutable => return None,
            Type::Int => {
                let value = self.int(3);
                let value = match self.r.below(3) {
                    0 => self.bounded_sum(&v, value),
                    _ => value,
                };
                let value = self.fit(value, v.bound);
                Stmt(parts![format!("{name} = "), value])
            }
            ty => {
                let ty = ty.clone();
                let value = self.expr(&ty, 3);
                Stmt(parts![format!("{name} = "), value])
            }
        })
    }

    /// `v + value`, the most common of all assignments.
    fn bounded_sum(&mut self, v: &Variable, value: Expr) -> Expr {
        let value = self.fit(value, v.bound.min(4e18));
        let bound = v.bound + value.bound;
        let op = self.r.pick(&["+", "+", "-"]);
        if bound > MOST {
            return value;
        }
        self.make(&Type::Int, bound, parts!["(", read(v), format!(" {op} "), value, ")"])
    }

    /// A block with statements, run so many times.
    fn block(&mut self, times: f64, len: usize) -> Vec<Stmt> {
        self.scope(times, |g| g.stmts(len))
    }

    fn an_if(&mut self) -> Stmt {
        let c = self.bool(2);
        let len = 1 + self.r.below(3);
        let mut parts = parts!["if ", c, " ", self.block(0.6, len)];
        if self.r.one_in(4) {
            let c = self.bool(1);
            parts.extend(parts![" else if ", c, " ", self.block(0.4, 2)]);
        }
        if self.r.one_in(3) {
            parts.extend(parts![" else ", self.block(0.6, 2)]);
        }
        Stmt(parts)
    }

    /// `break`, `continue` or `return` behind a condition.
    fn leave(&mut self) -> Stmt {
        let c = self.bool(1);
        // Rarely true, so that loops turn for a while.
        let rare = self.r.pick(&["97", "331", "1009"]);
        let (i, value) = (self.int(1), self.r.below(20));
        let c = self.make(&Type::Bool, 0.0, parts!["((", i, format!(" % {rare}) == {value} && "), c, ")"]);
        let stmt = match (&self.result, self.loops > 0) {
            (Some(ty), inside) if !inside || self.r.one_in(3) => {
                let ty = ty.clone();
                let value = self.small(&ty, 1);
                Stmt(parts!["return ", value])
            }
            (_, true) => Stmt(parts![self.r.pick(&["break", "continue"])]),
            _ => Stmt(parts!["print(\"not left\")"]),
        };
        Stmt(parts!["if (", c, ") ", vec![stmt]])
    }

    fn print(&mut self) -> Stmt {
        let ty = self.plain_type(2);
        let value = self.expr(&ty, 2);
        let print = Stmt(parts!["print(", value, ")"]);
        if self.times < 20.0 {
            return print;
        }
        let i = self.int(0);
        let rare = self.r.pick(&["50", "97", "500"]);
        Stmt(parts!["if (", i, format!(" % {rare}) == {} ", self.r.below(9)), vec![print]])
    }

    /// What ends the program, perhaps, when some int has some value.
    fn error(&mut self) -> Stmt {
        let i = self.int(1);
        let n = self.r.pick(&[0, 1, 7, 50, 99, 300, 700, 1999]);
        let trap = match self.r.below(9) {
            7 => {
                // Deeper than the stack.
                let (f, m, by) = (self.name("f"), self.name("i"), self.int(1));
                let by = self.fit(by, SMALL);
                let end = self.r.pick(&["100000", "300", "20000"]);
                let body = vec![
                    Stmt(parts![format!("if {m} > {end} "), vec![Stmt(parts!["return 0"])]]),
                    Stmt(parts![format!("return ({f}({m} + 1) + "), by, ") % 1000003"]),
                ];
                Stmt(parts![format!("fun {f}({m}: int): int "), body, format!("\nprint({f}(0))")])
            }
            0 => {
                let a = self.int(1);
                let ty = Type::Int;
                let name = self.name("i");
                let extreme = self.r.pick(&["9223372036854775807", "(-9223372036854775807 - 1)"]);
                let op = self.r.pick(&["+", "-", "*", "/"]);
                let e = self.make(&ty, 0.0, parts!["(", a, format!(" {op} {extreme})")]);
                Stmt(parts![format!("let {name} = "), e])
            }
            1 => {
                let (a, b) = (self.int(1), self.int(1));
                let op = self.r.pick(&["/", "%"]);
                let name = self.name("i");
                Stmt(parts![format!("let {name} = "), a, format!(" {op} "), b])
            }
            2 => Stmt(parts!["panic(\"enough\")"]),
            3 => {
                let c = self.bool(1);
                Stmt(parts!["expect ", c])
            }
            4 => match self.find_where(|v| matches!(v.ty, Type::List(_) | Type::Text)) {
                Some(v) => {
                    let i = self.int(1);
                    Stmt(parts![format!("print({}[", v.name), i, "])"])
                }
                None => Stmt(parts!["panic(\"no list\")"]),
            },
            5 => {
                let s = self.text(1);
                let name = self.name("i");
                Stmt(parts![format!("let {name} = ("), s, " as int)"])
            }
            6 => match self.find_where(|v| matches!(v.ty, Type::Any)) {
                Some(v) => {
                    let name = self.name("i");
                    let ty = self.r.pick(&["int", "float", "string"]);
                    Stmt(parts![format!("let {name}: {ty} = ({} as {ty})", v.name)])
                }
                None => Stmt(parts!["print(none + 1)"]),
            },
            _ => {
                let x = self.float(2);
                let name = self.name("i");
                Stmt(parts![format!("let {name} = ("), x, " as int)"])
            }
        };
        Stmt(parts!["if ", i, format!(" == {n} "), vec![trap]])
    }

    /// A loop of any kind.
    pub(super) fn a_loop(&mut self) -> Stmt {
        let left = ((self.most - self.spent) / self.times / 6.0).max(2.0);
        let turns = match self.r.below(5) {
            0 => 1.0 + self.r.below(12) as f64,
            1 => 20.0 + self.r.below(100) as f64,
            _ => 100.0 + self.r.below(2000) as f64,
        };
        let turns = turns.min(left).floor();
        let most = if self.long { 7 } else { 5 };
        let len = 1 + self.r.below(if self.loops == 0 { most } else { 4 });
        self.loops += 1;
        let stmt = match self.r.below(8) {
            0..=2 => self.range_loop(turns, len),
            3 | 4 => self.while_loop(turns, len),
            _ => self.each_loop(len).unwrap_or_else(|| self.range_loop(turns, len)),
        };
        self.loops -= 1;
        stmt
    }

    fn range_loop(&mut self, turns: f64, len: usize) -> Stmt {
        let name = self.name("i");
        let list = self.find_where(|v| matches!(v.ty, Type::List(_)));
        let start = self.r.pick(&["0", "0", "0", "1", "-3"]);
        let end = match list {
            Some(v) if self.r.one_in(4) => {
                // Turns are not known, so they are bounded.
                format!("min([len({}), {turns}])", v.name)
            }
            _ => format!("{turns}"),
        };
        let mutable = self.r.one_in(12);
        let body = self.scope(turns, |g| {
            let bound = turns + 4.0;
            g.variables.push(Variable { name: name.clone(), ty: Type::Int, bound, mutable });
            g.stmts(len)
        });
        let end = self.make(&Type::Int, turns, parts![end]);
        Stmt(parts![format!("for {name} in {start}.."), end, " ", body])
    }

    /// With a counter of its own, which is counted first, so that `continue` ends too.
    fn while_loop(&mut self, turns: f64, len: usize) -> Stmt {
        let name = self.name("i");
        let step = self.r.pick(&["1", "1", "1", "2", "3"]);
        let down = self.r.one_in(4);
        let condition = self.r.one_in(3).then(|| self.bool(1));
        let body = self.scope(turns, |g| {
            let bound = turns * 3.0 + 4.0;
            g.variables.push(Variable { name: name.clone(), ty: Type::Int, bound, mutable: false });
            let op = if down { "-" } else { "+" };
            let mut body = vec![Stmt(parts![format!("{name} = {name} {op} {step}")])];
            body.extend(g.stmts(len));
            body
        });
        let (start, test) =
            if down { (turns, format!("{name} > 0")) } else { (0.0, format!("{name} < {turns}")) };
        let mut head = parts![format!("while {test}")];
        if let Some(c) = condition {
            head.extend(parts![" && (", c, format!(" || {name} < 50)")]);
        }
        head.extend(parts![" ", body]);
        self.variables.push(Variable {
            name: name.clone(),
            ty: Type::Int,
            bound: turns * 3.0 + 4.0,
            mutable: false,
        });
        let declare = Stmt(parts![format!("var {name} = {start}")]);
        // Two statements in one, so that both go together.
        let mut parts = declare.0;
        parts.push("\n".into());
        parts.extend(head);
        Stmt(parts)
    }

    /// Over a list, a map or a string.
    fn each_loop(&mut self, len: usize) -> Option<Stmt> {
        let v = self.find_where(|v| {
            matches!(v.ty, Type::List(_) | Type::Text | Type::IntMap(_) | Type::TextMap(_))
        })?;
        let ty = match &v.ty {
            Type::List(of) => (**of).clone(),
            Type::IntMap(_) => Type::Int,
            _ => Type::Text,
        };
        let turns = if matches!(v.ty, Type::List(_)) { 100.0 } else { 20.0 };
        if self.spent + self.times * turns * 4.0 > self.most {
            return None;
        }
        let name = self.name(prefix(&ty));
        let body = self.scope(turns, |g| {
            g.variables.push(Variable { name: name.clone(), ty, bound: 2e12, mutable: false });
            g.stmts(len)
        });
        let slice = if self.times > 1.0 { "[0:30]" } else { "" };
        let slice = if matches!(v.ty, Type::List(_) | Type::Text) { slice } else { "" };
        Some(Stmt(parts![format!("for {name} in {}{slice} ", v.name), body]))
    }

    /// A function value that captures what is around it.
    fn closure(&mut self) -> Stmt {
        let params: Vec<Type> = (0..1 + self.r.below(2)).map(|_| self.plain_type(0)).collect();
        let params = if self.r.one_in(2) { vec![Type::Int] } else { params };
        let result = if self.r.one_in(2) { Type::Int } else { self.plain_type(1) };
        let named: Vec<(String, Type)> =
            params.iter().map(|ty| (self.name(prefix(ty)), ty.clone())).collect();
        let value = self.lambda(&named, &result, 2);
        let name = self.name("g");
        let ty = Type::Function(params, Box::new(result));
        self.variables.push(Variable { name: name.clone(), ty, bound: 0.0, mutable: false });
        Stmt(parts![format!("let {name} = "), value])
    }
}
