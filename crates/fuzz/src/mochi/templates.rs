//! What people write again and again: small algorithms with other parts in them.

use super::*;

impl Generator {
    /// A generator of numbers, which each turn multiplies and reduces, often for so many turns that some are skipped.
    fn generator_loop(&mut self) -> Stmt {
        let (x, i) = (self.name("i"), self.name("i"));
        let n = self.r.pick(&[30, 250, 250, 900]);
        self.spent += self.times * f64::from(n);
        let start = self.int(1);
        let start = self.fit(start, 1000.0);
        let factor = self.r.pick(&["2", "3", "16807", "1103515245", "1", "0", "-3"]);
        let added = self.r.pick(&["12345", "at", "at * 5", "at * at", "0"]).replace("at", &i);
        let modulus = self.r.pick(&[
            "1000003",
            "2147483648",
            "2147483647",
            "65536",
            "7",
            "1",
            "-65537",
            "4000000000000",
        ]);
        let step = match self.r.below(3) {
            0 => format!("{x} = ({x} + {added}) * {factor} % {modulus}"),
            1 => format!("{x} = ({x} * {factor} % {modulus} + {added}) % {modulus}"),
            _ => format!("{x} = ({x} * {factor} + {added}) % {modulus}"),
        };
        Stmt(parts![
            format!("var {x} = "),
            start,
            format!("\nfor {i} in 0..{n} "),
            vec![Stmt(parts![step])],
            format!("\nprint({x})")
        ])
    }

