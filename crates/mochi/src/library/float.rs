//! Floats as text, in the three notations of the language.
//!
//! All start from the shortest digits that read back as the same float, which a library computes; of two that are equally near, the
//! even one is taken. What differs is where the point goes and when an exponent appears.

use std::io::Write;

/// As `str` and `print` show a float: positional from 1e-4 to below 1e6, without `.0`; else with an exponent of at least
/// two digits.
pub fn write_text(out: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        return write_special(out, x);
    }
    let shortest = Shortest::of(x);
    if (-4..=5).contains(&shortest.exponent) || x == 0.0 {
        return shortest.write_positional(out);
    }
    shortest.write_mantissa(out);
    out.extend_from_slice(if shortest.exponent < 0 { b"e-" } else { b"e+" });
    let _ = write!(out, "{:02}", shortest.exponent.unsigned_abs());
}

/// As floats are shown inside lists and maps by `print`: positional always, with a point always.
pub fn write_nested(out: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        write_special(out, x);
        out.extend_from_slice(b".0");
        return;
    }
    Shortest::of(x).write_positional(out);
    if x.trunc() == x {
        out.extend_from_slice(b".0");
    }
}

/// As JSON writes a finite float: an exponent below 1e-6 and from 1e21.
pub fn write_json(out: &mut Vec<u8>, x: f64) {
    let shortest = Shortest::of(x);
    if x == 0.0 || (1e-6..1e21).contains(&x.abs()) {
        return shortest.write_positional(out);
    }
    shortest.write_mantissa(out);
    let _ = write!(out, "e{:+}", shortest.exponent);
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

/// The shortest digits of a finite float, without zeros at either end but for the only one of 0.
struct Shortest {
    negative: bool,
    digits: [u8; Shortest::MAX],
    len: usize,
    /// The power of ten of the first digit.
    exponent: i32,
}

impl Shortest {
    /// The most digits, with zeros around them in a text without an exponent.
    const MAX: usize = 24;

    fn of(x: f64) -> Shortest {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(x).as_bytes();
        let mut shortest =
            Shortest { negative: x.is_sign_negative(), digits: [0; Self::MAX], len: 0, exponent: -1 };
        let (mut behind_point, mut rest) = (false, text);
        while let [first, others @ ..] = rest {
            rest = others;
            match first {
                b'0' if shortest.len == 0 => shortest.exponent -= i32::from(behind_point),
                b'0'..=b'9' => {
                    shortest.digits[shortest.len] = *first;
                    shortest.len += 1;
                    shortest.exponent += i32::from(!behind_point);
                }
                b'.' => behind_point = true,
                b'e' => {
                    let power = std::str::from_utf8(rest).ok().and_then(|power| power.parse().ok());
                    shortest.exponent += power.unwrap_or(0);
                    break;
                }
                _ => {}
            }
        }
        while shortest.len > 0 && shortest.digits[shortest.len - 1] == b'0' {
            shortest.len -= 1;
        }
        if shortest.len == 0 {
            (shortest.digits[0], shortest.len, shortest.exponent) = (b'0', 1, 0);
        }
        shortest
    }

    /// The digits where the exponent puts them.
    fn write_positional(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = &self.digits[..self.len];
        let Ok(last_whole) = usize::try_from(self.exponent) else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + self.exponent.unsigned_abs() as usize - 1, b'0');
            out.extend_from_slice(digits);
            return;
        };
        let (before, behind) = digits.split_at((last_whole + 1).min(digits.len()));
        out.extend_from_slice(before);
        out.resize(out.len() + last_whole + 1 - before.len(), b'0');
        if !behind.is_empty() {
            out.push(b'.');
            out.extend_from_slice(behind);
        }
    }

    /// The digits with a point behind the first one, if there are more.
    fn write_mantissa(&self, out: &mut Vec<u8>) {
        Shortest { exponent: 0, ..*self }.write_positional(out);
    }
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
