//! Text tests of the type analysis: `filetests/infer/*.mochi` hold a program and, in comments at its end, what is expected.
//!
//! ```text
//! // bind x: list<int>        the slot of the variable (of several of one name: `x#2` is the second in the text)
//! // result f: int?           the result of a function
//! // field Point.x: float     the slot of a field
//! // shares 3: xs             line 3 has an expression `xs` at which a list is marked as shared
//! // in place 4               line 4 has an append that may work in place
//! // borrows p                the variable is no lasting reference
//! // demoted 2                how many slots were demoted
//! ```
//!
//! `not` before `shares`, `in place` and `borrows` says the opposite. Run with `CORPUS=dir` to look at all programs below a
//! directory as well: none may panic, and the share of proven slots is printed.

use std::path::{Path, PathBuf};

use upshift_mochi::infer::{Types, infer};
use upshift_mochi::resolve::{Resolution, resolve};
use upshift_mochi::source::SourceMap;
use upshift_mochi::syntax::ast::{BindId, ExprId, ExprKind, FunId, Interner, Program};
use upshift_mochi::syntax::parse;

struct Analysis {
    sources: SourceMap,
    names: Interner,
    program: Program,
    resolution: Resolution,
    types: Types,
}

fn analyse(text: &str) -> Option<Analysis> {
    let (mut sources, mut names) = (SourceMap::new(), Interner::new());
    let file = sources.add("test.mochi", text);
    let (mut program, diagnostics) = parse(&sources, file, &mut names);
    if !diagnostics.is_empty() {
        return None;
    }
    program.plan_queries(&names);
    let resolution = resolve(&program, &mut names);
    let types = infer(&program, &resolution, &names);
    Some(Analysis { sources, names, program, resolution, types })
}

impl Analysis {
    fn bind(&self, name: &str) -> BindId {
        let (name, number) = name.split_once('#').map_or((name, 1), |(name, at)| (name, at.parse().unwrap()));
        let mut found: Vec<BindId> = (0..self.resolution.bind_count())
            .map(BindId::new)
            .filter(|&bind| &self.names[self.resolution.bind(bind).name] == name)
            .collect();
        found.sort_by_key(|&bind| (self.resolution.bind(bind).span.start, bind));
        *found.get(number - 1).unwrap_or_else(|| panic!("no variable {name} number {number}"))
    }

    fn text(&self, id: upshift_mochi::infer::TyId) -> String {
        self.types.text(id, &self.resolution, &self.names)
    }

    fn exprs_on(&self, line: u32) -> impl Iterator<Item = ExprId> {
        let on_line = move |id: &ExprId| self.sources.line_column(self.program[*id].span).line == line;
        (0..self.program.exprs.len()).map(ExprId::new).filter(on_line)
    }

