//! Floats as text, in the three notations of the language.
//!
//! All start from the shortest digits that read back as the same float, which the standard library computes; of two that are equally
//! near, the even one is taken. What differs is where the point goes and when an exponent appears.

use std::io::Write;

/// As `str` and `print` show a float: positional from 1e-4 to below 1e6, without `.0`; else with an exponent of at least
/// two digits.
pub fn write_text(out: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        return write_special(out, x);
    }
    let mut buffer = [0u8; 32];
    let text = scientific(x, &mut buffer);
    let (mantissa, exponent) = split(text);
    if (-4..=5).contains(&exponent) || x == 0.0 {
        write_positional(out, mantissa, exponent);
        return;
    }
    out.extend_from_slice(mantissa);
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    let _ = write!(out, "{:02}", exponent.unsigned_abs());
}

/// Writes the digits of a mantissa, `d.ddd` with a sign, where the exponent puts them: finding digits is what takes the time, so it is
/// done once.
fn write_positional(out: &mut Vec<u8>, mantissa: &[u8], exponent: i32) {
    let mut digits = mantissa;
    if let [b'-', rest @ ..] = mantissa {
        out.push(b'-');
        digits = rest;
    }
    let (first, more) = digits.split_at(1.min(digits.len()));
    let more = more.get(1..).unwrap_or_default();
    let Ok(whole) = usize::try_from(exponent) else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + exponent.unsigned_abs() as usize - 1, b'0');
        out.extend_from_slice(first);
        out.extend_from_slice(more);
        return;
    };
    out.extend_from_slice(first);
    let (before, behind) = more.split_at(whole.min(more.len()));
    out.extend_from_slice(before);
    out.resize(out.len() + whole - before.len(), b'0');
    if !behind.is_empty() {
        out.push(b'.');
        out.extend_from_slice(behind);
    }
}

/// As floats are shown inside lists and maps by `print`: positional always, with a point always.
pub fn write_nested(out: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        write_special(out, x);
        out.extend_from_slice(b".0");
        return;
    }
    let mut buffer = [0u8; 32];
    let (mantissa, exponent) = split(scientific(x, &mut buffer));
    write_positional(out, mantissa, exponent);
    if x.trunc() == x {
        out.extend_from_slice(b".0");
    }
}

/// As JSON writes a finite float: an exponent below 1e-6 and from 1e21.
pub fn write_json(out: &mut Vec<u8>, x: f64) {
    let size = x.abs();
    let mut buffer = [0u8; 32];
    let text = scientific(x, &mut buffer);
    let (mantissa, exponent) = split(text);
    if x == 0.0 || (1e-6..1e21).contains(&size) {
        write_positional(out, mantissa, exponent);
        return;
    }
    out.extend_from_slice(mantissa);
    let _ = write!(out, "e{exponent:+}");
}

fn write_special(out: &mut Vec<u8>, x: f64) {
    out.extend_from_slice(if x.is_nan() {
        b"NaN"
    } else if x > 0.0 {
        b"+Inf"
    } else {
        b"-Inf"
    });
}

/// `d.ddde-x` with the shortest digits.
fn scientific(x: f64, buffer: &mut [u8; 32]) -> &[u8] {
    let mut rest = &mut buffer[..];
    // 17 digits, a sign, a point and an exponent of four characters fit.
    let _ = write!(rest, "{x:e}");
    let length = 32 - rest.len();
    let text = &mut buffer[..length];
    make_even(text, x);
    text
}

