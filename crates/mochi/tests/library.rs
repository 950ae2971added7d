//! The run-time library, through whole programs: notations, casts, dynamic access, calls, and its errors.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use upshift::{Config, Engine, Grants, Limits, RunError, TrapCode};
use upshift_mochi::infer::infer;
use upshift_mochi::lower::{Tests, lower};
use upshift_mochi::resolve::resolve;
use upshift_mochi::source::SourceMap;
use upshift_mochi::syntax::ast::Interner;
use upshift_mochi::syntax::parse;

/// Standard output that can be looked at.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a program with an input; what it printed, and how it ended.
fn run_with(source: &str, input: &str) -> (String, Result<(), RunError>) {
    let mut sources = SourceMap::new();
    let mut names = Interner::new();
    let (file, _) = sources.add_bytes("test.mochi", source.as_bytes().to_vec());
    let (program, diagnostics) = parse(&sources, file, &mut names);
    assert!(diagnostics.is_empty(), "{diagnostics:?}\n{source}");
    let resolution = resolve(&program, &mut names);
    let types = infer(&program, &resolution, &names);
    let module = lower(&program, &names, &sources, &resolution, &types, Tests::Inline);
    let mut config = Config::default();
    upshift_mochi::library::register(&mut config.hosts);
    let engine = Engine::new(config);
    let module = engine.load(&module).expect("lowered modules are valid");
    let output = Output::default();
    let grants = Grants::none().stdout(output.clone()).stdin(Cursor::new(input.to_string())).clock();
    let mut instance =
        engine.instantiate(&module, grants, Limits::default().memory(256 << 20)).expect("there is memory");
    let result = instance.run();
    drop(instance);
    let bytes = output.0.lock().unwrap().clone();
    (String::from_utf8(bytes).expect("output is text"), result)
}

#[track_caller]
fn prints(source: &str, expected: &str) {
    let (output, result) = run_with(source, "");
    if let Err(error) = result {
        panic!("{error}\nafter: {output}");
    }
    assert_eq!(output, expected, "{source}");
}

#[track_caller]
fn fails(source: &str, code: TrapCode, message: &str) {
    let (output, result) = run_with(source, "");
    let error = result.expect_err(&output);
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(message), "{error}");
}

