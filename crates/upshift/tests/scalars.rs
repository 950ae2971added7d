//! Every scalar op on edge values, against the pure functions that define its meaning.

mod common;

use common::{function, instance};
use upshift::TrapCode;
use upshift::bytecode::ValueType::{Bool, Float, Int};
use upshift::bytecode::builder::ModuleBuilder;
use upshift_runtime::scalar;

const INTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    -2,
    7,
    63,
    64,
    65,
    -64,
    1 << 31,
    -(1 << 31),
    1 << 47,
    -(1 << 47),
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.5,
    2.5,
    1e300,
    -1e300,
    9.3e18,
    -9.3e18,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    5e-324,
];

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

macro_rules! int_binary {
    ($($op:ident),*) => {
        #[test]
        fn int_binary_ops() {
            let mut m = ModuleBuilder::new("t");
            $(function(&mut m, stringify!($op), &[Int, Int], Some(Int), |_, f| {
                let (a, b, r) = (f.param(0), f.param(1), f.int());
                f.$op(r, a, b);
                f.return_int(r);
            });)*
            let mut i = instance(&m.finish(), false);
            $({
                let f = i.function::<(i64, i64), i64>(stringify!($op)).expect("the function");
                for &a in INTS {
                    for &b in INTS {
                        assert_eq!(i.call(&f, (a, b)).expect("no trap"), scalar::$op(a, b), "{} {a} {b}", stringify!($op));
                    }
                }
            })*
        }
    };
}
int_binary!(
    int_add, int_sub, int_mul, int_and, int_or, int_xor, int_shl, int_shr_s, int_shr_u, int_min, int_max
);

macro_rules! int_checked {
    ($($op:ident),*) => {
        #[test]
        fn int_checked_ops() {
            let mut m = ModuleBuilder::new("t");
            $(function(&mut m, stringify!($op), &[Int, Int], Some(Int), |_, f| {
                let (a, b, r) = (f.param(0), f.param(1), f.int());
                f.$op(r, a, b);
                f.return_int(r);
            });)*
            let mut i = instance(&m.finish(), false);
            $({
                let f = i.function::<(i64, i64), i64>(stringify!($op)).expect("the function");
                for &a in INTS {
                    for &b in INTS {
                        let got = i.call(&f, (a, b)).map_err(|e| e.code());
                        assert_eq!(got, scalar::$op(a, b), "{} {a} {b}", stringify!($op));
                    }
                }
            })*
        }
    };
}
int_checked!(int_add_checked, int_sub_checked, int_mul_checked, int_div, int_rem);

macro_rules! float_binary {
    ($($op:ident),*) => {
        #[test]
        fn float_binary_ops() {
            let mut m = ModuleBuilder::new("t");
            $(function(&mut m, stringify!($op), &[Float, Float], Some(Float), |_, f| {
                let (a, b, r) = (f.param(0), f.param(1), f.float());
                f.$op(r, a, b);
                f.return_float(r);
            });)*
            let mut i = instance(&m.finish(), false);
            $({
                let f = i.function::<(f64, f64), f64>(stringify!($op)).expect("the function");
                for &a in FLOATS {
                    for &b in FLOATS {
                        let got = i.call(&f, (a, b)).expect("no trap");
                        assert!(same(got, scalar::$op(a, b)), "{} {a} {b}: {got}", stringify!($op));
                    }
                }
            })*
        }
    };
}
float_binary!(
    float_add,
    float_sub,
    float_mul,
    float_div,
    float_rem,
    float_min,
    float_max,
    float_pow,
    float_atan2
);

macro_rules! float_unary {
    ($($op:ident),*) => {
        #[test]
        fn float_unary_ops() {
            let mut m = ModuleBuilder::new("t");
            $(function(&mut m, stringify!($op), &[Float], Some(Float), |_, f| {
                let (a, r) = (f.param(0), f.float());
                f.$op(r, a);
                f.return_float(r);
            });)*
            let mut i = instance(&m.finish(), false);
            $({
                let f = i.function::<(f64,), f64>(stringify!($op)).expect("the function");
                for &a in FLOATS {
                    let got = i.call(&f, (a,)).expect("no trap");
                    assert!(same(got, scalar::$op(a)), "{} {a}: {got}", stringify!($op));
                }
            })*
        }
    };
}
float_unary!(
    float_neg,
    float_abs,
    float_sqrt,
    float_floor,
    float_ceil,
    float_trunc,
    float_round,
    float_sin,
    float_cos,
    float_tan,
    float_asin,
    float_acos,
    float_atan,
    float_exp,
    float_log,
    float_log2,
    float_log10
);

