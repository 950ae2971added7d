//! Routines that only machine code calls: ops that the interpreter does in its loop, the budget, and returns with flags.

use upshift_bytecode::{Effects, Op, TruthMask, Word};
use upshift_runtime::context::Status;
use upshift_runtime::scalar as sc;
use upshift_runtime::value::Value;

use super::{
    Site, hash_switch, int_switch, loop_target, note_results, routines, string_equal, string_switch,
};

pub use upshift_runtime::instance::NATIVE_ROOM;

/// The answer of a branch.
fn branch(yes: bool) -> Status {
    if yes { Status::Branch } else { Status::Continue }
}

/// Continues at a distance from the instruction, wherever that is done best.
unsafe fn continue_at(s: Site, pc: *const Word) -> Status {
    // SAFETY: the site's context is live.
    unsafe {
        (*s.ctx).fp = s.fp;
        (*s.ctx).entry = s.entry;
        (*s.ctx).pc = pc;
        Status::Reload
    }
}

/// A pure op of raw operands that is too rare for a stencil. The op's number is known to be one of these.
unsafe fn float_op(s: Site) -> Result<f64, upshift_bytecode::TrapCode> {
    // SAFETY: operands of verified code.
    unsafe {
        let w = s.word();
        let a = f64::from_bits(s.int(w.b()) as u64);
        let b = || f64::from_bits(s.int(w.c()) as u64);
        Ok(match Op::from_number(w.op()) {
            Some(Op::FloatRem) => sc::float_rem(a, b()),
            Some(Op::FloatRemChecked) => sc::float_rem_checked(a, b())?,
            Some(Op::FloatPow) => sc::float_pow(a, b()),
            Some(Op::FloatAtan2) => sc::float_atan2(a, b()),
            Some(Op::FloatFloor) => sc::float_floor(a),
            Some(Op::FloatCeil) => sc::float_ceil(a),
            Some(Op::FloatTrunc) => sc::float_trunc(a),
            Some(Op::FloatRound) => sc::float_round(a),
            Some(Op::FloatSin) => sc::float_sin(a),
            Some(Op::FloatCos) => sc::float_cos(a),
            Some(Op::FloatTan) => sc::float_tan(a),
            Some(Op::FloatAsin) => sc::float_asin(a),
            Some(Op::FloatAcos) => sc::float_acos(a),
            Some(Op::FloatAtan) => sc::float_atan(a),
            Some(Op::FloatExp) => sc::float_exp(a),
            Some(Op::FloatLog) => sc::float_log(a),
            Some(Op::FloatLog2) => sc::float_log2(a),
            Some(Op::FloatLog10) => sc::float_log10(a),
            _ => return Err(upshift_bytecode::TrapCode::Unreachable),
        })
    }
}

routines! {
    /// The budget is used up in machine code: refills it or traps. Where the native stack runs low, it is given up: the
    /// frame goes on outside.
    native_budget |s| {
        if let Err(trap) = s.instance().refill() {
            return s.trap(trap);
        }
        if s.instance().native_room().is_none_or(|room| room >= NATIVE_ROOM) {
            return Status::Continue;
        }
        let op = Op::from_number(s.word().op()).unwrap_or(Op::Nop);
        if op == Op::LoopHeader {
            return continue_at(s, s.pc.add(1));
        }
        if let Some(target) = loop_target(s.pc) {
            return continue_at(s, target);
        }
        // A call: the interpreter does it, and charges again.
        debug_assert!(op.effects().has(Effects::CALL), "only loops and calls charge the budget");
        (*s.ctx).budget += 1;
        continue_at(s, s.pc);
        Status::Interpret
    }

    /// Pure ops without a stencil.
    scalar |s| {
        match float_op(s) {
            Ok(x) => {
                s.set_int(s.word().a(), x.to_bits() as i64);
                Status::Continue
            }
            Err(code) => s.code(code),
        }
    }

    /// The part of `frame.clear` that is about spilled cells.
    clear_spilled_cells |s| {
        super::clear_spilled(s.fp, s.entry);
        Status::Continue
    }

    /// `return.cell` of none or many: noted at the call.
    note_returned |s| {
        let value = s.cell(s.word().a());
        if value == Value::NONE || value == Value::MANY {
            note_results(s.ctx, s.fp, s.entry, value);
        }
        Status::Continue
    }

    /// `int.switch`.
    switch_int |s| {
        let table = s.pc.add(s.word().wide() as usize);
        let distance = int_switch(table, s.int(s.word().a()));
        continue_at(s, s.pc.offset(distance as isize))
    }

    /// `cell.switch`.
    switch_cell |s| {
        let table = s.pc.add(s.word().wide() as usize);
        let distance = hash_switch(table, s.cell(s.word().a()).bits());
        continue_at(s, s.pc.offset(distance as isize))
    }

    /// `string.switch`.
    switch_string |s| {
        let table = s.pc.add(s.word().wide() as usize);
        let distance = string_switch(s.ctx, table, s.cell(s.word().a()));
        continue_at(s, s.pc.offset(distance as isize))
    }

    /// `results.len`.
    results_len |s| {
        let len = s.instance().results.len();
        s.set_int(s.word().a(), len as i64);
        Status::Continue
    }

    /// `trail.mark`.
    trail_mark |s| {
        let mark = s.instance().trail_mark();
        s.set_int(s.word().a(), mark as i64);
        Status::Continue
    }

    /// `cell.identical`.
    cell_identical |s| {
        let w = s.word();
        s.set_int(w.a(), i64::from(s.cell(w.b()).identical(s.cell(w.c()))));
        Status::Continue
    }

    /// `cell.truthy`.
    cell_truthy |s| {
        let w = s.word();
        s.set_int(w.a(), i64::from(super::truthy(s.cell(w.b()), TruthMask(w.c()))));
        Status::Continue
    }

    /// `truthy.branch`.
    truthy_branch |s| {
        let w = s.word();
        branch(super::truthy(s.cell(w.a()), TruthMask(w.b())))
    }

    /// `falsy.branch`.
    falsy_branch |s| {
        let w = s.word();
        branch(!super::truthy(s.cell(w.a()), TruthMask(w.b())))
    }

    /// `cell.kind`.
    cell_kind |s| {
        let w = s.word();
        s.set_int(w.a(), s.cell(w.b()).kind() as i64);
        Status::Continue
    }

    /// `box.float`.
    box_float |s| {
        let w = s.word();
        s.set_cell(w.a(), Value::float(f64::from_bits(s.int(w.b()) as u64)));
        Status::Continue
    }

    /// `string.eq`.
    string_eq |s| {
        let w = s.word();
        s.set_int(w.a(), i64::from(string_equal(s.ctx, s.cell(w.b()), s.cell(w.c()))));
        Status::Continue
    }

    /// `string.ne`.
    string_ne |s| {
        let w = s.word();
        s.set_int(w.a(), i64::from(!string_equal(s.ctx, s.cell(w.b()), s.cell(w.c()))));
        Status::Continue
    }

    /// `string.eq.branch`.
    string_eq_branch |s| {
        let w = s.word();
        branch(string_equal(s.ctx, s.cell(w.a()), s.cell(w.b())))
    }

    /// `string.ne.branch`.
    string_ne_branch |s| {
        let w = s.word();
        branch(!string_equal(s.ctx, s.cell(w.a()), s.cell(w.b())))
    }
}
