//! Properties of parser and printer: what is printed parses again to the same tree, and nothing that is thrown at the parser
//! makes it panic.
//!
//! Programs are written by a small generator that turns a string of random numbers into a program text, choosing freely among
//! all forms of the grammar. When a test fails, proptest shortens the numbers and with them the program.

use proptest::prelude::*;

use upshift_mochi::diagnostics::render;
use upshift_mochi::source::SourceMap;
use upshift_mochi::syntax::ast::{Interner, Program};
use upshift_mochi::syntax::{parse, print};

struct Writer<'a> {
    choices: std::slice::Iter<'a, u8>,
    out: String,
    depth: usize,
}

/// Pieces of the grammar; in a template, `$e` stands for an expression and so on: see [`Writer::template`].
const EXPRESSIONS: &[&str] = &[
    "$n",
    "1",
    "0xff",
    "2.5",
    "1e3",
    "\"a\\n\\\"b\\\\ü\"",
    "true",
    "none",
    "($e)",
    "($e)",
    "$p.$n",
    "$p?.$n",
    "$p[$e]",
    "$p?[$e]",
    "$p[$s:$s]",
    "$p[$s:$s:$s]",
    "$p($a)",
    "$p as $t",
    "($e as $t)",
    "-$u",
    "!$u",
    "$u $o $u",
    "$u $o $u",
    "$u $o $u",
    "$u $o $u",
    "if $h { $e } else { $e }",
    "if $h { $e } else if $h { $e }",
    "if $h then $u else $u",
    "[$a]",
    "{$m}",
    "$N { $f }",
    "$N {}",
    "fun($r): $t => $e",
    "fun<T>($r) { $b }",
    "match $h { $k }",
    "from $n in $u $q select $u",
    "query $n($n, \"s\", 1)",
    "generate text { $f }",
    "fetch $u with $u",
    "load \"f\" as $t with {$m}",
    "save $u to \"g\"",
    "$n($a)",
    "$p.$n($a)",
];
const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "&&",
    "||",
    "??",
    "union",
    "union all",
    "except",
    "intersect",
];
const TYPES: &[&str] = &[
    "int",
    "T",
    "list<$t>",
    "map<$t, $t>",
    "fun($t, $t): $t",
    "fun()",
    "{$n: $t, $n: $t}",
    "int?",
    "list<$t>?",
];
const CLAUSES: &[&str] = &[
    "",
    "",
    "where $u",
    "from $n in $u",
    "join $n in $u on $u",
    "left join $n in $u on $u where $u",
    "sort by $u",
    "skip $u take $u",
    "group by $u, $u into $n having $u",
    "group by $u into $n sort by -$u",
];
const PATTERNS: &[&str] = &["_", "$n", "1", "\"s\"", "none", "true", "$N($l, $l)", "$N()", "($l)"];
const STATEMENTS: &[&str] = &[
    "let $n = $e",
    "var $n: $t = $e",
    "let $n: int",
    "$n = $e",
    "$n[$e].$n = $e",
    "fun $n($r): $t { $b }",
    "export fun $n<T, U>($r) ! io, fs { $b }",
    "return $e",
    "if $h { $b }",
    "if $h { $b } else if $h { $b } else { $b }",
    "while $h { $b }",
    "for $n in $h { $b }",
    "for $n in $h..$h { $b }",
    "break",
    "continue",
    "$n($a)",
    "$p.$n($a)",
    "test \"t\" { $b }",
    "bench \"b\" { $b }",
    "expect $e",
    "type $N { $n: $t fun $n() { $b } }",
    "type $N = $N($n: $t) | $N",
    "type $N = $t",
    "type $N = $N { $n: $t $n: $t }",
    "import go \"a/b\" as $n auto",
    "import \"x\"",
    "extern fun $n.$n($r): $t",
    "extern var $n: $t",
    "extern type $N",
    "fetch $u into $n with $u",
    "update $n set {$m} where $u",
    "fact $n(1, \"a\")",
    "rule $n(x) :- $n(x, y), x != y",
    "stream $N { $n: $t }",
    "on $N as $n { $b }",
    "emit $N { $f }",
    "model $n { $f }",
    "agent $N { var $n = $e intent $n($r) { $b } on $N as $n { $b } }",
];
const NAMES: &[&str] = &["a", "b", "x1", "größe", "model", "select", "to", "all", "_y"];