macro_rules! compare {
    ($test:ident, $bank:ident, $ty:ty, $values:ident, $($op:ident $branch:ident $loop_:ident $e:tt),*) => {
        /// The value form, the branch and the loop branch agree with Rust.
        #[test]
        fn $test() {
            let mut m = ModuleBuilder::new("t");
            $(function(&mut m, stringify!($op), &[$bank, $bank], Some(Bool), |_, f| {
                let (a, b, r) = (f.param(0), f.param(1), f.int());
                f.$op(r, a, b);
                f.return_int(r);
            });
            function(&mut m, stringify!($branch), &[$bank, $bank], Some(Bool), |_, f| {
                let (a, b, r) = (f.param(0), f.param(1), f.int());
                let yes = f.label();
                f.$branch(a, b, yes);
                f.load_int(r, 0);
                f.return_int(r);
                f.bind(yes);
                f.load_int(r, 1);
                f.return_int(r);
            });
            function(&mut m, stringify!($loop_), &[$bank, $bank], Some(Bool), |_, f| {
                let (a, b, n) = (f.param(0), f.param(1), f.int());
                let (top, out) = (f.label(), f.label());
                f.load_int(n, -1);
                f.begin_loop(top);
                f.int_add_imm(n, n, 1);
                f.int_ge_imm_branch(n, 1, out);
                f.$loop_(a, b, top);
                f.bind(out);
                f.return_int(n);
            });)*
            let mut i = instance(&m.finish(), false);
            for name in [$((stringify!($op), stringify!($branch), stringify!($loop_), (|a: $ty, b: $ty| a $e b) as fn($ty, $ty) -> bool)),*] {
                for f in [name.0, name.1, name.2] {
                    let handle = i.function::<($ty, $ty), bool>(f).expect("the function");
                    for &a in $values {
                        for &b in $values {
                            assert_eq!(i.call(&handle, (a, b)).expect("no trap"), name.3(a, b), "{f} {a} {b}");
                        }
                    }
                }
            }
        }
    };
}
compare!(int_comparisons, Int, i64, INTS,
    int_eq int_eq_branch int_eq_loop ==, int_ne int_ne_branch int_ne_loop !=,
    int_lt int_lt_branch int_lt_loop <, int_le int_le_branch int_le_loop <=);
compare!(float_comparisons, Float, f64, FLOATS,
    float_eq float_eq_branch float_eq_loop ==, float_ne float_ne_branch float_ne_loop !=,
    float_lt float_lt_branch float_lt_loop <, float_le float_le_branch float_le_loop <=);

#[test]
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is the point")]
fn negated_float_branches_take_nan() {
    let mut m = ModuleBuilder::new("t");
    for (name, strict) in [("lt", true), ("le", false)] {
        function(&mut m, name, &[Float, Float], Some(Bool), |_, f| {
            let (a, b, r) = (f.param(0), f.param(1), f.int());
            let yes = f.label();
            if strict {
                f.float_not_lt_branch(a, b, yes)
            } else {
                f.float_not_le_branch(a, b, yes)
            }
            f.load_int(r, 0);
            f.return_int(r);
            f.bind(yes);
            f.load_int(r, 1);
            f.return_int(r);
        });
    }
    let mut i = instance(&m.finish(), false);
    let lt = i.function::<(f64, f64), bool>("lt").expect("the function");
    let le = i.function::<(f64, f64), bool>("le").expect("the function");
    for &a in FLOATS {
        for &b in FLOATS {
            assert_eq!(i.call(&lt, (a, b)).expect("no trap"), !(a < b));
            assert_eq!(i.call(&le, (a, b)).expect("no trap"), !(a <= b));
        }
    }
}

macro_rules! immediates {
    ($($op:ident $value:literal $e:expr),*) => {
        #[test]
        fn immediate_ops() {
            let mut m = ModuleBuilder::new("t");
            $(function(&mut m, concat!(stringify!($op), $value), &[Int], Some(Int), |_, f| {
                let (a, r) = (f.param(0), f.int());
                f.$op(r, a, $value);
                f.return_int(r);
            });)*
            let mut i = instance(&m.finish(), false);
            $({
                let f = i.function::<(i64,), i64>(concat!(stringify!($op), $value)).expect("the function");
                let expected: fn(i64) -> Result<i64, TrapCode> = $e;
                for &a in INTS {
                    assert_eq!(i.call(&f, (a,)).map_err(|e| e.code()), expected(a), "{} {} {a}", stringify!($op), $value);
                }
            })*
        }
    };
}
immediates!(
    int_add_imm -3 |a| Ok(a.wrapping_add(-3)),
    int_add_imm_checked 5 |a| scalar::int_add_checked(a, 5),
    int_add_imm_checked -5 |a| scalar::int_add_checked(a, -5),
    int_mul_imm_checked -7 |a| scalar::int_mul_checked(a, -7),
    int_div_imm -3 |a| Ok(a.wrapping_div(-3)),
    int_rem_imm 10 |a| Ok(a.wrapping_rem(10)),
    int_and_imm -256 |a| Ok(a & -256),
    int_shl_imm 3 |a| Ok(a << 3),
    int_shr_s_imm 60 |a| Ok(a >> 60),
    int_eq_imm -1 |a| Ok(i64::from(a == -1)),
    int_ne_imm 7 |a| Ok(i64::from(a != 7)),
    int_lt_imm 2 |a| Ok(i64::from(a < 2)),
    int_le_imm 2 |a| Ok(i64::from(a <= 2)),
    int_gt_imm -2 |a| Ok(i64::from(a > -2)),
    int_ge_imm 63 |a| Ok(i64::from(a >= 63))
);