    /// A statement of several lines.
    pub(super) fn template(&mut self) -> Stmt {
        self.spent += self.times * 20.0;
        let (a, b, c) = (self.name("i"), self.name("i"), self.name("t"));
        match self.r.below(23) {
            13 => self.chain(),
            14 => self.palindrome(),
            15 => self.nested_function(),
            16 => self.big(),
            17 => self.partial(),
            18 | 19 => self.kinds(),
            7 | 8 => self.kernel(),
            9 => self.short_loop(),
            10 => self.aliases(),
            11 => self.edge_loop(),
            12 => self.records(),
            20 => self.generator_loop(),
            21 | 22 => self.held(),
            0 => {
                // Sorts a list in place.
                let Some(v) = self.find_where(|v| {
                    matches!(&v.ty, Type::List(of) if matches!(**of, Type::Int | Type::Float | Type::Text))
                }) else {
                    return self.variable();
                };
                self.spent += self.times * 400.0;
                let xs = v.name;
                let op = self.r.pick(&["<", ">", "<="]);
                let swap = vec![
                    Stmt(parts![format!("let {c} = {xs}[{b}]")]),
                    Stmt(parts![format!("{xs}[{b}] = {xs}[{a}]")]),
                    Stmt(parts![format!("{xs}[{a}] = {c}")]),
                ];
                let test = Stmt(parts![format!("if {xs}[{b}] {op} {xs}[{a}] "), swap]);
                let inner = Stmt(parts![format!("for {b} in {a} + 1..min([len({xs}), 30]) "), vec![test]]);
                Stmt(parts![format!("for {a} in 0..min([len({xs}), 30]) "), vec![inner]])
            }
            1 => {
                // A sieve.
                let n = self.r.pick(&["30", "200"]);
                self.spent += self.times * 200.0;
                let count = self.name("i");
                let value = self.r.pick(&["true", "1", "0.5", "\"p\""]);
                let other = self.r.pick(&["false", "0", "0.0", "\"\""]);
                let fill = Stmt(parts![
                    format!("for {a} in 0..{n} "),
                    vec![Stmt(parts![format!("{c} = append({c}, {value})")])]
                ]);
                let strike = vec![
                    Stmt(parts![format!("{c}[{b}] = {other}")]),
                    Stmt(parts![format!("{b} = {b} + {a}")]),
                ];
                let then = vec![
                    Stmt(parts![format!("{count} = {count} + 1")]),
                    Stmt(parts![format!("var {b} = {a} + {a}\nwhile {b} < {n} "), strike]),
                ];
                let test = Stmt(parts![format!("if {c}[{a}] "), then]);
                let body = vec![
                    Stmt(parts![format!("var {c} = []")]),
                    Stmt(parts![format!("var {count} = 0")]),
                    fill,
                    Stmt(parts![format!("for {a} in 2..{n} "), vec![test]]),
                    Stmt(parts![
                        format!("if {count} % 10 == {} ", self.r.below(10)),
                        vec![Stmt(parts![format!("print({count})")])]
                    ]),
                ];
                Stmt(parts!["if true ", body])
            }
            2 => {
                // Collatz.
                self.spent += self.times * 50.0;
                let start = self.int(1);
                let start = self.fit(start, 1000.0);
                let step = Stmt(parts![
                    format!("if {a} % 2 == 0 "),
                    vec![Stmt(parts![format!("{a} = {a} / 2")])],
                    " else ",
                    vec![Stmt(parts![format!("{a} = 3 * {a} + 1")])]
                ]);
                self.variables.push(Variable { name: b.clone(), ty: Type::Int, bound: 60.0, mutable: true });
                Stmt(parts![
                    format!("var {a} = abs("),
                    start,
                    format!(") + 1\nvar {b} = 0\nwhile {a} != 1 && {b} < 50 "),
                    vec![step, Stmt(parts![format!("{b} = {b} + 1")])]
                ])
            }
            3 => {
                // A matrix.
                self.spent += self.times * 64.0;
                let (n, row) = (self.r.pick(&["3", "8"]), self.name("xs"));
                let of = if self.r.one_in(2) { Type::Int } else { Type::Float };
                let value = self.scope(64.0, |g| {
                    for name in [&a, &b] {
                        g.variables.push(Variable {
                            name: name.clone(),
                            ty: Type::Int,
                            bound: 9.0,
                            mutable: false,
                        });
                    }
                    g.small(&of, 2)
                });
                let name = self.name("xs");
                let inner = Stmt(parts![format!("{row} = append({row}, "), value, ")"]);
                let body = vec![
                    Stmt(parts![format!("var {row}: list<{}> = []", self.type_text(&of))]),
                    Stmt(parts![format!("for {b} in 0..{n} "), vec![inner]]),
                    Stmt(parts![format!("{name} = append({name}, {row})")]),
                ];
                let ty = Type::List(Box::new(Type::List(Box::new(of))));
                let text = self.type_text(&ty);
                self.variables.push(Variable { name: name.clone(), ty, bound: 0.0, mutable: true });
                Stmt(parts![format!("var {name}: {text} = []\nfor {a} in 0..{n} "), body])
            }
            4 => {
                // A counter that functions share.
                let (count, f) = (self.name("i"), self.name("g"));
                let step = self.int(1);
                let step = self.fit(step, SMALL);
                let by = self.name("i");
                let sum =
                    self.make(&Type::Int, 3.0 * SMALL, parts!["(", format!("{count} + {by} + "), step, ")"]);
                let sum = self.fit(sum, SMALL);
                self.variables.push(Variable {
                    name: count.clone(),
                    ty: Type::Int,
                    bound: SMALL,
                    mutable: true,
                });
                let ty = Type::Function(vec![Type::Int], Box::new(Type::Int));
                self.variables.push(Variable { name: f.clone(), ty, bound: 0.0, mutable: false });
                Stmt(parts![
                    format!("var {count} = 0\nlet {f} = fun({by}: int): int "),
                    vec![Stmt(parts![format!("{count} = "), sum]), Stmt(parts![format!("return {count}")])]
                ])
            }
            5 => {
                // A list of closures.
                self.spent += self.times * 40.0;
                let fs = self.name("fs");
                let x = self.name("i");
                let sum = self.name("i");
                let n = self.r.pick(&["3", "12"]);
                let value = self.scope(12.0, |g| {
                    for name in [&a, &x] {
                        g.variables.push(Variable {
                            name: name.clone(),
                            ty: Type::Int,
                            bound: SMALL,
                            mutable: false,
                        });
                    }
                    let functions = std::mem::take(&mut g.functions);
                    let value = g.small(&Type::Int, 2);
                    g.functions = functions;
                    value
                });
                let append = Stmt(parts![format!("{fs} = append({fs}, fun({x}: int): int => "), value, ")"]);
                self.variables.push(Variable {
                    name: sum.clone(),
                    ty: Type::Int,
                    bound: SMALL,
                    mutable: true,
                });
                let call = Stmt(parts![format!("{sum} = ({sum} + {c}({b})) % 1000003")]);
                let inner = Stmt(parts![format!("for {c} in {fs} "), vec![call]]);
                Stmt(parts![
                    format!("var {fs}: list<fun(int): int> = []\nfor {a} in 0..{n} "),
                    vec![append],
                    format!("\nvar {sum} = 0\nfor {b} in 0..5 "),
                    vec![inner]
                ])
            }
            _ => {
                // A hash of a string.
                let Some(v) = self.find(&Type::Text) else { return self.variable() };
                let hash = self.name("i");
                let start = self.int_small();
                self.variables.push(Variable {
                    name: hash.clone(),
                    ty: Type::Int,
                    bound: 1e9 + 7.0,
                    mutable: true,
                });
                let turn = Stmt(parts![format!(
                    "{hash} = ({hash} * 31 + indexOf(\"abcdefgh ä\", {c}) + 7) % 1000000007"
                )]);
                Stmt(parts![format!("var {hash} = "), start, format!("\nfor {c} in {} ", v.name), vec![turn]])
            }
        }
    }

