//! From statements without others inside to instructions.

use upshift::bytecode::ValueType::{Cell, Float, Int};
use upshift::bytecode::builder::{FunctionBuilder, Label, Reg};
use upshift::bytecode::{ANY, Immediate, NumberPolicy, TruthMask, ValueType};

use super::code::Lower;
use super::programs::Genes;
use super::shared::ANY_T;

/// Picks one of the ops by a number.
macro_rules! choose {
    ($number:expr; $($op:expr),* $(,)?) => {{
        let ops = [$(stringify!($op)),*].len();
        let mut which = $number % ops;
        $(if which == 0 { $op; }
        which = which.wrapping_sub(1);)*
        let _ = which;
    }};
}

impl Lower<'_> {
    /// Whether this place may trap.
    pub fn traps(&self, n: usize) -> bool {
        (self.risky || self.handlers > 0) && n.is_multiple_of(3)
    }

    /// An operand of a checked op: as it is where that may trap, else small.
    fn small(&mut self, n: usize, traps: bool) -> Reg {
        let a = self.int(n);
        if traps {
            return a;
        }
        let t = self.f.int();
        self.f.int_and_imm(t, a, 0x7FFF);
        self.int_temps.push(t);
        t
    }

    /// A position in a list of at least 8 elements.
    fn position(&mut self, n: usize, traps: bool, relative: bool) -> Reg {
        let a = self.int(n);
        let t = self.f.int();
        self.f.int_and_imm(t, a, if traps { 15 } else { 7 });
        if relative {
            self.f.int_add_imm(t, t, if traps { -12 } else { -4 });
        }
        self.int_temps.push(t);
        t
    }

    pub fn call(&mut self, types: &[ValueType], args: &[Reg], environment: bool) {
        for ((window, &arg), ty) in
            FunctionBuilder::arguments(types, environment).into_iter().zip(args).zip(types)
        {
            self.f.move_value(ty.bank(), window, arg);
        }
    }

    pub fn op(&mut self, [kind, d, a, b, n]: Genes) {
        self.line();
        let traps = self.traps(n);
        match kind % 20 {
            0 | 1 => {
                let (a, b) = (self.int(a), self.int(b));
                let d = self.int_dst(d);
                let f = &mut self.f;
                choose! { n; f.int_add(d, a, b), f.int_sub(d, a, b), f.int_mul(d, a, b), f.int_and(d, a, b),
                f.int_or(d, a, b), f.int_xor(d, a, b), f.int_shl(d, a, b), f.int_shr_s(d, a, b), f.int_shr_u(d, a, b),
                f.int_min(d, a, b), f.int_max(d, a, b), f.int_eq(d, a, b), f.int_ne(d, a, b), f.int_lt(d, a, b),
                f.int_le(d, a, b) }
            }
            2 => {
                let (a, b) = (self.small(a, traps), self.small(b, traps));
                let d = self.int_dst(d);
                let f = &mut self.f;
                choose! { n / 3; f.int_add_checked(d, a, b), f.int_sub_checked(d, a, b), f.int_mul_checked(d, a, b),
                f.int_add_imm_checked(d, a, 300), f.int_mul_imm_checked(d, a, -77), f.int_neg_checked(d, a),
                f.int_abs_checked(d, a) }
            }
            3 => {
                let a = self.int(a);
                let b = if traps { self.position(b, true, true) } else { self.position(b, false, false) };
                if !traps {
                    self.f.int_add_imm(b, b, 1);
                }
                let d = self.int_dst(d);
                choose! { n / 3; self.f.int_div(d, a, b), self.f.int_rem(d, a, b) }
            }
            4 => {
                let a = self.int(a);
                let imm = [1, -1, 2, 7, -32_768, 32_767, 255, -100, 64, 10][b % 10];
                let divisor = [1, 2, 8, 16_384, 7, 10, -2, -8, 32_767, -32_768][b % 10];
                let d = self.int_dst(d);
                let f = &mut self.f;
                choose! { n; f.int_add_imm(d, a, imm), f.int_and_imm(d, a, imm), f.int_shl_imm(d, a, imm & 63),
                f.int_shr_s_imm(d, a, imm & 63), f.int_div_imm(d, a, divisor), f.int_rem_imm(d, a, divisor),
                f.int_eq_imm(d, a, imm), f.int_ne_imm(d, a, imm), f.int_lt_imm(d, a, imm), f.int_le_imm(d, a, imm),
                f.int_gt_imm(d, a, imm), f.int_ge_imm(d, a, imm) }
            }
            5 => {
                let a = self.int(a);
                let d = self.int_dst(d);
                let f = &mut self.f;
                choose! { n; f.int_move(d, a), f.int_neg(d, a), f.int_extend32(d, a), f.bool_not(d, a), f.load_int(d, 0),
                f.load_int(d, -5), f.load_int(d, 0x7654_3210_FEDC_BA98) }
            }
            6 | 7 => {
                let (a, b) = (self.float(a), self.float(b));
                let d = self.float_dst(d);
                let f = &mut self.f;
                choose! { n; f.float_add(d, a, b), f.float_sub(d, a, b), f.float_mul(d, a, b), f.float_div(d, a, b),
                f.float_min(d, a, b), f.float_max(d, a, b) }
            }
            8 => {
                let a = self.float(a);
                let d = self.float_dst(d);
                let f = &mut self.f;
                choose! { n; f.float_move(d, a), f.float_neg(d, a), f.float_abs(d, a), f.float_sqrt(d, a),
                f.float_floor(d, a), f.float_rem(d, a, a), f.load_float(d, 0.0), f.load_float(d, -2.75) }
            }
            9 => {
                let (x, y, i) = (self.float(a), self.float(b), self.int(a));
                match n % 8 {
                    0..=3 => {
                        let d = self.int_dst(d);
                        let f = &mut self.f;
                        choose! { n; f.float_eq(d, x, y), f.float_ne(d, x, y), f.float_lt(d, x, y), f.float_le(d, x, y) }
                    }
                    4 => {
                        let d = self.float_dst(d);
                        choose! { n / 8; self.f.float_from_int(d, i), self.f.float_from_bits(d, i) }
                    }
                    5 | 6 if self.traps(n / 8) => {
                        let d = self.float_dst(d);
                        self.f.float_div_checked(d, x, y);
                    }
                    _ => {
                        // Clamped, and no NaN, where it must not trap.
                        let x = if self.traps(n / 8) {
                            x
                        } else {
                            let (t, limit) = (self.f.float(), self.f.float());
                            self.float_temps.extend([t, limit]);
                            self.f.load_float(limit, 1e6);
                            self.f.float_min(t, limit, x);
                            self.f.load_float(limit, -1e6);
                            self.f.float_max(t, limit, t);
                            t
                        };
                        let d = self.int_dst(d);
                        self.f.int_from_float(d, x);
                    }
                }
            }
            10 => {
                // A checked sum with a way out: what is between is skipped.
                let (a, b) = (self.int(a), self.int(b));
                let d = self.ints[d % self.ints.len()];
                let out = self.f.label();
                choose! { n; self.f.int_add_or_jump(d, a, b, out), self.f.int_sub_or_jump(d, a, b, out),
                self.f.int_mul_or_jump(d, a, b, out) }
                self.f.int_xor(d, d, a);
                self.f.bind(out);
            }
            11 => {
                let relative = n % 2 == 0;
                let at = self.position(a, traps, relative);
                let (l, v) = (self.list, self.int(b));
                match (n / 8) % 4 {
                    0 | 1 => {
                        let d = self.int_dst(d);
                        match relative {
                            _ if n / 32 % 4 == 3 => self.f.list_int_index_of(d, l, v),
                            true => self.f.list_int_get_rel(d, l, at),
                            false => self.f.list_int_get(d, l, at),
                        }
                    }
                    2 if relative => self.f.list_int_set_rel(l, at, v),
                    2 => self.f.list_int_set(l, at, v),
                    _ if relative => self.f.list_int_append(l, l, v),
                    _ => self.f.list_int_push(l, v),
                }
            }
            12 => {
                let relative = n % 2 == 0;
                let at = self.position(a, traps, relative);
                let (l, v) = (self.float_list, self.float(b));
                match (n / 8) % 4 {
                    0 | 1 => {
                        let d = self.float_dst(d);
                        match relative {
                            true => self.f.list_float_get_rel(d, l, at),
                            false => self.f.list_float_get(d, l, at),
                        }
                    }
                    2 if relative => self.f.list_float_set_rel(l, at, v),
                    2 => self.f.list_float_set(l, at, v),
                    _ if relative => self.f.list_float_append(l, l, v),
                    _ => self.f.list_float_push(l, v),
                }
            }
            13 => {
                let at = self.position(a, traps, false);
                let (l, v) = (self.bool_list, self.int(b));
                match (n / 8) % 12 {
                    6 | 7 => {
                        let (c, l) = (self.cell(b), self.cell_list);
                        choose! { n / 80; self.f.list_cell_get(c, l, at), self.f.list_cell_get_rel(c, l, at) }
                    }
                    8 => {
                        let (c, l) = (self.cell(b), self.cell_list);
                        choose! { n / 80; self.f.list_cell_set(l, at, c), self.f.list_cell_set_rel(l, at, c) }
                    }
                    10 => {
                        let (m, t, c) = (self.string_map, [self.text, self.other_text][a % 2], self.cell(b));
                        choose! { n / 120; self.f.map_string_get(c, m, t), self.f.map_string_set(m, t, c) }
                    }
                    11 => {
                        let (m, t) = (self.string_map, [self.text, self.other_text][a % 2]);
                        let (d, l) = (self.int_dst(d), self.cell_list);
                        choose! { n / 120; self.f.map_string_has(d, m, t), self.f.list_string_index_of(d, l, t) }
                    }
                    9 => {
                        let (c, l) = (self.cell(b), self.cell_list);
                        choose! { n / 80; self.f.list_cell_push(l, c), self.f.list_cell_append(l, l, c) }
                    }
                    0 => self.f.list_bool_set(l, at, v),
                    1 => self.f.list_bool_push(l, v),
                    2 => {
                        let d = self.int_dst(d);
                        self.f.list_bool_get(d, l, at);
                    }
                    3 => {
                        let d = self.int_dst(d);
                        let l = [self.list, self.float_list, self.bool_list][b % 3];
                        self.f.list_len(d, l);
                    }
                    4 => {
                        let t = [self.text, self.other_text][b % 2];
                        let (c, d) = (self.f.cell(self.s.string), self.int_dst(d));
                        choose! { n / 80; self.f.string_get(c, t, at), self.f.string_get_rel(c, t, at) }
                        choose! { b / 2; self.f.string_eq(d, c, t), self.f.string_len(d, c) }
                        self.f.free(c);
                    }
                    _ => {
                        let t = [self.text, self.other_text][b % 2];
                        let d = self.int_dst(d);
                        self.f.string_len(d, t);
                    }
                }
            }
            14 => {
                let (i, x, c) = (self.int(a), self.float(a), self.cell(a));
                match n % 12 {
                    0 => self.f.global_int_set(i, self.s.global_int),
                    1 => self.f.global_float_set(x, self.s.global_float),
                    2 => self.f.global_cell_set(c, self.s.global_cell),
                    3 => self.f.record_int_set(self.record, 0, i),
                    4 => self.f.record_float_set(self.record, 1, x),
                    5 => self.f.record_cell_set(self.record, 2, c),
                    6 => self.f.ref_int_set(self.ref_int, i),
                    7 => self.f.ref_float_set(self.ref_float, x),
                    8 => self.f.ref_int_new(self.ref_int, i),
                    9 => self.f.ref_float_new(self.ref_float, x),
                    10 => {
                        self.call(&[Int, Float, ANY_T], &[i, x, c], false);
                        self.f.record_new(self.record, self.s.record);
                    }
                    _ => {
                        // Many keys are small, so that they meet.
                        let key = if n / 12 % 3 > 0 { self.position(a, false, true) } else { i };
                        self.f.map_int_set(self.map, key, c);
                    }
                }
            }
            15 => {
                let (i, c) = (self.int(a), self.cell(d));
                match n % 9 {
                    0 => self.f.global_cell_get(c, self.s.global_cell),
                    1 => self.f.record_cell_get(c, self.record, 2),
                    2 | 3 => {
                        let d = self.float_dst(d);
                        choose! { n; self.f.global_float_get(d, self.s.global_float),
                        self.f.record_float_get(d, self.record, 1) }
                    }
                    4 => {
                        let d = self.float_dst(d);
                        self.f.ref_float_get(d, self.ref_float);
                    }
                    5 => {
                        let small = b % 3 > 0;
                        let key = if small { self.position(a, false, true) } else { i };
                        // The answer may take the key's place.
                        let d = if small && b % 2 == 1 { key } else { self.int_dst(d) };
                        self.f.map_int_has(d, self.map, key);
                    }
                    6 => {
                        // What the map has, where it has it.
                        let (t, none) = (self.f.int(), self.f.label());
                        let key = if b % 3 > 0 { self.position(a, false, true) } else { i };
                        self.f.map_int_has(t, self.map, key);
                        self.f.unless_branch(t, none);
                        self.f.map_int_get(c, self.map, key);
                        self.f.bind(none);
                        self.int_temps.push(t);
                    }
                    _ => {
                        let d = self.int_dst(d);
                        choose! { b; self.f.global_int_get(d, self.s.global_int), self.f.record_int_get(d, self.record, 0),
                        self.f.ref_int_get(d, self.ref_int) }
                    }
                }
            }
            16 => {
                let (i, x) = (self.int(a), self.float(a));
                let (c, e, o) = (self.cell(a), self.cell(b), self.cell(d));
                let site = self.f.feedback();
                let policy = match n / 14 % 4 {
                    0 => NumberPolicy::default(),
                    1 => NumberPolicy::OVERFLOW_TRAPS.with(NumberPolicy::PROMOTE),
                    2 => NumberPolicy::PROMOTE.with(NumberPolicy::INT_DIV),
                    _ => NumberPolicy::PROMOTE.with(NumberPolicy::WRAP64).with(NumberPolicy::NUMERIC_EQUAL),
                };
                // Not only numbers can be equal.
                let other = [c, e, self.text, self.other_text][d % 4];
                let differ = if a % 2 == 0 { policy.with(NumberPolicy::KINDS_DIFFER) } else { policy };
                let f = &mut self.f;
                match n % 14 {
                    0 => f.box_int(o, i),
                    1 => f.box_float(o, x),
                    2..=4 => {
                        choose! { n / 56; f.cell_add(o, c, e, policy, site), f.cell_sub(o, c, e, policy, site),
                        f.cell_mul(o, c, e, policy, site), f.cell_div(o, c, e, policy, site),
                        f.cell_rem(o, c, e, policy, site) }
                    }
                    5..=8 => {
                        let d = self.int_dst(d);
                        let f = &mut self.f;
                        choose! { n; f.cell_lt(d, c, e, policy, site), f.cell_le(d, c, e, policy, site),
                        f.cell_eq(d, c, other, differ, site), f.cell_ne(d, other, e, differ, site) }
                    }
                    9 | 10 if self.traps(n / 14) => {
                        let d = self.int_dst(d);
                        self.f.unbox_int(d, c);
                    }
                    11 | 12 if self.traps(n / 14) => {
                        let d = self.float_dst(d);
                        self.f.unbox_float(d, c);
                    }
                    _ => {
                        let d = self.float_dst(d);
                        self.f.unbox_number(d, c);
                    }
                }
            }
            17 => {
                // Truth, kept in a cell and asked for again.
                let (i, c, out) = (self.int(a), self.f.cell(ANY), self.f.label());
                let d = self.ints[d % self.ints.len()];
                self.f.box_bool(c, i);
                let (number, s, t) = (self.cell(b), self.text, self.other_text);
                let zero = TruthMask::FALSE.with(TruthMask::ZERO).with(TruthMask::FLOAT_ZERO);
                match n % 10 {
                    5 => self.f.truthy_branch(number, zero, out),
                    6 => self.f.falsy_branch(number, zero, out),
                    7 => self.f.falsy_branch(number, TruthMask::ZERO, out),
                    8 => self.f.string_eq_branch(s, t, out),
                    9 => self.f.string_ne_branch(s, t, out),
                    0 => self.f.truthy_branch(c, TruthMask::FALSE.with(TruthMask::NIL), out),
                    1 => self.f.falsy_branch(c, TruthMask::FALSE, out),
                    2 => self.f.is_branch(c, Immediate::True, out),
                    3 => self.f.is_not_branch(c, Immediate::False, out),
                    _ => {
                        self.f.unbox_bool(d, c);
                        self.f.unless_branch(d, out);
                    }
                }
                self.f.int_add_imm(d, d, 3);
                self.f.bind(out);
                self.f.free(c);
            }
            _ => self.any_call([d, a, b, n]),
        }
    }

    fn any_call(&mut self, [d, a, b, n]: [usize; 4]) {
        let (i, j, x) = (self.int(a), self.int(b), self.float(a));
        match n % 13 {
            11 => {
                // An element by a position that is a cell, of a list or of one of two.
                let (key, o) = (self.f.cell(ANY), self.f.cell(ANY));
                let at = self.position(a, self.traps(n / 13), false);
                self.f.box_int(key, at);
                let lists = [self.list, self.float_list, self.cell_list];
                self.f.cell_move(o, lists[d % 3]);
                let (c, value, site) = (self.cell(d), self.cell(b), self.f.feedback());
                match n / 13 % 3 {
                    0 => self.f.cell_index_set(self.cell_list, key, value, NumberPolicy::default(), site),
                    _ => self.f.cell_index_get(c, o, key, NumberPolicy::default(), site),
                }
                self.f.free(key);
                self.f.free(o);
            }
            12 => {
                let (c, r, site) = (self.cell(d), self.record, self.f.feedback());
                let (policy, name) = (NumberPolicy::default(), self.s.names[b % 3]);
                match n / 13 % 3 {
                    0 => self.f.cell_field_set(r, c, policy, self.s.names[2], site),
                    _ => self.f.cell_field_get(c, r, policy, name, site),
                }
            }
            9 => {
                // A call of a value as it is: of one of two, or of one that takes two arguments.
                let [one, other, two] = self.boxed;
                let (o, r, out) = (self.f.cell(ANY), self.f.cell(self.s.results), self.f.label());
                let count = 1 + (n / 13 % 3) as u16 / 2;
                self.f.cell_move(o, if count == 1 { one } else { two });
                if n / 39 % 4 == 0 && count == 1 {
                    self.f.int_gt_imm_branch(i, 2, out);
                    self.f.cell_move(o, other);
                    self.f.bind(out);
                }
                for (k, w) in FunctionBuilder::cell_arguments(count.into()).into_iter().enumerate() {
                    let c = self.cell(a + k);
                    self.f.cell_move(w, c);
                }
                let site = self.f.feedback();
                self.f.cell_call(r, o, count, NumberPolicy::default(), site);
                self.f.cell_cast(self.cell(d), r, ANY);
                self.f.free(o);
                self.f.free(r);
            }
            10 => {
                // A call of a value: the argument is unboxed, and the result boxed. Where it is no int, that traps.
                let (c, r) = (self.f.cell(ANY), self.f.cell(self.s.results));
                self.f.box_int(c, i);
                let [window] = FunctionBuilder::cell_arguments(1)[..] else { return };
                let arg = if self.traps(n / 13) { self.cell(b) } else { c };
                self.f.cell_move(window, arg);
                let site = self.f.feedback();
                self.f.cell_call(r, self.closure, 1, NumberPolicy::default(), site);
                self.f.cell_cast(c, r, ANY);
                let d = self.int_dst(d);
                self.f.unbox_int(d, c);
                self.f.free(c);
                self.f.free(r);
            }
            0 => {
                self.call(&[Int, Float, Int], &[i, x, j], false);
                let d = self.int_dst(d);
                self.f.call_int(d, self.s.mixed);
            }
            1 => {
                self.call(&[Float, Int], &[x, i], false);
                let d = self.float_dst(d);
                self.f.call_float(d, self.s.float);
            }
            2 | 3 if self.traps(n / 13) => {
                self.call(&[Int], &[i], false);
                let d = self.int_dst(d);
                choose! { n; self.f.call_int(d, self.s.guarded), self.f.call_int(d, self.s.next) }
            }
            2..=4 => {
                // The argument is a sum, which is one op with the call.
                let i = self.small(a, self.traps(n / 13));
                self.f.int_add_imm_checked(Reg::window(0), i, 5);
                let d = self.int_dst(d);
                self.f.call_int(d, self.s.next);
            }
            5 => self.f.call_void(self.s.void),
            6 => {
                self.call(&[Int, Cell(self.s.ints)], &[i, self.list], false);
                self.f.call_void(self.s.push);
            }
            7 => {
                self.call(&[Int], &[i], true);
                let d = self.int_dst(d);
                self.f.call_closure_int(d, self.closure);
            }
            _ => {
                self.call(&[Int, Float], &[i, x], false);
                let d = self.float_dst(d);
                self.f.call_float(d, self.s.looping);
            }
        }
    }

    /// A branch to a label on a condition of any sort.
    pub fn branch(&mut self, [kind, _, a, b, n]: Genes, to: Label) {
        self.line();
        let (i, j, x, y) = (self.int(a), self.int(b), self.float(a), self.float(b));
        let imm = [0, 1, -1, 7, 100, -32_768, 32_767][n % 7];
        let f = &mut self.f;
        choose! { kind; f.if_branch(i, to), f.unless_branch(i, to), f.int_eq_branch(i, j, to), f.int_ne_branch(i, j, to),
        f.int_lt_branch(i, j, to), f.int_le_branch(i, j, to), f.int_eq_imm_branch(i, imm, to),
        f.int_ne_imm_branch(i, imm, to), f.int_lt_imm_branch(i, imm, to), f.int_le_imm_branch(i, imm, to),
        f.int_gt_imm_branch(i, imm, to), f.int_ge_imm_branch(i, imm, to), f.float_eq_branch(x, y, to),
        f.float_ne_branch(x, y, to), f.float_lt_branch(x, y, to), f.float_le_branch(x, y, to),
        f.float_not_lt_branch(x, y, to), f.float_not_le_branch(x, y, to) }
    }
}