    fn check(&self, wanted: &str) -> Result<(), String> {
        let (yes, fact) = wanted.strip_prefix("not ").map_or((true, wanted), |rest| (false, rest));
        let is = |found: bool| if found == yes { Ok(()) } else { Err(format!("`{wanted}` does not hold")) };
        let same = |found: String, wanted: &str| {
            if found == wanted { Ok(()) } else { Err(format!("{fact}: found {found}")) }
        };
        if let Some(name) = fact.strip_prefix("borrows ") {
            return is(self.types.borrows(self.bind(name)));
        }
        if let Some(line) = fact.strip_prefix("in place ") {
            let line = line.parse().unwrap();
            return is(self.exprs_on(line).any(|id| self.types.in_place(id)));
        }
        if let Some(count) = fact.strip_prefix("demoted ") {
            return same(self.types.demotions.len().to_string(), count);
        }
        let (what, ty) = fact.split_once(": ").ok_or_else(|| format!("cannot read `{fact}`"))?;
        if let Some(line) = what.strip_prefix("shares ") {
            let line = line.parse().unwrap();
            let found = self
                .exprs_on(line)
                .any(|id| self.sources.text(self.program[id].span) == ty && self.types.shares(id));
            return is(found);
        }
        if let Some(name) = what.strip_prefix("bind ") {
            return same(self.text(self.types.bind(self.bind(name))), ty);
        }
        if let Some(name) = what.strip_prefix("result ") {
            let named = |fun: &FunId| {
                self.program[*fun].bind.is_some_and(|bind| &self.names[self.program[bind].name] == name)
            };
            let fun = (0..self.program.funs.len()).map(FunId::new).find(named);
            let fun = fun.ok_or_else(|| format!("no function {name}"))?;
            return same(self.text(self.types.result(fun)), ty);
        }
        if let Some((of, field)) = what.strip_prefix("field ").and_then(|path| path.split_once('.')) {
            for (index, info) in self.resolution.structs.iter().enumerate() {
                if &self.names[info.name] == of {
                    let id = upshift_mochi::resolve::StructId(index as u32);
                    let fields = self.resolution.fields(&self.program, id);
                    let at = fields.iter().position(|decl| &self.names[decl.name.name] == field).unwrap();
                    return same(self.text(self.types.fields(id)[at]), ty);
                }
            }
            for (index, info) in self.resolution.ctors.iter().enumerate() {
                if &self.names[info.name] == of {
                    let id = upshift_mochi::resolve::CtorId(index as u32);
                    let fields = self.resolution.ctor_fields(&self.program, id);
                    let at = fields.iter().position(|decl| &self.names[decl.name.name] == field).unwrap();
                    return same(self.text(self.types.ctor_fields(id)[at]), ty);
                }
            }
        }
        Err(format!("cannot read `{fact}`"))
    }
}

fn programs_below(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            programs_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "mochi") {
            found.push(path);
        }
    }
}

