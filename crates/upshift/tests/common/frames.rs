//! A loop whose turns call, allocate, guess and trap, among variables of each sort.

use upshift::bytecode::ValueType::{Cell, Int};
use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{ANY, HeapType, Module, NumberPolicy, TrapCode, TrapSet};

use super::function;

/// Variables of each sort in `frames`.
const VARIABLES: usize = 6;

/// `frames(n, at, way)`: a loop that changes ints, floats and cells by calls that are inlined twice; in turn `at` a guess of the
/// innermost function fails (way 1), or it traps and the trap is caught here (way 2) or nowhere (way 3). Gives a hash of all
/// variables. There are so many `more` ints, and an eighth of that cells, which the loop does not name.
pub fn frames(more: usize) -> Module {
    let mut m = ModuleBuilder::new("frames");
    m.module.catchable = TrapSet::default().with(TrapCode::DivisionByZero);
    let string = m.module.types.cell(HeapType::String);
    let text = m.string("a text that is an object");
    let policy = NumberPolicy::WRAP64.with(NumberPolicy::PROMOTE);
    // inner(sum, i, odd): the sum with i added, as a float where it is odd; traps where odd is 2 or 3.
    let inner = function(&mut m, "inner", &[Cell(ANY), Int, Int], Some(Cell(ANY)), |_, f| {
        let (sum, i, odd) = (f.param(0), f.param(1), f.param(2));
        let (x, y, big, v, site) = (f.float(), f.int(), f.int(), f.cell(ANY), f.feedback());
        let (float, divide, overflow, add) = (f.label(), f.label(), f.label(), f.label());
        f.int_mul_imm_checked(y, i, 7);
        f.int_eq_imm_branch(odd, 1, float);
        f.int_eq_imm_branch(odd, 2, divide);
        f.int_eq_imm_branch(odd, 3, overflow);
        f.box_int(v, y);
        f.jump(add);
        f.bind(float);
        f.load_float(x, 0.25);
        f.box_float(v, x);
        f.jump(add);
        f.bind(divide);
        f.load_int(big, 0);
        f.int_div(y, y, big);
        f.box_int(v, y);
        f.jump(add);
        f.bind(overflow);
        f.load_int(big, i64::MAX);
        f.int_add_checked(y, y, big);
        f.int_add_checked(y, y, big);
        f.box_int(v, y);
        f.bind(add);
        f.cell_add(v, sum, v, policy, site);
        f.return_cell(v);
    });
    let middle = function(&mut m, "middle", &[Cell(ANY), Int, Int], Some(Cell(ANY)), |_, f| {
        let (sum, i, odd) = (f.param(0), f.param(1), f.param(2));
        let (a, r, keep) = (f.int(), f.cell(ANY), f.cell(string));
        f.string_const(keep, text);
        f.int_mul_imm_checked(a, i, 3);
        let w = FunctionBuilder::arguments(&[Cell(ANY), Int, Int], false);
        f.cell_move(w[0], sum);
        f.int_move(w[1], i);
        f.int_move(w[2], odd);
        f.call_cell(r, inner);
        // What lives across the call counts, too.
        f.int_add_checked(a, a, i);
        let len = f.int();
        f.string_len(len, keep);
        f.int_add_checked(a, a, len);
        f.cell_move(w[0], r);
        f.int_move(w[1], a);
        f.load_int(a, 0);
        f.int_move(w[2], a);
        f.call_cell(r, inner);
        f.return_cell(r);
    });
    function(&mut m, "frames", &[Int, Int, Int], Some(Int), |_, f| {
        let (n, at, way) = (f.param(0), f.param(1), f.param(2));
        let ints: Vec<_> = (0..VARIABLES).map(|_| f.int()).collect();
        let floats: Vec<_> = (0..VARIABLES).map(|_| f.float()).collect();
        let cells: Vec<_> = (0..VARIABLES).map(|_| f.cell(ANY)).collect();
        let texts: Vec<_> = (0..VARIABLES).map(|_| f.cell(string)).collect();
        let more_ints: Vec<_> = (0..more).map(|_| f.int()).collect();
        let more_cells: Vec<_> = (0..more / 8).map(|_| f.cell(ANY)).collect();
        let (i, odd, hash, bits, x, caught) = (f.int(), f.int(), f.int(), f.int(), f.float(), f.cell(ANY));
        f.load_int(i, 0);
        f.load_int(odd, 0);
        for j in 0..VARIABLES {
            f.load_int(ints[j], j as i64);
            f.load_float(floats[j], j as f64 + 0.5);
            f.box_int(cells[j], ints[j]);
            f.string_const(texts[j], text);
        }
        for (j, &r) in more_ints.iter().enumerate() {
            f.load_int(r, j as i64);
        }
        for (j, &r) in more_cells.iter().enumerate() {
            f.load_int(bits, i64::MAX - j as i64);
            f.box_int(r, bits);
        }
        let (top, same, start, end, target) = (f.label(), f.label(), f.label(), f.label(), f.label());
        f.bind(start);
        f.begin_loop(top);
        f.load_int(odd, 0);
        f.int_ne_branch(i, at, same);
        f.int_move(odd, way);
        f.bind(same);
        for j in 0..VARIABLES {
            f.int_mul_imm_checked(bits, i, j as i16 + 2);
            f.int_xor(ints[j], ints[j], bits);
            f.float_from_int(x, ints[j]);
            f.float_add(floats[j], floats[j], x);
            let w = FunctionBuilder::arguments(&[Cell(ANY), Int, Int], false);
            f.cell_move(w[0], cells[j]);
            f.int_move(w[1], ints[j]);
            // The guess fails, or the trap comes, in the middle of the turn.
            if j == VARIABLES / 2 {
                f.int_move(w[2], odd);
            } else {
                f.load_int(bits, 0);
                f.int_move(w[2], bits);
            }
            f.call_cell(cells[j], middle);
        }
        f.string_concat(texts[0], texts[0], texts[1]);
        f.string_slice(texts[0], texts[0], ints[0], ints[1]);
        f.int_for_loop(i, n, top);
        f.bind(end);
        let done = f.label();
        f.jump(done);
        f.bind_reachable(target);
        f.handler(start, end, target, caught);
        f.bind(done);
        f.load_int(hash, 17);
        let mix = |f: &mut FunctionBuilder, v: Reg| {
            let factor = f.int();
            f.load_int(factor, 1_000_003);
            f.int_mul(hash, hash, factor);
            f.int_xor(hash, hash, v);
            f.free(factor);
        };
        for r in [n, at, way, i, odd] {
            mix(f, r);
        }
        for j in 0..VARIABLES {
            mix(f, ints[j]);
            f.int_from_bits(bits, floats[j]);
            mix(f, bits);
            f.unbox_number(x, cells[j]);
            f.int_from_bits(bits, x);
            mix(f, bits);
            f.string_len(bits, texts[j]);
            mix(f, bits);
        }
        for r in more_ints {
            mix(f, r);
        }
        for r in more_cells {
            f.unbox_int(bits, r);
            mix(f, bits);
        }
        f.return_int(hash);
    });
    m.finish()
}
