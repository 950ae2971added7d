//! Programs whose top level is one large function with a few hot loops among its statements. The command's tests include this file.
//!
//! Ordinary statements work on variables of which each is used for a while, so the function's frame is large, too. What the loops
//! do differs: sums, lists, floats, texts, maps. Each prints what it found, so tiers can be compared.

use std::fmt::Write as _;

/// The sorts of hot loops.
pub const LOOPS: usize = 5;

/// A program of so many statements, with [`LOOPS`] loops of so many turns, or a part of that, distributed among them.
pub fn program(statements: usize, turns: usize) -> String {
    let mut text = String::from("var whole = 1\nvar part = 0.5\n");
    let every = statements.div_ceil(LOOPS).max(1);
    for n in 0..statements {
        if n % every == every / 2 {
            hot(&mut text, n / every, turns);
        }
        statement(&mut text, n);
    }
    text.push_str("print(whole)\nprint(part)\n");
    text
}

/// One of the statements around the loops.
fn statement(text: &mut String, n: usize) {
    // The variable that was made last, or some time ago.
    let known =
        |back: usize| n.checked_sub(1 + back * 8).map_or("whole".to_owned(), |n| format!("v{}", n / 8 * 8));
    let line = match n % 8 {
        0 => format!("let v{n} = (whole * 3 + {n}) % 1009"),
        1 => format!("whole = (whole + {}) % 10007", known(0)),
        2 => format!("if {} > 500 {{ whole = whole + 1 }} else {{ whole = whole + 2 }}", known(3)),
        3 => "part = part * 0.5 + 1.25".to_owned(),
        4 if n % 400 == 4 => format!("for q{n} in 0..3 {{ whole = (whole + q{n}) % 10007 }}"),
        5 => format!("whole = (whole * 7 + len(\"{n}\")) % 10007"),
        _ => format!("whole = (whole + {} * {}) % 10007", known(1), known(2)),
    };
    text.push_str(&line);
    text.push('\n');
}

/// A hot loop of one sort.
fn hot(text: &mut String, sort: usize, turns: usize) {
    let lines = match sort {
        0 => format!(
            "var sum = 0\nvar i = 0\nwhile i < {turns} {{\n  sum = (sum * 31 + i % 7) % 1000003\n  i = i + 1\n}}\nprint(sum)"
        ),
        1 => format!(
            "var xs: list<int> = []\nfor i1 in 0..100 {{ xs = append(xs, i1 * 7 % 101) }}\nvar total = 0\n\
             for round in 0..{} {{\n  for j in 0..100 {{\n    let x = xs[j]\n    \
             if x % 2 == 0 {{ total = (total + x * round) % 1000003 }} else {{ total = total + 1 }}\n  }}\n}}\nprint(total)",
            turns / 100
        ),
        2 => format!(
            "var f = 0.0\nfor i2 in 0..{turns} {{ f = f * 0.999 + 1.0 / (1.0 + (i2 as float)) }}\nprint(f)"
        ),
        3 => format!(
            "var texts: list<string> = []\nvar length = 0\nfor i3 in 0..{} {{\n  let text = str(i3) + \" of many\"\n  \
             length = length + len(text)\n  if i3 % 1000 == 0 {{ texts = append(texts, text) }}\n}}\n\
             print(length, len(texts))",
            turns / 4
        ),
        _ => format!(
            "var m: map<int, int> = {{}}\nfor i4 in 0..{} {{\n  let key = i4 % 97\n  \
             if key in m {{ m[key] = (m[key] + i4) % 1000003 }} else {{ m[key] = 1 }}\n}}\nprint(m[5])",
            turns / 8
        ),
    };
    let _ = writeln!(text, "{lines}");
}