#[test]
fn slots_are_as_the_files_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/infer");
    let mut files = Vec::new();
    programs_below(&dir, &mut files);
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().to_string();
        let Some(analysis) = analyse(&text) else {
            failures.push(format!("{name}: does not parse"));
            continue;
        };
        let expected = text.lines().rev().map_while(|line| line.strip_prefix("// ").map(str::trim));
        let expected: Vec<&str> = expected.collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        for wanted in expected.into_iter().rev() {
            if let Err(message) = analysis.check(wanted) {
                failures.push(format!("{name}: {message}"));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn hostile_programs_are_analysed_quickly() {
    let nest = |before: &str, open: &str, inner: &str, close: &str| {
        format!("{before}{}{inner}{}", open.repeat(150), close.repeat(150))
    };
    let chain = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let programs = [
        format!("let x = 0{}\nprint(x)", " + 1".repeat(100_000)),
        format!("let x = true{}\nprint(x)", " && true".repeat(100_000)),
        format!("{}{}", "[".repeat(400), "]".repeat(400)),
        // Each variable wraps the one before it.
        format!("let x0 = [1]\n{}", chain(5000, &|i| format!("let x{} = [x{i}]\n", i + 1))),
        // The kind of the last variable comes back to the first through a loop.
        format!(
            "{}while true {{\n{}x4999 = \"a\" }}",
            chain(5000, &|i| format!("var x{i} = 0\n")),
            chain(4999, &|i| format!("x{i} = x{}\n", i + 1))
        ),
        // Functions that return each other's results, last first.
        format!(
            "{}fun f5000(x) {{ return x }}\nf0(1)\nf0([1])",
            chain(5000, &|i| { format!("fun f{i}(x) {{ return f{}(x) }}\n", i + 1) })
        ),
        nest("fun f(x) { return x }\nf", "f(", "1", ")"),
        nest("let x = 0\n", "if x == 0 { ", "print(x)", " }"),
        nest("let f = ", "fun(x) => ", "x", ""),
        nest("let f = ", "if true { ", "1", " } else { 2 }"),
        nest("let x = 1\nlet y = ", "match x { 1 => ", "2", " }"),
        nest("let x = ", "-", "1", ""),
        // Plans nest deeper than queries.
        format!("let x = {}1", "from a in [1] select ".repeat(35)),
        nest("let x = 1\nlet y = x", "[", "0", "]"),
        nest("", "fun f() { ", "return 1", " }"),
        "fun f(g) { return g(g) }\nvar xs = []\nxs = append(xs, xs)\nlet y = f(f)\nf(xs)".to_string(),
        "type A = map<B, B>\ntype B = map<A, A>\nlet x: A = {}\nx[x] = x".to_string(),
        (0..40).map(|i| format!("type T{i} = map<T{}, T{}>\n", i + 1, i + 1)).collect::<String>()
            + "let x: T0 = {}",
    ];
    for program in programs {
        let start = std::time::Instant::now();
        let Some(_) = analyse(&program) else {
            panic!("does not parse: {}", &program[..60.min(program.len())])
        };
        eprintln!("{:>8.2?} {:?}", start.elapsed(), &program[..40.min(program.len())]);
    }
}

#[test]
fn programs_of_a_corpus() {
    let Ok(dir) = std::env::var("CORPUS") else { return };
    let mut files = Vec::new();
    programs_below(Path::new(&dir), &mut files);
    let (mut slots, mut proven, mut demoted, mut programs, mut lines) = (0, 0, 0, 0, 0);
    let (mut exprs, mut proven_exprs) = (0, 0);
    let mut time = std::time::Duration::ZERO;
    let verbose = std::env::var("VERBOSE").is_ok();
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let (mut sources, mut names) = (SourceMap::new(), Interner::new());
        let file = sources.add("test.mochi", text.as_str());
        let (program, diagnostics) = parse(&sources, file, &mut names);
        if !diagnostics.is_empty() {
            continue;
        }
        let start = std::time::Instant::now();
        let resolution = resolve(&program, &mut names);
        let types = infer(&program, &resolution, &names);
        time += start.elapsed();
        programs += 1;
        lines += text.lines().count();
        slots += types.slot_count;
        proven += types.proven_count;
        demoted += types.demotions.len();
        for (index, expr) in program.exprs.iter().enumerate() {
            if !matches!(
                expr.kind,
                ExprKind::Int(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::Float(_)
            ) {
                exprs += 1;
                proven_exprs +=
                    usize::from(types.expr(ExprId::new(index)) != upshift_mochi::infer::TyId::ANY);
            }
        }
        if std::env::var("UNDEFINED").is_ok() {
            for (index, expr) in program.exprs.iter().enumerate() {
                let id = ExprId::new(index);
                let name = sources.text(expr.span);
                match expr.kind {
                    ExprKind::Name(_)
                        if resolution.callee(id).is_none()
                            && resolution.name(id) == upshift_mochi::resolve::Resolved::Undeclared =>
                    {
                        println!("name {name} in {}", path.display());
                    }
                    ExprKind::Call { .. } if types.call(id) == upshift_mochi::infer::CallKind::Undefined => {
                        println!("call {name} in {}", path.display());
                    }
                    _ => {}
                }
            }
        }
        if verbose {
            for demotion in &types.demotions {
                let place = sources.line_column(demotion.span);
                let cause = demotion.cause.map_or("", |span| sources.text(span)).lines().next().unwrap_or("");
                let at = sources.text(demotion.span).lines().next().unwrap_or("");
                println!(
                    "{}:{} `{at}` {} -> {}: {} at `{cause}`",
                    path.display(),
                    place.line,
                    demotion.expected,
                    demotion.found,
                    demotion.reason
                );
            }
        }
    }
    println!(
        "{programs} programs, {lines} lines, {time:.1?}; {proven} of {slots} slots proven, {demoted} demoted; \
         {proven_exprs} of {exprs} expressions typed"
    );
}
