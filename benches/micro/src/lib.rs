//! The programs of the micro-benchmarks, in Mochi, and how they come into an instance.
//!
//! What is measured is in `benches/micro`. Programs are generated, so that each size and depth is the same code again, and tests
//! here hold them to what they say: so many instructions, the same answer in each tier.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::time::Duration;

use upshift::tiers::measure::{self, Force};
use upshift::{Config, Engine, Grants, Instance, Limits, Module, Tier};
use upshift_cli::session::{self, Parsed, Phases};
use upshift_mochi::lower::Tests;

/// How a program of many instructions is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Functions of some thirty instructions that call two small ones.
    Functions,
    /// One function with one loop behind another, without calls.
    OneFunction,
}

impl Shape {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Functions => "functions",
            Shape::OneFunction => "one",
        }
    }

    /// A program of about so many instructions of bytecode.
    pub fn program(self, instructions: u64) -> String {
        // Programs grow by equal parts, so that two of them say how many are needed.
        let (one, many) = (self.measured(1), self.measured(11));
        let part = (many - one) / 10;
        self.parts((instructions.saturating_sub(one - part) / part).max(1))
    }

    fn measured(self, parts: u64) -> u64 {
        measure::count(&load(&session::engine(Config::default()), &self.parts(parts)))
    }

    fn parts(self, parts: u64) -> String {
        let mut text = String::new();
        match self {
            Shape::Functions => {
                text += "fun clamp(x: int): int { if x > 1000003 { return x - 1000003 } return x }\n";
                text += "fun mix(x: int, y: int): int { return x * 3 + y }\n";
                for i in 0..parts {
                    let _ = writeln!(
                        text,
                        "fun f{i}(n: int, xs: list<int>): int {{\n  var s = {i}\n  for i in 0..n {{\n    \
                         s = clamp(mix(s, xs[i % 8]))\n    if s % 7 == 3 {{ s = s + {} }}\n  }}\n  return s\n}}",
                        i % 100
                    );
                }
            }
            Shape::OneFunction => {
                text += "fun f0(n: int, xs: list<int>): int {\n  var s = 1\n";
                for i in 0..parts {
                    let _ = writeln!(
                        text,
                        "  for i in 0..n {{ s = (s * 3 + xs[i % 8]) % 1000003 }}\n  if s % 7 == 3 {{ s = s + {} }}",
                        i % 100
                    );
                }
                text += "  return s\n}\n";
            }
        }
        // What is never called has no types and no code.
        text += "let xs = [1, 2, 3, 4, 5, 6, 7, 8]\n";
        let functions = if self == Shape::Functions { parts } else { 1 };
        for i in 0..functions {
            let _ = writeln!(text, "let r{i} = f{i}(8, xs)");
        }
        text
    }
}

/// What a chain of operators computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chain {
    /// Sums and differences of ints.
    Arithmetic,
    /// Conditions joined by `&&`, all true.
    Boolean,
}

/// Which operands of a chain are variables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operands {
    /// None.
    Constant,
    /// The first.
    FirstVariable,
    /// All.
    Variable,
}

impl Chain {
    /// Both.
    pub const ALL: [Chain; 2] = [Chain::Arithmetic, Chain::Boolean];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Chain::Arithmetic => "arithmetic",
            Chain::Boolean => "boolean",
        }
    }

    /// A program whose `run(n, a, b)` evaluates a chain with so many operators in each of `n` turns of a loop. `a` is to be greater
    /// than zero and `b` less.
    pub fn program(self, operands: Operands, depth: usize) -> String {
        // The first operand changes in each turn, so that no chain with a variable is the same in two turns.
        let (first, rest) = match (self, operands) {
            (Chain::Arithmetic, Operands::Constant) => ("1", ["5", "3"]),
            (Chain::Arithmetic, Operands::FirstVariable) => ("i", ["5", "3"]),
            (Chain::Arithmetic, Operands::Variable) => ("i", ["a", "b"]),
            (Chain::Boolean, Operands::Constant) => ("1 < 2", ["3 < 5", "4 > 2"]),
            (Chain::Boolean, Operands::FirstVariable) => ("i < n", ["3 < 5", "4 > 2"]),
            (Chain::Boolean, Operands::Variable) => ("i < n", ["i < a", "i > b"]),
        };
        let mut chain = first.to_string();
        for k in 0..depth {
            let operator = match (self, k % 2) {
                (Chain::Arithmetic, 0) => "+",
                (Chain::Arithmetic, _) => "-",
                (Chain::Boolean, _) => "&&",
            };
            let _ = write!(chain, " {operator} {}", rest[k % 2]);
        }
        let turn = match self {
            Chain::Arithmetic => format!("s = (s + ({chain})) % 1000003"),
            Chain::Boolean => format!("if {chain} {{ s = s + 1 }}"),
        };
        format!(
            "fun run(n: int, a: int, b: int): int {{\n  var s = 0\n  for i in 0..n {{ {turn} }}\n  return s\n}}\n\
             let ran = run(1, 1, -1)\n"
        )
    }
}

