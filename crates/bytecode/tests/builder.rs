//! What the builder makes passes the verifier: the builder's harder transformations, one function each.

use upshift_bytecode::builder::{FunctionBuilder, ModuleBuilder};
use upshift_bytecode::*;

#[track_caller]
fn check(
    params: &[ValueType],
    result: Option<ValueType>,
    body: impl FnOnce(&mut ModuleBuilder, &mut FunctionBuilder),
) {
    let mut module = ModuleBuilder::new("test");
    let signature = module.signature(params, result);
    let id = module.declare("f", signature, None);
    let mut f = module.define(id);
    body(&mut module, &mut f);
    f.finish(&mut module);
    let module = module.finish();
    if let Err(e) = verifier::verify(&module) {
        let text = text::print(&module);
        panic!("{e}\n{}", text.chars().take(1000).collect::<String>());
    }
    assert!(text::parse(&text::print(&module)).as_ref() == Ok(&module));
}

#[test]
fn traps_are_caught_where_nothing_else_collects() {
    check(&[ValueType::Int], Some(ValueType::Int), |_, f| {
        let (start, end, caught) = (f.label(), f.label(), f.label());
        let (exception, x) = (f.cell(ANY), f.int());
        f.bind(start);
        f.int_div(x, f.param(0), f.param(0));
        f.bind(end);
        f.return_int(x);
        f.bind_reachable(caught);
        f.return_int(f.param(0));
        f.handler(start, end, caught, exception);
    });
}

#[test]
fn spilled_registers_of_every_bank() {
    check(&[ValueType::Int], Some(ValueType::Int), |m, f| {
        let string = m.module.types.cell(HeapType::String);
        let text = m.string("some text");
        let strings: Vec<_> = (0..30_000).map(|_| f.cell(string)).collect();
        let ints: Vec<_> = (0..30_000).map(|_| f.int()).collect();
        let floats: Vec<_> = (0..30_000).map(|_| f.float()).collect();
        for i in 0..30_000 {
            f.load_int(ints[i], i as i64);
            f.float_from_int(floats[i], ints[i]);
            f.string_const(strings[i], text);
        }
        let head = f.label();
        f.begin_loop(head);
        for i in (1..30_000).rev() {
            f.string_concat(strings[i - 1], strings[i], strings[i - 1]);
            f.float_add(floats[i - 1], floats[i], floats[i - 1]);
            f.int_add_checked(ints[i - 1], ints[i], ints[i - 1]);
        }
        f.int_for_loop(ints[29_999], ints[29_998], head);
        f.return_int(ints[0]);
    });
}

#[test]
fn calls_from_large_frames() {
    check(&[ValueType::Int], Some(ValueType::Int), |m, f| {
        let string = m.module.types.cell(HeapType::String);
        let params = [ValueType::Int, ValueType::Cell(string), ValueType::Float, ValueType::Cell(string)];
        let signature = m.signature(&params, Some(ValueType::Int));
        let host = m.host("host", signature);
        let text = m.string("some text");
        let ints: Vec<_> = (0..70_000).map(|_| f.int()).collect();
        for &i in &ints {
            f.load_int(i, 1);
        }
        let (s, x) = (f.cell(string), f.float());
        f.string_const(s, text);
        f.load_float(x, 0.5);
        for &i in &[ints[0], ints[69_999]] {
            let w = FunctionBuilder::arguments(&params, false);
            f.int_move(w[0], i);
            f.cell_move(w[1], s);
            f.float_move(w[2], x);
            f.string_concat(s, s, s);
            f.cell_move(w[1], s);
            f.cell_move(w[3], s);
            f.call_host_int(i, host);
        }
        f.return_int(ints[69_999]);
    });
}

#[test]
fn far_branches_of_every_kind() {
    check(&[ValueType::Int, ValueType::Float], Some(ValueType::Int), |_, f| {
        let (i, n, x, y, head, end) = (f.int(), f.param(0), f.param(1), f.float(), f.label(), f.label());
        f.load_int(i, 0);
        f.begin_loop(head);
        f.float_not_lt_branch(x, x, end);
        f.int_add_or_jump(i, i, n, end);
        f.int_eq_imm_branch(i, 4, end);
        for _ in 0..40_000 {
            f.float_add(y, x, x);
        }
        f.float_lt_loop(y, x, head);
        f.int_for_loop(i, n, head);
        f.bind(end);
        f.return_int(i);
    });
}

#[test]
fn exceptions_of_dynamic_code() {
    check(&[ValueType::Cell(ANY)], Some(ValueType::Cell(ANY)), |m, f| {
        let results = m.module.types.cell(HeapType::Results);
        let (start, end, caught, many) = (f.label(), f.label(), f.label(), f.label());
        let (exception, r, site, x) = (f.cell(ANY), f.cell(results), f.feedback(), f.cell(ANY));
        f.bind(start);
        let w = FunctionBuilder::cell_arguments(2);
        f.load_nil(w[0]);
        f.cell_move(w[1], f.param(0));
        f.cell_call(r, f.param(0), 2, NumberPolicy::WRAP64, site);
        f.is_branch(r, Immediate::Many, many);
        f.cell_cast(x, r, ANY);
        f.return_cell(x);
        f.bind(end);
        f.bind_reachable(caught);
        f.return_cell(exception);
        f.bind(many);
        f.load_nil(x);
        f.throw(x);
        f.handler(start, end, caught, exception);
    });
}