    /// A loop over a list by index, as numeric code has them: reads at small distances, stores, now and then something that changes
    /// the list's length or puts another list in its place.
    fn kernel(&mut self) -> Stmt {
        let of = self.r.pick(&[&Type::Int, &Type::Float, &Type::Int, &Type::Bool]).clone();
        let (xs, i, n) = (self.name("xs"), self.name("i"), 2 + self.r.below(300));
        let n = (n as f64).min(((self.most - self.spent) / self.times / 8.0).max(3.0)) as usize;
        self.spent += self.times * n as f64 * 4.0;
        let ty = Type::List(Box::new(of.clone()));
        let first = self.scope(n as f64, |g| {
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: n as f64, mutable: false });
            g.small(&of, 2)
        });
        let fill = vec![Stmt(parts![format!("{xs} = append({xs}, "), first, ")"])];
        let mut parts = parts![format!("var {xs}: {} = []\nfor {i} in 0..{n} ", self.type_text(&ty)), fill];
        self.variables.push(Variable { name: xs.clone(), ty: ty.clone(), bound: 0.0, mutable: true });
        let (j, acc) = (self.name("i"), self.name(prefix(&of)));
        let acc_ty = if of == Type::Bool { Type::Int } else { of.clone() };
        let zero = if acc_ty == Type::Int { "0" } else { "0.0" };
        self.variables.push(Variable { name: acc.clone(), ty: acc_ty.clone(), bound: SMALL, mutable: true });
        let distance = self.r.below(4);
        let (start, end) = match self.r.below(8) {
            0 => (distance.to_string(), format!("{n}")),
            1 => (format!("-{distance}"), format!("len({xs}) - {distance}")),
            2 if self.risky => ("0".into(), format!("len({xs}) + 1")),
            _ => (distance.to_string(), format!("len({xs})")),
        };
        let body = self.scope(n as f64, |g| {
            g.loops += 1;
            g.variables.push(Variable { name: j.clone(), ty: Type::Int, bound: n as f64, mutable: false });
            let mut body = Vec::new();
            let back = g.r.below(distance + 1);
            let element = g.make(
                &of,
                SMALL,
                parts![if back > 0 { format!("{xs}[{j} - {back}]") } else { format!("{xs}[{j}]") }],
            );
            for _ in 0..1 + g.r.below(3) {
                let stmt = match g.r.below(9) {
                    0..=2 if of != Type::Bool => {
                        let other = g.small(&of, 1);
                        let op = g.r.pick(&["+", "-", "*", "+"]);
                        let sum =
                            g.make(&of, 1e13, parts!["(", element.clone(), format!(" {op} "), other, ")"]);
                        let sum = g.fit(sum, SMALL);
                        Stmt(parts![format!("{xs}[{j}] = "), sum])
                    }
                    0..=2 => Stmt(parts![
                        format!("if "),
                        element.clone(),
                        " ",
                        vec![Stmt(parts![format!("{acc} = {acc} + 1")])]
                    ]),
                    3 | 4 if of != Type::Bool => {
                        let sum =
                            g.make(&acc_ty, 2.0 * SMALL, parts![format!("({acc} + "), element.clone(), ")"]);
                        let sum = if g.risky && g.r.one_in(4) { sum } else { g.fit(sum, SMALL) };
                        Stmt(parts![format!("{acc} = "), sum])
                    }
                    5 => {
                        let value = g.small(&of, 1);
                        let at = g.r.below(n);
                        let change = match g.r.below(3) {
                            0 => Stmt(parts![format!("{xs} = append({xs}, "), value, ")"]),
                            1 => Stmt(parts![format!("{xs} = {xs}[0:{}]", at.max(1))]),
                            _ => Stmt(parts![format!("{xs} = ["), value, "]"]),
                        };
                        Stmt(parts![format!("if {j} == {at} "), vec![change]])
                    }
                    6 => g.stmt(),
                    _ => g.assignment().unwrap_or_else(|| g.stmt()),
                };
                body.push(stmt);
            }
            g.loops -= 1;
            body
        });
        // The list may have become shorter than what is read of it.
        let guard = if self.risky { String::new() } else { format!("if {j} >= len({xs}) {{ break }}") };
        let mut all = vec![];
        if !guard.is_empty() {
            all.push(Stmt(parts![guard]));
        }
        all.extend(body);
        parts.extend(parts![format!("\nvar {acc} = {zero}\nfor {j} in {start}..{end} "), all]);
        Stmt(parts)
    }

    /// Loops of a few turns, known or not, inside one another.
    fn short_loop(&mut self) -> Stmt {
        let (i, j) = (self.name("i"), self.name("i"));
        let (n, m) = (self.r.below(9), self.r.below(5));
        let end = if self.r.one_in(2) { m.to_string() } else { format!("{i} + {m}") };
        self.spent += self.times * (n * (m + n)) as f64;
        let (outer, inner) = self.scope(n as f64, |g| {
            g.loops += 2;
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: 9.0, mutable: false });
            let inner = g.scope((n + m) as f64, |g| {
                g.variables.push(Variable { name: j.clone(), ty: Type::Int, bound: 15.0, mutable: false });
                let len = 1 + g.r.below(3);
                g.stmts(len)
            });
            let outer = g.assignment();
            g.loops -= 2;
            (outer, inner)
        });
        let mut body = vec![Stmt(parts![format!("for {j} in 0..{end} "), inner])];
        body.extend(outer);
        Stmt(parts![format!("for {i} in 0..{n} "), body])
    }

    /// Two names for one object, changed through both in a loop.
    fn aliases(&mut self) -> Stmt {
        let Some(v) = self.find_where(|v| {
            matches!(v.ty, Type::List(_) | Type::IntMap(_) | Type::TextMap(_) | Type::Record(_)) && v.mutable
        }) else {
            return self.kernel();
        };
        let (other, i) = (self.name(prefix(&v.ty)), self.name("i"));
        let turns = (10 + self.r.below(300)) as f64;
        let turns = turns.min(((self.most - self.spent) / self.times / 8.0).max(3.0)).floor();
        self.variables.push(Variable { name: other.clone(), ..v.clone() });
        let body = self.scope(turns, |g| {
            g.loops += 1;
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: turns, mutable: false });
            let mut body = Vec::new();
            for k in 0..3 {
                // Only these two are in sight of the assignment.
                let all = g.variables.clone();
                let wanted = [&other, &v.name][k % 2].clone();
                g.variables
                    .retain(|v| v.name == wanted || v.name == i || matches!(v.ty, Type::Int | Type::Float));
                body.extend(g.assignment());
                g.variables = all;
            }
            if g.r.one_in(3) {
                let at = g.r.below(turns as usize);
                body.push(Stmt(parts![
                    format!("if {i} == {at} "),
                    vec![Stmt(parts![format!("{other} = {}", v.name)])]
                ]));
            }
            g.loops -= 1;
            body
        });
        Stmt(parts![format!("var {other} = {}\nfor {i} in 0..{turns} ", v.name), body])
    }

    /// A loop near the ends of what an int holds.
    fn edge_loop(&mut self) -> Stmt {
        let (i, acc) = (self.name("i"), self.name("i"));
        let n = 1 + self.r.below(40);
        self.spent += self.times * n as f64 * 3.0;
        let (start, end) = match self.r.below(4) {
            0 => (format!("9223372036854775807 - {n}"), "9223372036854775807".to_string()),
            1 => ("-9223372036854775807 - 1".into(), format!("-9223372036854775807 + {n}")),
            2 => (format!("4611686018427387904 - {n}"), format!("4611686018427387904 + {n}")),
            _ => (format!("140737488355328 - {n}"), format!("140737488355328 + {n}")),
        };
        let body = self.scope(n as f64, |g| {
            g.loops += 1;
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: 9.3e18, mutable: false });
            let len = 1 + g.r.below(3);
            let body = g.stmts(len);
            g.loops -= 1;
            body
        });
        self.variables.push(Variable { name: acc.clone(), ty: Type::Int, bound: 4e18, mutable: true });
        let by = if self.risky && self.r.one_in(3) { "1" } else { "2" };
        let mut all = vec![Stmt(parts![format!("{acc} = {i} / {by}")])];
        if self.risky && self.r.one_in(3) {
            let n = self.r.pick(&["1", "2", "-1", "4611686018427387904"]);
            let op = self.r.pick(&["+", "-", "*"]);
            all.push(Stmt(parts![format!("{acc} = ({i} {op} {n}) / 2")]));
        }
        all.extend(body);
        Stmt(parts![format!("var {acc} = 0\nfor {i} in {start}..{end} "), all])
    }

    /// A list of records, or a chain of them, and a loop over it.
    fn records(&mut self) -> Stmt {
        if self.records.is_empty() {
            return self.kernel();
        }
        let n = self.r.below(self.records.len());
        let ty = Type::Record(n);
        let (rs, r, i) = (self.name("xs"), self.name("r"), self.name("i"));
        self.spent += self.times * 120.0;
        let value = self.scope(20.0, |g| {
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: 20.0, mutable: false });
            let Record { name, fields } = g.records[n].clone();
            let mut parts = parts![format!("{name} {{ ")];
            for (k, (field, ty)) in fields.iter().enumerate() {
                let value = g.small(ty, 1);
                parts.extend(parts![if k > 0 { ", " } else { "" }, format!("{field}: "), value]);
            }
            parts.push(" }".into());
            g.make(&ty, 0.0, parts)
        });
        let append = Stmt(parts![format!("{rs} = append({rs}, "), value, ")"]);
        let list = Type::List(Box::new(ty.clone()));
        let text = self.type_text(&list);
        self.variables.push(Variable { name: rs.clone(), ty: list, bound: 0.0, mutable: true });
        let body = self.scope(40.0, |g| {
            g.loops += 1;
            g.variables.push(Variable { name: r.clone(), ty: ty.clone(), bound: 0.0, mutable: false });
            let all = g.variables.clone();
            g.variables.retain(|v| {
                v.name == r || !matches!(v.ty, Type::List(_) | Type::IntMap(_) | Type::TextMap(_))
            });
            let mut body = Vec::new();
            for _ in 0..2 {
                body.extend(g.assignment());
            }
            g.variables = all;
            body.push(g.stmt());
            g.loops -= 1;
            body
        });
        let rounds = 1 + self.r.below(3);
        let inner = Stmt(parts![format!("for {r} in {rs} "), body]);
        let k = self.name("i");
        Stmt(parts![
            format!("var {rs}: {text} = []\nfor {i} in 0..20 "),
            vec![append],
            format!("\nfor {k} in 0..{rounds} "),
            vec![inner]
        ])
    }

    /// A linked list, made and walked along.
    fn chain(&mut self) -> Stmt {
        let (head, node, sum, i) = (self.name("a"), self.name("a"), self.name("i"), self.name("i"));
        let n = 1 + self.r.below(30);
        self.spent += self.times * n as f64 * 4.0;
        let value = self.scope(n as f64, |g| {
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: 40.0, mutable: false });
            g.small(&Type::Int, 2)
        });
        let step = self.scope(n as f64, |g| {
            g.variables.push(Variable { name: sum.clone(), ty: Type::Int, bound: SMALL, mutable: false });
            let value = g.expr(&Type::Int, 1);
            let value = g.fit(value, SMALL);
            let sum =
                g.make(&Type::Int, 4.0 * SMALL, parts![format!("({sum} + {node}[\"v\"] + "), value, ")"]);
            g.fit(sum, SMALL)
        });
        let empty = self.r.pick(&["none", "none", "0", "false"]);
        let push = Stmt(parts![format!("{head} = {{\"v\": "), value, format!(", \"next\": {head}}}")]);
        let body =
            vec![Stmt(parts![format!("{sum} = "), step]), Stmt(parts![format!("{node} = {node}[\"next\"]")])];
        self.variables.push(Variable { name: sum.clone(), ty: Type::Int, bound: SMALL, mutable: true });
        Stmt(parts![
            format!("var {head}: any = {empty}\nfor {i} in 0..{n} "),
            vec![push],
            format!("\nvar {sum} = 0\nvar {node} = {head}\nwhile {node} != {empty} "),
            body
        ])
    }

    /// Characters compared from both ends.
    fn palindrome(&mut self) -> Stmt {
        let (s, i, j, same) = (self.name("s"), self.name("i"), self.name("i"), self.name("b"));
        let text = self.text(2);
        self.spent += self.times * 20.0;
        self.variables.push(Variable { name: s.clone(), ty: Type::Text, bound: 0.0, mutable: true });
        self.variables.push(Variable { name: same.clone(), ty: Type::Bool, bound: 0.0, mutable: true });
        let differ = vec![Stmt(parts![format!("{same} = false")]), Stmt(parts!["break"])];
        let body = vec![
            Stmt(parts![format!("if {s}[{i}] != {s}[{j}] "), differ]),
            Stmt(parts![format!("{i} = {i} + 1\n{j} = {j} - 1")]),
        ];
        Stmt(parts![
            format!("var {s} = "),
            text,
            format!("\nvar {same} = true\nvar {i} = 0\nvar {j} = len({s}) - 1\nwhile {i} < {j} "),
            body
        ])
    }

    /// A function in the middle of others, which changes what is around it and calls itself.
    fn nested_function(&mut self) -> Stmt {
        let (f, n, count) = (self.name("f"), self.name("i"), self.name("i"));
        let functions = std::mem::take(&mut self.functions);
        let (around, loops) = (self.result.replace(Type::Int), std::mem::take(&mut self.loops));
        self.variables.push(Variable { name: count.clone(), ty: Type::Int, bound: SMALL, mutable: true });
        let all = self.variables.clone();
        self.variables.retain(|v| !matches!(v.ty, Type::Function(..)));
        let (body, value) = self.scope(10.0, |g| {
            g.variables.push(Variable { name: n.clone(), ty: Type::Int, bound: 20.0, mutable: false });
            let mut body = vec![
                Stmt(parts![format!("if {n} <= 0 "), vec![Stmt(parts![format!("return {count}")])]]),
                Stmt(parts![format!("{count} = ({count} + {n}) % 1000003")]),
            ];
            for _ in 0..1 + g.r.below(2) {
                body.extend(g.assignment());
            }
            (body, g.small(&Type::Int, 1))
        });
        self.variables = all;
        self.functions = functions;
        (self.result, self.loops) = (around, loops);
        let mut body = body;
        let sum = self.make(&Type::Int, 3.0 * SMALL, parts![format!("({f}({n} - 1) + "), value, ")"]);
        let sum = self.fit(sum, SMALL);
        body.push(Stmt(parts!["return ", sum]));
        let (times, k, last) = (1 + self.r.below(40), self.name("i"), self.name("i"));
        self.spent += self.times * times as f64 * 30.0;
        self.variables.push(Variable { name: last.clone(), ty: Type::Int, bound: SMALL, mutable: true });
        let call = Stmt(parts![format!("{last} = ({last} + {f}({k} % 9)) % 1000003")]);
        Stmt(parts![
            format!("var {count} = 0\nfun {f}({n}: int): int "),
            body,
            format!("\nvar {last} = 0\nfor {k} in 0..{times} "),
            vec![call]
        ])
    }

    /// Exact numbers.
    fn big(&mut self) -> Stmt {
        let (b, i, rest) = (self.name("big"), self.name("i"), self.name("i"));
        let n = 1 + self.r.below(40);
        self.spent += self.times * n as f64 * 4.0;
        let start = self.int(1);
        let op = self.r.pick(&["*", "+", "*", "-"]);
        let factor = self.scope(n as f64, |g| {
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: 50.0, mutable: false });
            g.small(&Type::Int, 1)
        });
        self.variables.push(Variable { name: rest.clone(), ty: Type::Int, bound: 1e9, mutable: true });
        let body = vec![Stmt(parts![format!("{b} = {b} {op} "), factor])];
        Stmt(parts![
            format!("var {b}: bigint = "),
            start,
            format!("\nfor {i} in 0..{n} "),
            body,
            format!("\nvar {rest} = ({b} % 1000000007) as int")
        ])
    }

    /// A function that still waits for an argument.
    fn partial(&mut self) -> Stmt {
        let found = self.functions.iter().find(|f| f.depth == 0 && f.params.len() == 2 && f.cost < 100.0);
        let Some(function) = found.cloned() else { return self.kinds() };
        let g = self.name("g");
        let first = self.small(&function.params[0], 1);
        let ty = Type::Function(vec![function.params[1].clone()], Box::new(function.result));
        self.variables.push(Variable { name: g.clone(), ty, bound: 0.0, mutable: false });
        Stmt(parts![format!("let {g} = {}(", function.name), first, ")"])
    }

    /// A loop in which a variable holds one kind after the other.
    fn kinds(&mut self) -> Stmt {
        let (a, i, count) = (self.name("a"), self.name("i"), self.name("i"));
        let n = 5 + self.r.below(200);
        let n = (n as f64).min(((self.most - self.spent) / self.times / 8.0).max(3.0)) as usize;
        self.spent += self.times * n as f64 * 4.0;
        let (first, body) = self.scope(n as f64, |g| {
            g.loops += 1;
            let first = g.expr(&Type::Int, 1);
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: n as f64, mutable: false });
            let mut body = Vec::new();
            for _ in 0..1 + g.r.below(3) {
                // Rare kinds come late, when the loop was compiled for the common one.
                let ty = g.plain_type(1);
                let value = g.small(&ty, 1);
                let (modulus, rest) = (g.r.pick(&["3", "17", "50", "90"]), g.r.below(40));
                let test = format!("if {i} % {modulus} == {rest} ");
                body.push(Stmt(parts![test, vec![Stmt(parts![format!("{a} = "), value])]]));
            }
            let value = g.small(&Type::Int, 1);
            let use_it = match g.r.below(6) {
                0 => Stmt(parts![format!("if {a} == "), value, " ", vec![Stmt(parts![format!("{count} = {count} + 1")])]]),
                1 => Stmt(parts![format!("if {a} "), vec![Stmt(parts![format!("{count} = {count} + 1")])]]),
                2 => Stmt(parts![format!("{count} = {count} + len(str({a}))")]),
                3 => Stmt(parts![format!("if {a} in [1, 2, 0.5] "), vec![Stmt(parts![format!("{count} = {count} + 1")])]]),
                4 => Stmt(parts![
                    format!("{count} = {count} + (match {a} {{ 1 => 1 0.5 => 2 \"a\" => 3 true => 4 none => 5 _ => 6 }})")
                ]),
                _ if g.risky => Stmt(parts![format!("{count} = {count} + {a}")]),
                _ => Stmt(parts![format!("if {a} != none "), vec![Stmt(parts![format!("{count} = {count} + 1")])]]),
            };
            body.push(use_it);
            body.extend(g.assignment());
            g.loops -= 1;
            (first, body)
        });
        self.variables.push(Variable { name: a.clone(), ty: Type::Any, bound: 0.0, mutable: true });
        self.variables.push(Variable { name: count.clone(), ty: Type::Int, bound: SMALL, mutable: false });
        Stmt(parts![
            format!("var {a}: any = "),
            first,
            format!("\nvar {count} = 0\nfor {i} in 0..{n} "),
            body
        ])
    }

    /// Loops in which variables that were given values of any kind before are asked about, passed on and seldom given others.
    fn held(&mut self) -> Stmt {
        let names: Vec<String> = (0..1 + self.r.below(3)).map(|_| self.name("a")).collect();
        let (i, count) = (self.name("i"), self.name("i"));
        let n: f64 = self.r.pick(&[4.0, 60.0, 300.0, 1200.0]);
        let n = n.min(((self.most - self.spent) / self.times / 10.0).max(3.0)) as usize;
        self.spent += self.times * n as f64 * 6.0;
        let mut parts = Vec::new();
        for a in &names {
            let ty = self.plain_type(1);
            let value = match self.r.below(4) {
                // Ints of which nothing is known.
                0 => Expr {
                    ty: Type::Any,
                    bound: 0.0,
                    parts: parts![self.r.pick(&["indexOf(\"ab\", \"b\")", "len(str(1.5))"])],
                },
                _ => self.small(&ty, 1),
            };
            parts.extend(parts![format!("var {a}: any = "), value, "\n"]);
        }
        parts.extend(parts![format!("var {count} = 0\nfor {i} in 0..{n} ")]);
        let body = self.scope(n as f64, |g| {
            g.loops += 1;
            g.variables.push(Variable { name: i.clone(), ty: Type::Int, bound: n as f64, mutable: false });
            let len = 1 + g.r.below(4);
            let mut body: Vec<Stmt> = (0..len).map(|_| g.use_of_held(&names, &i, &count)).collect();
            body.extend(g.assignment().filter(|_| g.r.one_in(2)));
            g.loops -= 1;
            body
        });
        parts.push(body.into());
        for a in names {
            parts.extend(parts![format!("\nprint({a}, {count})")]);
            self.variables.push(Variable { name: a, ty: Type::Any, bound: 0.0, mutable: true });
        }
        Stmt(parts)
    }

    /// A statement that does something with variables of type any, and counts.
    fn use_of_held(&mut self, names: &[String], i: &str, count: &str) -> Stmt {
        let (a, b) = (&names[self.r.below(names.len())], &names[self.r.below(names.len())]);
        let counts = || vec![Stmt(parts![format!("{count} = {count} + 1")])];
        let now_and_then = format!("{i} % {} == {}", self.r.pick(&[2, 7, 50, 97]), self.r.below(50));
        match self.r.below(15) {
            0 => Stmt(parts![format!("{a} = {a}")]),
            1 => Stmt(parts![format!("if {now_and_then} "), vec![Stmt(parts![format!("{a} = {b}")])]]),
            2 => {
                let ty = self.plain_type(1);
                let value = self.small(&ty, 1);
                Stmt(parts![format!("if {now_and_then} "), vec![Stmt(parts![format!("{a} = "), value])]])
            }
            3 => {
                let g = self.name("g");
                Stmt(parts![format!("let {g} = fun(): any => {a}\nif {g}() == {b} "), counts()])
            }
            4 => {
                let (t, k) =
                    (self.name("a"), self.r.pick(&["[KEY, KEY]", "{\"k\": KEY}", "{0: KEY, 1: 0.5}"]));
                let value = k.replace("KEY", a);
                Stmt(parts![format!("let {t}: any = {value}\n{count} = {count} + len({t})")])
            }
            5 => Stmt(parts![format!("if {a} == {b} "), counts()]),
            6 => Stmt(parts![format!("if {a} "), counts(), format!(" else if {b} "), counts()]),
            7 => Stmt(parts![format!("{count} = {count} + len(str({a}))")]),
            8 => Stmt(parts![format!("if {a} in [0, 1, 0.5, \"a\", none, true] "), counts()]),
            9 => Stmt(parts![format!(
                "{count} = {count} + (match {a} {{ 1 => 1 0.5 => 2 \"a\" => 3 true => 4 none => 5 _ => 6 }})"
            )]),
            10 => {
                let inner = self.name("i");
                let test = Stmt(parts![format!("if {a} != {b} || {inner} == 2 "), counts()]);
                Stmt(parts![format!("for {inner} in 0..4 "), vec![test]])
            }
            11 => {
                let value = self.small(&Type::Int, 1);
                Stmt(parts![
                    format!("if {now_and_then} "),
                    vec![Stmt(parts![format!("{a} = {count} * "), value])]
                ])
            }
            12 => {
                let t = self.name("a");
                Stmt(parts![
                    format!("var {t} = {a}\nif {now_and_then} "),
                    vec![Stmt(parts![format!("{t} = {b}")])],
                    format!("\nif {t} == {a} "),
                    counts()
                ])
            }
            13 if self.risky => Stmt(parts![
                format!("if {now_and_then} "),
                vec![Stmt(parts![format!("{count} = {count} + len({a})")])]
            ]),
            _ => Stmt(parts![format!("if {a} != none "), counts()]),
        }
    }

    fn int_small(&mut self) -> Expr {
        self.small(&Type::Int, 1)
    }

    /// A function that people write.
    pub(super) fn template_function(&mut self) -> Stmt {
        let (f, n, a, b) = (self.name("f"), self.name("i"), self.name("i"), self.name("i"));
        let any = self.dynamic && self.r.one_in(2);
        let (int, result) = if any { ("", "") } else { (": int", ": int") };
        let mut function =
            Function { name: f.clone(), params: vec![Type::Int], result: Type::Int, cost: 200.0, depth: 12 };
        let stmt = match self.r.below(8) {
            5 => {
                // Of whatever kind.
                function.params = vec![Type::Number, Type::Number];
                function.result = Type::Number;
                (function.depth, function.cost) = (0, 3.0);
                let other =
                    Function { params: vec![Type::Text, Type::Text], result: Type::Text, ..function.clone() };
                self.functions.push(other);
                let op = self.r.pick(&["<", ">=", "=="]);
                let value = self.r.pick(&["a", "b"]);
                Stmt(parts![
                    format!("fun {f}(a, b) "),
                    vec![
                        Stmt(parts![format!("if a {op} b "), vec![Stmt(parts!["return a"])]]),
                        Stmt(parts![format!("return {value}")]),
                    ]
                ])
            }
            6 => {
                // Looks for something.
                function.params = vec![Type::List(Box::new(Type::Int)), Type::Int];
                (function.depth, function.cost) = (0, 40.0);
                let result = self.r.pick(&["i", "x", "x - i"]);
                Stmt(parts![
                    format!("fun {f}(xs: list<int>, x: int): int "),
                    vec![
                        Stmt(parts![
                            "for i in 0..len(xs) ",
                            vec![Stmt(parts![
                                "if xs[i] == x ",
                                vec![Stmt(parts![format!("return {result}")])]
                            ])]
                        ]),
                        Stmt(parts!["return -1"]),
                    ]
                ])
            }
            7 => {
                // Changes what it is given.
                function.params = vec![Type::List(Box::new(Type::Int)), Type::Int];
                (function.depth, function.cost) = (0, 40.0);
                Stmt(parts![
                    format!("fun {f}(xs: list<int>, x: int): int "),
                    vec![
                        Stmt(parts![
                            "for i in 0..len(xs) ",
                            vec![Stmt(parts!["xs[i] = (xs[i] * 3 + x) % 1009"])]
                        ]),
                        Stmt(parts!["return xs[0] + xs[-1]"]),
                    ]
                ])
            }
            0 => Stmt(parts![
                format!("fun {f}({n}{int}){result} "),
                vec![
                    Stmt(parts![format!("if {n} < 2 "), vec![Stmt(parts![format!("return {n}")])]]),
                    Stmt(parts![format!("return {f}({n} - 1) + {f}({n} - 2)")]),
                ]
            ]),
            1 => {
                function.depth = 0;
                function.params.push(Type::Int);
                function.cost = 30.0;
                Stmt(parts![
                    format!("fun {f}({a}{int}, {b}{int}){result} "),
                    vec![
                        Stmt(parts![format!("if {b} == 0 "), vec![Stmt(parts![format!("return {a}")])]]),
                        Stmt(parts![format!("return {f}({b}, {a} % {b})")]),
                    ]
                ])
            }
            2 => {
                function.depth = 30;
                function.cost = 30.0;
                let g = self.name("f");
                Stmt(parts![
                    format!("fun {f}({n}{int}){result} "),
                    vec![
                        Stmt(parts![format!("if {n} <= 0 "), vec![Stmt(parts!["return 0"])]]),
                        Stmt(parts![format!("return {g}({n} - 1) + 1")]),
                    ],
                    format!("\nfun {g}({n}{int}){result} "),
                    vec![
                        Stmt(parts![format!("if {n} <= 0 "), vec![Stmt(parts!["return 100"])]]),
                        Stmt(parts![format!("return {f}({n} - 1) - {n}")]),
                    ]
                ])
            }
            3 => {
                // A tree.
                let (tree, leaf, node, build, sum, t) = (
                    self.name("T"),
                    self.name("Leaf"),
                    self.name("Node"),
                    self.name("f"),
                    self.name("f"),
                    self.name("t"),
                );
                function.depth = 7;
                function.cost = 600.0;
                let value = self.r.pick(&["v", "v * 2", "v % 7"]);
                Stmt(parts![
                    format!(
                        "type {tree} = {leaf} | {node}(l: {tree}, v: int, r: {tree})\nfun {build}({n}: int): {tree} "
                    ),
                    vec![
                        Stmt(parts![format!("if {n} <= 0 "), vec![Stmt(parts![format!("return {leaf}")])]]),
                        Stmt(parts![format!("return {node}({build}({n} - 1), {n}, {build}({n} - 2))")]),
                    ],
                    format!("\nfun {sum}({t}: {tree}): int "),
                    vec![Stmt(parts![format!(
                        "return match {t} {{ {leaf} => 1 {node}(l, v, r) => {sum}(l) + {value} + {sum}(r) }}"
                    )])],
                    format!("\nfun {f}({n}: int): int "),
                    vec![Stmt(parts![format!("return {sum}({build}({n}))")])]
                ])
            }
            _ => {
                // Makes a counter.
                function.depth = 0;
                let (count, step) = (self.name("i"), self.r.pick(&["1", "3", "0.5"]));
                let ty = if step == "0.5" { "float" } else { "int" };
                function.result = if step == "0.5" { Type::Float } else { Type::Int };
                let make = self.name("f");
                Stmt(parts![
                    format!("fun {make}({n}: {ty}): fun(): {ty} "),
                    vec![
                        Stmt(parts![format!("var {count} = {n}")]),
                        Stmt(parts![
                            format!("return fun(): {ty} "),
                            vec![
                                Stmt(parts![format!("{count} = {count} + {step}")]),
                                Stmt(parts![format!("return {count}")]),
                            ]
                        ]),
                    ],
                    format!("\nfun {f}({a}: int): {ty} "),
                    vec![
                        Stmt(parts![format!("let {b} = {make}({a})")]),
                        Stmt(parts![format!("for k in 0..{a} % 60 "), vec![Stmt(parts![format!("{b}()")])]]),
                        Stmt(parts![format!("return {b}()")]),
                    ]
                ])
            }
        };
        self.functions.push(function);
        stmt
    }
}
