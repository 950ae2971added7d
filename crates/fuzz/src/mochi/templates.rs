//! What people write again and again: small algorithms with other parts in them.

use super::*;

impl Generator {
    /// A statement of several lines.
    pub(super) fn template(&mut self) -> Stmt {
        self.spent += self.times * 20.0;
        let (a, b, c) = (self.name("i"), self.name("i"), self.name("t"));
        match self.r.below(7) {
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
        let stmt = match self.r.below(5) {
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