impl Operands {
    /// All forms.
    pub const ALL: [Operands; 3] = [Operands::Constant, Operands::FirstVariable, Operands::Variable];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Operands::Constant => "constant",
            Operands::FirstVariable => "first variable",
            Operands::Variable => "variable",
        }
    }
}

/// Processor time of this thread: the machine may be shared, and nothing that is measured waits.
pub fn clock() -> Duration {
    cpu_time::ThreadTime::now().as_duration()
}

/// Parses a program without errors.
///
/// # Panics
/// It has errors.
pub fn parsed(text: &str) -> Parsed {
    let mut parsed = session::parse_program("micro.mochi", text.into(), &mut Phases::default());
    session::find_unsupported(&mut parsed, &mut Phases::default());
    assert!(!parsed.has_errors(), "a program of the benchmarks has errors");
    parsed
}

/// The module of a program.
pub fn lowered(text: &str) -> upshift::bytecode::Module {
    session::compile(&mut parsed(text), Tests::Inline, &mut Phases::default()).module
}

/// Brings a program into an engine that has the library.
///
/// # Panics
/// It has errors.
pub fn load(engine: &Engine, text: &str) -> Module {
    match engine.load(&lowered(text)) {
        Ok(module) => module,
        Err(error) => panic!("a program of the benchmarks is not loaded: {error}"),
    }
}

/// The tiers that code is forced into, slowest first, with the names of reports.
pub const TIERS: [(&str, Option<Force>); 3] =
    [("interpreter", None), ("baseline", Some(Force::Baseline)), ("optimized", Some(Force::Optimized))];

/// A configuration in which nothing moves by itself, nothing is inlined if so wished, and code never retires.
pub fn still(inlining: bool) -> Config {
    let mut config = Config::default();
    config.tier = Tier::Auto;
    let tiers = &mut config.tiers;
    tiers.baseline_heat = u32::MAX;
    tiers.optimize_heat = u32::MAX;
    tiers.eager = true;
    tiers.sync = true;
    tiers.failures = u32::MAX;
    if !inlining {
        tiers.inline_callee = 0;
    }
    config
}

/// An instance with a program, whose functions are in these tiers.
///
/// # Panics
/// It does not come about.
pub fn instance(
    config: Config,
    module: impl FnOnce(&Engine) -> Module,
    forced: &[(&str, Option<Force>)],
) -> Instance {
    let engine = session::engine(config);
    let module = module(&engine);
    let mut instance = match engine.instantiate(&module, Grants::none(), Limits::default()) {
        Ok(instance) => instance,
        Err(error) => panic!("no instance: {error}"),
    };
    for &(name, tier) in forced {
        if let Some(tier) = tier {
            assert!(measure::force(&mut instance, name, tier), "no code of `{name}` came about");
        }
    }
    instance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_the_size_they_are_asked_for() {
        let engine = session::engine(Config::default());
        for shape in [Shape::Functions, Shape::OneFunction] {
            for size in [100, 1_000, 10_000] {
                let found = measure::count(&load(&engine, &shape.program(size)));
                assert!(found.abs_diff(size) <= size / 2, "{shape:?}: {found} for {size}");
            }
        }
    }

    #[test]
    fn chains_agree_in_all_tiers() {
        for chain in Chain::ALL {
            for operands in Operands::ALL {
                let text = chain.program(operands, 50);
                let results = TIERS.map(|tier| {
                    let mut instance =
                        instance(still(true), |engine| load(engine, &text), &[("run", tier.1)]);
                    let run = instance.function::<(i64, i64, i64), i64>("run").unwrap();
                    instance.call(&run, (1_000, 1_000_000, -1)).unwrap()
                });
                assert!(results.iter().all(|r| *r == results[0]), "{chain:?} {operands:?}: {results:?}");
                if chain == Chain::Boolean {
                    assert_eq!(results[0], 1_000);
                }
            }
        }
    }
}