#[test]
fn conversions_and_unary_ints() {
    let mut m = ModuleBuilder::new("t");
    function(&mut m, "from_float", &[Float], Some(Int), |_, f| {
        let (a, r) = (f.param(0), f.int());
        f.int_from_float(r, a);
        f.return_int(r);
    });
    function(&mut m, "from_int", &[Int], Some(Float), |_, f| {
        let (a, r) = (f.param(0), f.float());
        f.float_from_int(r, a);
        f.return_float(r);
    });
    function(&mut m, "bits", &[Float], Some(Int), |_, f| {
        let (a, r) = (f.param(0), f.int());
        f.int_from_bits(r, a);
        f.return_int(r);
    });
    for name in ["neg", "neg_checked", "abs_checked", "extend32", "not"] {
        function(&mut m, name, &[Int], Some(Int), |_, f| {
            let (a, r) = (f.param(0), f.int());
            match name {
                "neg" => f.int_neg(r, a),
                "neg_checked" => f.int_neg_checked(r, a),
                "abs_checked" => f.int_abs_checked(r, a),
                "extend32" => f.int_extend32(r, a),
                _ => f.bool_not(r, a),
            }
            f.return_int(r);
        });
    }
    // Checked arithmetic with an exit edge: the destination is unchanged where it leaves.
    for name in ["add", "sub", "mul"] {
        function(&mut m, name, &[Int, Int], Some(Int), |_, f| {
            let (a, b, r) = (f.param(0), f.param(1), f.int());
            let out = f.label();
            f.load_int(r, 77);
            match name {
                "add" => f.int_add_or_jump(r, a, b, out),
                "sub" => f.int_sub_or_jump(r, a, b, out),
                _ => f.int_mul_or_jump(r, a, b, out),
            }
            f.return_int(r);
            f.bind(out);
            f.return_int(r);
        });
    }
    let mut i = instance(&m.finish(), false);
    let f = i.function::<(f64,), i64>("from_float").expect("the function");
    for &a in FLOATS {
        assert_eq!(i.call(&f, (a,)).map_err(|e| e.code()), scalar::int_from_float(a), "{a}");
    }
    let f = i.function::<(f64,), i64>("bits").expect("the function");
    for &a in FLOATS {
        assert_eq!(i.call(&f, (a,)).expect("no trap"), a.to_bits() as i64);
    }
    let f = i.function::<(i64,), f64>("from_int").expect("the function");
    for &a in INTS {
        assert_eq!(i.call(&f, (a,)).expect("no trap"), a as f64);
    }
    type Unary = (&'static str, fn(i64) -> Result<i64, TrapCode>);
    let unary: &[Unary] = &[
        ("neg", |a| Ok(scalar::int_neg(a))),
        ("neg_checked", scalar::int_neg_checked),
        ("abs_checked", scalar::int_abs_checked),
        ("extend32", |a| Ok(scalar::int_extend32(a))),
        ("not", |a| Ok(scalar::bool_not(a))),
    ];
    for (name, expected) in unary {
        let f = i.function::<(i64,), i64>(name).expect("the function");
        for &a in INTS {
            assert_eq!(i.call(&f, (a,)).map_err(|e| e.code()), expected(a), "{name} {a}");
        }
    }
    type Binary = (&'static str, fn(i64, i64) -> Option<i64>);
    let binary: &[Binary] =
        &[("add", i64::checked_add), ("sub", i64::checked_sub), ("mul", i64::checked_mul)];
    for (name, expected) in binary {
        let f = i.function::<(i64, i64), i64>(name).expect("the function");
        for &a in INTS {
            for &b in INTS {
                assert_eq!(
                    i.call(&f, (a, b)).expect("no trap"),
                    expected(a, b).unwrap_or(77),
                    "{name} {a} {b}"
                );
            }
        }
    }
}