/// Takes the even one of two shortest texts that are equally near, of which the standard library has the larger one.
///
/// An odd multiple of 2^-(n + 1) has n + 1 digits behind the point, of which the last is a 5. Where n of them suffice to tell it from
/// other floats, it lies in the middle of two such texts, and it does so nowhere else.
fn make_even(text: &mut [u8], x: f64) {
    let (mantissa, exponent) = split(text);
    let last = mantissa.len() - 1;
    let digits = mantissa.iter().filter(|b| b.is_ascii_digit()).count() as i32;
    if mantissa[last] & 1 == 0 || digits - exponent < 2 {
        return;
    }
    let bits = x.to_bits();
    let (biased, fraction) = (((bits >> 52) & 0x7ff) as i32, bits & ((1 << 52) - 1));
    let (whole, power) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    // Behind the point there are `digits - 1 - exponent` digits.
    if whole != 0 && power + whole.trailing_zeros() as i32 == exponent - digits {
        text[last] -= 1;
    }
}

fn split(text: &[u8]) -> (&[u8], i32) {
    let at = text.iter().position(|&b| b == b'e').unwrap_or(text.len());
    let exponent = std::str::from_utf8(text.get(at + 1..).unwrap_or_default()).unwrap_or_default();
    (&text[..at], exponent.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(f: fn(&mut Vec<u8>, f64), x: f64) -> String {
        let mut out = Vec::new();
        f(&mut out, x);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_of_notations() {
        for (x, text, nested) in [
            (2.0, "2", "2.0"),
            (0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"),
            (123456.0, "123456", "123456.0"),
            (1000000.0, "1e+06", "1000000.0"),
            (999999.5, "999999.5", "999999.5"),
            (1234567.5, "1.2345675e+06", "1234567.5"),
            (4186476.93, "4.18647693e+06", "4186476.93"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
            (1e21, "1e+21", "1000000000000000000000.0"),
            (1e100, "1e+100", &format!("1{}.0", "0".repeat(100))),
            (-0.0, "-0", "-0.0"),
            (0.0, "0", "0.0"),
            (-1.5, "-1.5", "-1.5"),
            (f64::INFINITY, "+Inf", "+Inf.0"),
            (f64::NEG_INFINITY, "-Inf", "-Inf.0"),
            (f64::NAN, "NaN", "NaN.0"),
        ] {
            assert_eq!(show(write_text, x), text);
            assert_eq!(show(write_nested, x), nested);
        }
        for (x, text) in [
            (2.0, "2"),
            (1000000.0, "1000000"),
            (0.00001, "0.00001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (-0.0, "-0"),
        ] {
            assert_eq!(show(write_json, x), text);
        }
    }

    #[test]
    fn the_even_one_of_two_that_are_equally_near() {
        for (numerator, denominator, text) in [
            (1_073_741_825.0, 2048.0, "524288.0004882812"),
            (1_073_741_827.0, 2048.0, "524288.0014648438"),
            (-706_477_440_003_121.0, 8.0, "-8.830968000039012e+13"),
            (706_477_440_003_123.0, 8.0, "8.830968000039038e+13"),
            (4_943_610_464_572_421.0, 4.0, "1.2359026161431052e+15"),
            (4_943_610_464_572_423.0, 4.0, "1.2359026161431058e+15"),
        ] {
            assert_eq!(show(write_text, numerator / denominator), text);
        }
        let x = 706_477_440_003_121.0 / 8.0;
        assert_eq!(show(write_nested, x), "88309680000390.12");
        assert_eq!(show(write_json, x), "88309680000390.12");
    }

    proptest! {
        #[test]
        fn positional_texts_are_those_of_the_standard_library(mantissa in -99_999i64..99_999, exponent in -8i32..4) {
            let x = mantissa as f64 * 10f64.powi(exponent);
            let shown = show(write_text, x);
            prop_assert!(shown.contains('e') || shown == x.to_string(), "{shown} and {x}");
        }

        #[test]
        fn notations_read_back(bits: u64) {
            let x = f64::from_bits(bits);
            prop_assume!(x.is_finite());
            for f in [write_text, write_nested, write_json] {
                prop_assert_eq!(show(f, x).parse::<f64>().unwrap().to_bits(), x.to_bits());
            }
        }
    }
}
