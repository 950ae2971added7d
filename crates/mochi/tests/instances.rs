//! Functions that get types of their own at each call: which do, what the types are, and which are left alone.

use upshift_mochi::infer::infer;
use upshift_mochi::instances::{instances, shown};
use upshift_mochi::resolve::resolve;
use upshift_mochi::source::SourceMap;
use upshift_mochi::syntax::ast::{BindId, Interner};
use upshift_mochi::syntax::parse;

/// The types of all variables of a name, in a program with instances, in the order of their declarations; nothing where there are no
/// instances.
fn types_of(name: &str, text: &str) -> Vec<String> {
    let (mut sources, mut names) = (SourceMap::new(), Interner::new());
    let file = sources.add("test.mochi", text);
    let (mut program, diagnostics) = parse(&sources, file, &mut names);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    program.plan_queries(&names);
    let resolution = resolve(&program, &mut names);
    let types = infer(&program, &resolution, &names);
    let Some((program, resolution, types)) = instances(&sources, &mut names, &program, &resolution, &types)
    else {
        return Vec::new();
    };
    for fun in &program.funs {
        let name = fun.bind.map(|bind| &names[program[bind].name]);
        assert!(name.is_none_or(|name| !shown(name).contains('#')), "{name:?}");
    }
    let binds = (0..program.binds.len()).map(BindId::new);
    let named = binds.filter(|&bind| &names[program[bind].name] == name);
    named.map(|bind| types.text(types.bind(bind), &resolution, &names)).collect()
}

const MAPPED: &str = "\
fun mapped<T, U>(xs: list<T>, f: fun(T): U): list<U> {
  var out: list<U> = []
  for x in xs { out = append(out, f(x)) }
  return out
}
";

#[test]
fn type_parameters_are_types_at_each_call() {
    let calls = "let a = mapped([1, 2], fun(i: int): string => str(i))\nlet b = mapped(a, fun(s: string): int => len(s))\n";
    let text = format!("{MAPPED}{calls}print(b)\n");
    assert_eq!(types_of("xs", &text), ["list<int>", "list<string>"]);
    assert_eq!(types_of("out", &text), ["list<string>", "list<int>"]);
    assert_eq!(types_of("b", &text), ["list<int>"]);
}

#[test]
fn parameters_without_types_are_open() {
    let text = "fun swap(xs, i, j) { let t = xs[i]\n xs[i] = xs[j]\n xs[j] = t }\n\
        var a = [1, 2]\nvar b = [\"x\", \"y\"]\nswap(a, 0, 1)\nswap(b, 0, 1)\nprint(a, b)\n";
    assert_eq!(types_of("a", text), ["list<int>"]);
    assert_eq!(types_of("b", text), ["list<string>"]);
}

#[test]
fn instances_call_instances_and_themselves() {
    let text = "fun last(xs) { return xs[-1] }\nfun ends(xs) { return [last(xs), xs[0]] }\n\
        fun ends_of(xs, n) { if n == 0 { return ends(xs) }\n return ends_of(xs, n - 1) }\n\
        let a = ends_of([1, 2], 3)\nlet b = ends_of([\"p\"], 2)\nprint(a, b)\n";
    assert_eq!(types_of("a", text), ["list<int>"]);
    assert_eq!(types_of("b", text), ["list<string>"]);
}

#[test]
fn queries_in_functions_are_read_again_as_well() {
    let text = "fun small(xs, p) { return from x in xs where x < p select x }\n\
        let a = small([1, 2, 3], 3)\nlet b = small([\"a\", \"b\"], \"b\")\nprint(a, b)\n";
    assert_eq!(types_of("a", text), ["list<int>"]);
    assert_eq!(types_of("b", text), ["list<string>"]);
}

#[test]
fn what_would_not_get_better_is_left_alone() {
    // One type of values everywhere.
    assert!(types_of("x", "fun id(x) { return x }\nprint(id(1))\nprint(id(2))\n").is_empty());
    // What is passed is dynamic in itself.
    let text = "fun show(x) { print(x) }\nlet xs: list<any> = [1, \"a\"]\nshow(xs[0])\nshow(xs[1])\n";
    assert!(types_of("x", text).is_empty());
    // A declaration that says so.
    let text = "fun show(x: any) { print(x) }\nshow(1)\nshow(\"a\")\n";
    assert!(types_of("x", text).is_empty());
    // Called everywhere.
    let calls = (0..12).map(|i| if i % 2 == 0 { format!("f({i})\n") } else { format!("f(\"{i}\")\n") });
    let text = format!("fun f(x) {{ print(x) }}\n{}", calls.collect::<String>());
    assert!(types_of("x", &text).is_empty());
}