#[test]
fn the_table_of_notations() {
    // Value; print(v), str(v), print([v]), str([v]), json(v).
    for (value, shown) in [
        ("3", ["3", "3", "[3]", "[3]", "3"]),
        ("2.0", ["2", "2", "[2.0]", "[2]", "2"]),
        ("123456.0", ["123456", "123456", "[123456.0]", "[123456]", "123456"]),
        ("1000000.0", ["1e+06", "1e+06", "[1000000.0]", "[1e+06]", "1000000"]),
        ("0.00001", ["1e-05", "1e-05", "[0.00001]", "[1e-05]", "0.00001"]),
        ("-0.0", ["-0", "-0", "[-0.0]", "[-0]", "-0"]),
        ("true", ["true", "true", "[true]", "[true]", "true"]),
        ("none", ["nil", "<nil>", "[nil]", "[<nil>]", "null"]),
        (r#""a\"b""#, ["a\"b", "a\"b", r#"["a\"b"]"#, "[a\"b]", r#""a\"b""#]),
        ("[]", ["[]", "[]", "[[]]", "[[]]", "[]"]),
        ("{}", ["{}", "map[]", "[{}]", "[map[]]", "{}"]),
        (
            r#"{"b": 1, "a": [none]}"#,
            [
                r#"{"a": [nil], "b": 1}"#,
                "map[a:[<nil>] b:1]",
                r#"[{"a": [nil], "b": 1}]"#,
                "[map[a:[<nil>] b:1]]",
                "{\n  \"a\": [\n    null\n  ],\n  \"b\": 1\n}",
            ],
        ),
        (
            "P { x: 1 }",
            [
                r#"{"__name": "P", "x": 1}"#,
                "map[__name:P x:1]",
                r#"[{"__name": "P", "x": 1}]"#,
                "[map[__name:P x:1]]",
                "{\n  \"__name\": \"P\",\n  \"x\": 1\n}",
            ],
        ),
    ] {
        let source = format!(
            "type P {{ x: int }}\nlet v = {value}\nprint(v)\nprint(str(v))\nprint([v])\nprint(str([v]))\njson(v)\n"
        );
        prints(&source, &format!("{}\n", shown.join("\n")));
    }
}

#[test]
fn fields_and_keys_are_in_byte_order() {
    prints(
        "type T { b: int, Z: int, a: int }\nprint(T { b: 1, Z: 2, a: 3 })",
        "{\"Z\": 2, \"__name\": \"T\", \"a\": 3, \"b\": 1}\n",
    );
    prints("print({10: \"x\", 9: \"y\"})", "{\"10\": \"x\", \"9\": \"y\"}\n");
}

#[test]
fn lines_of_three_or_more_arguments_are_trimmed() {
    prints("print(\" a \", \"b \")", " a  b \n");
    prints("print(\" a\", \"b\", \" \")", "a b\n");
    prints("print()\nprint(\"\", \"\", \"\")", "\n\n");
}

#[test]
fn nested_text_is_escaped() {
    prints(r#"print(["\n\t\\\x01é\u00a0\u200b"])"#, "[\"\\n\\t\\\\\\x01é\\u00a0\\u200b\"]\n");
    prints(r#"print(to_json("<&>\x01é\t"))"#, "\"\\u003c\\u0026\\u003e\\u0001é\\t\"\n");
}

#[test]
fn cycles_and_depth() {
    prints(
        "let c: list<any> = [1]\nc[0] = c\nprint(c)\nlet m: map<string, any> = {}\nm[\"m\"] = m\nprint(m)\nprint(str(m))",
        "[[...]]\n{\"m\": {...}}\nmap[m:map[...]]\n",
    );
    // The same container twice is no cycle.
    prints("let a: any = [1]\nlet b: any = [a, a]\nprint(b)", "[[1], [1]]\n");
    prints(
        "var x: any = 1\nvar y: any = 1\nvar i = 0\nwhile i < 200000 { x = [x] y = [y] i = i + 1 }\nprint(x == y, len(str(x)))",
        "true 400001\n",
    );
    prints("let a: list<any> = [1]\nlet b: list<any> = [1]\na[0] = b\nb[0] = a\nprint(a == b)", "true\n");
    fails("let c: list<any> = [1]\nc[0] = c\njson(c)", TrapCode::InvalidArgument, "contains itself");
    fails("json([1.0 / 1e-320])", TrapCode::InvalidArgument, "no JSON form");
}

#[test]
fn keys_of_any_kind() {
    prints(
        "let m: any = {}\nm[[1, 2]] = 1\nm[1.5] = 2\nm[none] = 3\nm[true] = 4\nm[{\"k\": 1}] = 5\nprint(m, m[[1, 2]], m[\"1.5\"], keys(m))",
        "{\"1.5\": 2, \"<nil>\": 3, \"[1 2]\": 1, \"map[k:1]\": 5, \"true\": 4} 1 2 [1.5, nil, [1, 2], {\"k\": 1}, true]\n",
    );
    // A map as key of a map as key, and so on.
    prints(
        "var m: any = {}\nvar i = 0\nwhile i < 20000 { let n: any = {} n[m] = i m = n i = i + 1 }\nprint(len(str(m)))",
        "107\n",
    );
}

#[test]
fn equality_is_structural() {
    prints(
        "let a: any = [1, 2.5, \"x\", {\"k\": [none]}]\nlet b: any = [1.0, 2.5, \"x\", {\"k\": [none]}]\nprint(a == b, 1 in [1], none == none)",
        "true true true\n",
    );
    prints(
        "type P { x: int }\nlet p: any = P { x: 1 }\nlet m: any = {\"x\": 1, \"__name\": \"P\"}\nprint(p == m)",
        "false\n",
    );
    prints("let x: any = 1\nlet y: any = [1.0]\nprint(x in y)", "false\n");
}

#[test]
fn arithmetic_on_any() {
    prints("let a: any = 7\nlet b: any = 2.0\nprint(a / 2, a / b, a % 3, -a, a + none)", "3 3.5 1 -7 nil\n");
    prints("let a: any = [1]\nlet b: any = [\"x\"]\nprint(a + b)", "[1, \"x\"]\n");
    prints("let s: any = \"n=\"\nprint(s + 1.5)", "n=1.5\n");
    fails("let a: any = {}\nprint(a + 1)", TrapCode::TypeMismatch, "cannot compute map + int");
    fails(
        "let a: any = 1\nlet b: any = \"x\"\nprint(a < b)",
        TrapCode::TypeMismatch,
        "cannot compare int with string",
    );
    fails("let a: any = 1.5\nprint(a / 0)", TrapCode::DivisionByZero, "");
}

#[test]
fn big_numbers() {
    prints(
        "var f: bigint = 1\nvar i = 1\nwhile i <= 25 { f = f * i i = i + 1 }\nprint(f, f % 1000007, f as float, -f)",
        "15511210043330985984000000 913534 1.5511210043330986e+25 -15511210043330985984000000\n",
    );
    prints(
        "let r: bigrat = 6\nprint(r / 4, num(r / 4), denom(r / 4), r == 6, str([r]))",
        "3/2 3 2 true [6/1]\n",
    );
    fails(
        "let b = 1 as bigint\nprint((b * 9223372036854775807 * 2) as int)",
        TrapCode::IntegerOverflow,
        "18446744073709551614 as int does not fit 64 bits",
    );
}

#[test]
fn casts() {
    prints("print((\"42\" as int) + 1, \"2.5\" as float, 2.9 as int, none as int)", "43 2.5 2 0\n");
    prints("let x: any = [1, 2.5, \"3\"]\nlet xs = x as list<int>\nprint(xs, sum(xs))", "[1, 2, 3] 6\n");
    prints(
        "let x: any = {\"1\": [1]}\nlet m = x as map<int, list<float>>\nprint(m[1], keys(m))",
        "[1.0] [1]\n",
    );
    prints(
        "type Q { n: int }\ntype P { q: Q, xs: list<float>, s: string }\nlet x: any = {\"q\": {\"n\": 1}, \"xs\": [1.5], \"s\": \"t\"}\nprint(x as P)",
        "{\"__name\": \"P\", \"q\": {\"__name\": \"Q\", \"n\": 1}, \"s\": \"t\", \"xs\": [1.5]}\n",
    );
    for (text, message) in [
        ("\"\" as int", "the string \"\" to int"),
        ("\" 1\" as int", "to int"),
        ("\"x\" as float", "to float"),
        ("[1] as int", "list to int"),
    ] {
        fails(&format!("let x: any = 1\nprint({text})"), TrapCode::BadCast, message);
    }
    fails(
        "type P { x: int }\nlet m: any = {\"y\": 1}\nprint(m as P)",
        TrapCode::BadCast,
        "field x is missing",
    );
    fails(
        "print(\"99999999999999999999\" as int)",
        TrapCode::IntegerOverflow,
        "\"99999999999999999999\" as int does not fit 64 bits",
    );
}

#[test]
fn dynamic_access() {
    let object = "type P { x: int, f: float }\nlet p: any = P { x: 1, f: 2.0 }\nlet xs: any = [1, 2, 3]\nlet m: any = {\"a\": 1}\n";
    prints(
        &format!("{object}print(p.x, p[\"f\"], p.__name, p.absent, len(p), xs[-1], m.a, m[\"b\"], m.b)"),
        "1 2 P nil 3 3 1 nil nil\n",
    );
    prints(
        &format!("{object}p.x = 5\np[\"f\"] = 3\nxs[0] = 9\nm.z = none\nprint(p, xs, m)"),
        "{\"__name\": \"P\", \"f\": 3.0, \"x\": 5} [9, 2, 3] {\"a\": 1, \"z\": nil}\n",
    );
    prints(
        &format!(
            "{object}for k in p {{ print(k) }}\nfor k in m {{ print(k) }}\nlet s: any = \"hé\"\nfor c in s {{ print(c) }}"
        ),
        "__name\nf\nx\na\nh\né\n",
    );
    prints(&format!("{object}print(xs[1:], xs[:-1], (\"héllo\" as any)[1:3])"), "[2, 3] [1, 2] él\n");
    fails(&format!("{object}print(xs[3])"), TrapCode::IndexOutOfRange, "3");
    fails(&format!("{object}xs[3] = 1"), TrapCode::IndexOutOfRange, "3");
    fails(&format!("{object}p.nothing = 1"), TrapCode::TypeMismatch, "P has no field nothing");
    fails("let x: any = 5\nfor y in x { print(y) }", TrapCode::TypeMismatch, "cannot iterate over int");
    fails("let x: any = 5\nprint(x[0])", TrapCode::TypeMismatch, "cannot index int");
}

#[test]
fn dynamic_calls() {
    let functions = "fun add(a: int, b: int): int { return a + b }\nlet f: any = add\n";
    prints(&format!("{functions}print(f(1, 2), f(1, 2, 3), f(1)(2), f()(1)(2))"), "3 3 3 3\n");
    prints("print(reduce([1, 2, 3], fun(a: float, x: int): float => a + x, 0.5))", "6.5\n");
    prints("print(reduce(range(1000), fun(a: int, x: int): int => a + x, 0))", "499500\n");
    prints(
        "let o: any = {\"f\": fun(x: int): int => x * 2, \"s\": \"text\"}\nprint(o.f(4), o.s.contains(\"ex\"), o.s.padStart(6, \"-\"))",
        "8 true --text\n",
    );
    fails("let x: any = 5\nprint(x(1))", TrapCode::TypeMismatch, "cannot call int");
    fails("let x: any = 5\nprint(x.spin())", TrapCode::TypeMismatch, "int has no method spin");
}

#[test]
fn appending_copies() {
    prints("let a: any = [1]\nlet b = append(a, \"x\")\nprint(a, b)", "[1] [1, \"x\"]\n");
    prints("let n: list<int>? = none\nprint(append(n, 1))", "[1]\n");
    prints(
        "var inner = [1]\nlet outer = append([[0]], inner)\ninner = append(inner, 2)\nprint(outer, inner)",
        "[[0], [1]] [1, 2]\n",
    );
    fails("let a: any = 5\nprint(append(a, 1))", TrapCode::TypeMismatch, "append works on lists, not on int");
}

#[test]
fn set_operators() {
    prints(
        "print([1, 2, 2] union [2, 3], [1] union all [1], [1, 2, 2, 3] except [3], [3, 1, 2] intersect [1, 3, 3])",
        "[1, 2, 3] [1, 1] [1, 2, 2] [1, 3]\n",
    );
    prints(
        "let a: any = [[1], [1.0], {\"k\": 1}]\nprint(distinct(a), a union none)",
        "[[1], {\"k\": 1}] [[1], {\"k\": 1}]\n",
    );
}

#[test]
fn aggregates() {
    prints("print(sum([1, 2]), sum([1.5, 2.0]), sum([]), avg([1, 2]), avg([]))", "3 3.5 0 1.5 0\n");
    prints("print(min([3, 1, 2]), max([1.5, 0.5]), min([\"b\", \"a\"]), max([1, 2.5, 2]))", "1 1.5 a 2.5\n");
    prints(
        "let xs: any = [1, 2.5, none]\nprint(sum(xs), avg(xs), min(xs), count(xs), exists(xs))",
        "3.5 1.75 1 3 true\n",
    );
    fails(
        "print(sum([9223372036854775807, 1]))",
        TrapCode::IntegerOverflow,
        "sum: 9223372036854775808 does not fit 64 bits",
    );
    fails(
        "let x: any = [\"a\"]\nprint(sum(x))",
        TrapCode::TypeMismatch,
        "sum works on numbers, not on string",
    );
}

#[test]
fn numbers() {
    prints(
        "print(round(2.5), round(-2.5), round(1.25, 1), floor(-1.5), ceil(1.2), abs(-2.5))",
        "3 -3 1.3 -2 2 2.5\n",
    );
    prints(
        "print(pow(2, 62), pow(2, -1), pow(2.0, 0.5), pow(-1, 1000001), int(\"-7\"), float(3))",
        "4611686018427387904 1 1.4142135623730951 -1 -7 3\n",
    );
    prints(
        "print(parseIntStr(\"ff\", 16), parseIntStr(\"-12\"), range(3, 0, -1), range(0))",
        "255 -12 [3, 2, 1] []\n",
    );
    fails("print(pow(10, 19))", TrapCode::IntegerOverflow, "pow(10, 19)");
    fails("print(parseIntStr(\"12x\", 10))", TrapCode::InvalidArgument, "12x");
    fails("print(range(0, 1, 0))", TrapCode::InvalidArgument, "step");
}

#[test]
fn texts() {
    prints(
        "print(split(\"a,,b\", \",\"), split(\"hé\", \"\"), join([\"a\", \"b\"], \"--\"))",
        "[\"a\", \"\", \"b\"] [\"h\", \"é\"] a--b\n",
    );
    prints(
        "print(padStart(\"5\", 4, \"ab\"), padStart(\"12345\", 3, \"0\"), repeat(\"ab\", 3), reverse(\"héy\"))",
        "aba5 12345 ababab yéh\n",
    );
    prints(
        "print(indexOf(\"héllo\", \"l\"), indexOf(\"a\", \"b\"), upper(\"straße\"), lower(\"ÀB\"), trim(\" x \"))",
        "2 -1 STRASSE àb x\n",
    );
    fails("print(repeat(\"x\", -1))", TrapCode::InvalidArgument, "repeat");
}

#[test]
fn input_and_its_end() {
    let (output, result) =
        run_with("print(input() + \"|\" + input() + \"|\" + input() + \"|\")", "one\r\ntwo");
    assert!(result.is_ok());
    assert_eq!(output, "one|two||\n");
}

#[test]
fn panic_and_expect() {
    fails("panic(\"no \" + str(1))", TrapCode::Panic, "no 1");
    fails("  expect 1 == 2  ", TrapCode::ExpectFailed, "expect 1 == 2");
    prints("test \"t\" { expect true }\nprint(1)", "1\n");
}

#[test]
fn memory_has_a_limit() {
    let (output, result) = run_with("let s = repeat(\"x\", 1000000000000)\nprint(len(s))", "");
    assert_eq!(result.map_err(|e| e.code()), Err(TrapCode::MemoryLimit), "{output}");
}

/// JSON values that Mochi can write as literals.
fn json_values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-1_000_000_000_000i64..1_000_000_000_000).prop_map(Into::into),
        (-1.0e9..1.0e9f64).prop_map(|x| serde_json::json!(x)),
        "[ -~éß€😀\u{7}\n\t]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec(("[a-zA-Z_0-9 é]{0,4}", inner), 0..4)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// The value as a literal of the language.
fn literal(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "none".to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) if n.is_i64() => n.to_string(),
        Value::Number(n) => format!("{:?}", n.as_f64().unwrap()).replace("e-", "0e-"),
        Value::String(s) => {
            let escaped: String =
                s.chars()
                    .map(|c| {
                        if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\U{:08x}", c as u32) }
                    })
                    .collect();
            format!("\"{escaped}\"")
        }
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| {
                format!("{}: {}", literal(&Value::String(key.clone())), literal(value))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Equal as JSON: numbers by value.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            // The reader is right to one unit in the last place only.
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 4.0 * f64::EPSILON
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn json_reads_back(value in json_values()) {
        let text = literal(&value);
        let (output, result) = run_with(&format!("let v: any = {text}\njson(v)\nprint(to_json(v))\n"), "");
        prop_assert!(result.is_ok(), "{result:?} {text}");
        let (pretty, compact) = output.trim_end().rsplit_once('\n').unwrap();
        for document in [pretty, compact] {
            let read: serde_json::Value = serde_json::from_str(document).unwrap();
            prop_assert!(same(&read, &value), "{document}");
        }
    }

    #[test]
    fn equal_literals_are_equal_and_print_alike(value in json_values()) {
        let text = literal(&value);
        let source = format!("let a: any = {text}\nlet b: any = {text}\nprint(a == b)\nprint(str([a]) == str([b]))\nprint(len(distinct([a, b])))\n");
        let (output, result) = run_with(&source, "");
        prop_assert!(result.is_ok(), "{result:?}");
        prop_assert_eq!(output, "true\ntrue\n1\n");
    }
}
