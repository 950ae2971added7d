//! The foreign modules that programs may import: which there are and what they contain.
//!
//! One list for checker, inference and lowering. Members of `math` are single ops; those of `strings` and the test package
//! are functions of the library, named `mochi.<module>.<member>`.

/// The module that an import path means: `math`, `strings` or `testpkg`. Other paths are not supported yet.
pub fn module(path: &str) -> Option<&'static str> {
    match path {
        "math" => Some("math"),
        "strings" => Some("strings"),
        _ if path == "testpkg" || path.ends_with("/testpkg") => Some("testpkg"),
        _ => None,
    }
}

/// Whether a module has a member.
pub fn has_member(module: &str, member: &str) -> bool {
    match module {
        "math" => math_constant(member).is_some() || math_arity(member).is_some(),
        _ => crate::library::has_member(module, member),
    }
}

/// A constant of `math`, in Python's or Go's spelling.
pub fn math_constant(member: &str) -> Option<f64> {
    match member {
        "pi" | "Pi" => Some(std::f64::consts::PI),
        "e" | "E" => Some(std::f64::consts::E),
        "tau" => Some(std::f64::consts::TAU),
        "inf" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => None,
    }
}

/// The functions of `math` with their number of arguments, in Python's spelling; Go's differs in the first letter.
pub const MATH_FUNCTIONS: &[(&str, usize)] = &[
    ("sqrt", 1),
    ("sin", 1),
    ("cos", 1),
    ("tan", 1),
    ("asin", 1),
    ("acos", 1),
    ("atan", 1),
    ("exp", 1),
    ("log", 1),
    ("log2", 1),
    ("log10", 1),
    ("floor", 1),
    ("ceil", 1),
    ("trunc", 1),
    ("round", 1),
    ("abs", 1),
    ("fabs", 1),
    ("pow", 2),
    ("atan2", 2),
    ("mod", 2),
    ("fmod", 2),
    ("max", 2),
    ("min", 2),
];

/// The number of arguments of a function of `math`.
pub fn math_arity(member: &str) -> Option<usize> {
    MATH_FUNCTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(member)).map(|f| f.1)
}