impl Writer<'_> {
    fn choice(&mut self, count: usize) -> usize {
        // Without numbers left, the first and simplest form ends everything.
        self.choices.next().map_or(0, |&number| number as usize % count)
    }

    fn pick(&mut self, forms: &[&'static str]) -> &'static str {
        let index = if self.depth > 12 { 0 } else { self.choice(forms.len()) };
        forms[index]
    }

    fn form(&mut self, forms: &[&'static str]) {
        let form = self.pick(forms);
        self.template(form);
    }

    fn several(&mut self, most: usize, separator: &str, form: &str) {
        let count = if self.depth > 12 { 0 } else { self.choice(most + 1) };
        for index in 0..count {
            if index > 0 {
                self.out.push_str(separator);
            }
            self.template(form);
        }
    }

    fn template(&mut self, template: &str) {
        self.depth += 1;
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            self.out.push_str(&rest[..at]);
            let hole = &rest[at + 1..at + 2];
            rest = &rest[at + 2..];
            match hole {
                "e" => self.form(EXPRESSIONS),
                // An operand: forms that are open at their end stand in parentheses.
                "u" | "p" | "h" => {
                    let form = self.pick(EXPRESSIONS);
                    let bare = match hole {
                        "p" => {
                            form.starts_with("$p") && !form.contains(" as ")
                                || !form.contains([' ', '!', '-'])
                        }
                        _ => form.starts_with("$p") || !form.contains(' '),
                    };
                    if bare {
                        self.template(form);
                    } else {
                        self.out.push('(');
                        self.template(form);
                        self.out.push(')');
                    }
                }
                "s" => self.several(1, "", "($e)"),
                "a" => self.several(3, ", ", "$e"),
                "m" => self.several(3, ", ", "$K: $e"),
                "K" => self.form(&["$n", "\"k\"", "1", "($e)", "none"]),
                "f" => self.several(3, ", ", "$n: $e"),
                "r" => self.several(3, ", ", "$R"),
                "R" => self.form(&["$n", "$n: $t"]),
                "k" => self.several(3, "\n", "$l => $B"),
                "B" => self.form(&["$e", "{ $b }", "{$m}"]),
                "b" => self.several(3, "\n", "$S"),
                "S" => self.form(STATEMENTS),
                "l" => self.form(PATTERNS),
                "q" => self.form(CLAUSES),
                "t" => self.form(TYPES),
                "o" => self.form(OPERATORS),
                "n" => self.form(NAMES),
                "N" => self.form(&["P", "Q"]),
                _ => panic!("no such hole: {hole}"),
            }
        }
        self.out.push_str(rest);
        self.depth -= 1;
    }
}

fn program_text(choices: &[u8]) -> String {
    let mut writer = Writer { choices: choices.iter(), out: String::new(), depth: 0 };
    while !writer.choices.as_slice().is_empty() {
        writer.template("$S\n");
    }
    writer.out
}

/// The whole tree as text, without places.
fn shape(program: &Program) -> String {
    let text = format!("{program:?}");
    let mut shape = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        shape.push_str(before);
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (digits, behind) = number.split_at(digits);
        rest = match behind.strip_prefix("..") {
            Some(end) => end.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => {
                shape.push_str(digits);
                behind
            }
        };
    }
    shape + rest
}

fn check_round_trip(text: &str) -> Result<bool, TestCaseError> {
    let mut names = Interner::new();
    let mut parse_text = |text: &str| {
        let mut sources = SourceMap::new();
        let file = sources.add("test.mochi", text);
        let (program, diagnostics) = parse(&sources, file, &mut names);
        let printed = diagnostics.is_empty().then(|| print(&program, &names));
        (
            program,
            printed,
            diagnostics.iter().map(|diagnostic| render(&sources, diagnostic, false)).collect::<String>(),
        )
    };
    let (first, Some(printed), _) = parse_text(text) else { return Ok(false) };
    let (second, again, diagnostics) = parse_text(&printed);
    prop_assert!(
        diagnostics.is_empty(),
        "{text}\nwas printed as\n{printed}\nwhich does not parse:\n{diagnostics}"
    );
    prop_assert_eq!(again, Some(printed));
    prop_assert_eq!(shape(&first), shape(&second));
    Ok(true)
}

/// Parses, renders and prints. Mutation also makes programs that have no canonical text, as the printer's documentation
/// says: no round trip is asked of them.
fn check_no_panic(text: &str) {
    let (mut sources, mut names) = (SourceMap::new(), Interner::new());
    let file = sources.add("test.mochi", text);
    let (program, diagnostics) = parse(&sources, file, &mut names);
    for diagnostic in &diagnostics {
        assert!(!render(&sources, diagnostic, false).is_empty());
    }
    let printed = print(&program, &names);
    let file = sources.add("printed.mochi", printed);
    parse(&sources, file, &mut names);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_round_trips(choices in prop::collection::vec(any::<u8>(), 1..400)) {
        check_round_trip(&program_text(&choices))?;
    }

    #[test]
    fn token_soup_does_not_panic(choices in prop::collection::vec((any::<u8>(), any::<u8>()), 1..200)) {
        let pieces: Vec<&str> = [EXPRESSIONS, OPERATORS, TYPES, CLAUSES, PATTERNS, STATEMENTS, NAMES]
            .iter()
            .flat_map(|forms| forms.iter())
            .flat_map(|form| form.split(['$', ' ']))
            .chain(["{", "}", "(", ")", "[", "]", "\n", "\"", "/*", "*/", "//", "é", "\u{feff}", "\\", "'", "&", "1x", "=>"])
            .collect();
        let mut text = String::new();
        for (piece, space) in choices {
            text.push_str(pieces[piece as usize * 3 % pieces.len()]);
            text.push_str(["", " ", "\n", " "][space as usize % 4]);
        }
        check_no_panic(&text);
    }

    #[test]
    fn mutated_programs_do_not_panic(
        choices in prop::collection::vec(any::<u8>(), 1..300),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = program_text(&choices).into_bytes();
        for (place, byte) in cuts {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match byte % 3 {
                0 => { bytes.remove(at); }
                1 => bytes.truncate(at),
                _ => bytes.insert(at, b"(){}[]\"\\.,:=<>?-x1 \n"[byte as usize % 20]),
            }
        }
        check_no_panic(&String::from_utf8_lossy(&bytes));
    }
}

/// The generator is worth nothing if most of what it writes does not parse.
#[test]
fn generated_programs_parse() {
    let mut state = 1_u32;
    let mut good = 0;
    for _ in 0..500 {
        let choices: Vec<u8> = (0..120)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        good += usize::from(check_round_trip(&program_text(&choices)).expect("a round trip"));
    }
    assert!(good > 200, "only {good} of 500 programs parse");
}
