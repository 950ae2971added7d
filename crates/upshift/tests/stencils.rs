//! Every stencil with every combination of operands, against the functions that define its meaning.
//!
//! A stencil is run alone: its holes are filled, all registers hold known values, and afterwards all registers, the frame
//! and the memory around are compared with what they should be. So it shows that a stencil computes the right value, writes
//! nothing else, also where operands and destination are one register, and changes nothing before it goes to its slow path.
//!
//! * `harness.rs`: runs a stencil.
//! * `scalars.rs`: families of ints and floats, against `upshift_runtime::scalar`.
//! * `lists.rs`, `objects.rs`, `cells.rs`: families on what lives in the heap and on cells, against
//!   `upshift_runtime::value` and memory that the test lays out (`memory.rs`).
//!
//! What the compiler makes of stencils is the business of `fuzz/tests/loops.rs`; the stubs and calls, which need a whole instance, are
//! run by `execution.rs`.

#![cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]

#[path = "stencils/cells.rs"]
mod cells;
#[path = "stencils/harness.rs"]
mod harness;
#[path = "stencils/lists.rs"]
mod lists;
#[path = "stencils/memory.rs"]
mod memory;
#[path = "stencils/objects.rs"]
mod objects;
#[path = "stencils/scalars.rs"]
mod scalars;

use std::collections::BTreeMap;

use upshift_baseline::table::{COUNT, Stencil};

/// Families that leave the convention of the harness, with what runs them instead.
const CONTROL: &[(&str, &str)] = &[
    ("CALL_CLOSURE", "calls through the function table: `execution.rs`"),
    ("CALL_STATIC", "calls through the function table: `execution.rs`"),
    ("EXIT_THUNK", "goes to a stub: every side exit of `loops.rs`"),
    ("RETURN_THUNK", "goes to a stub: `execution.rs`, returns into frames of the interpreter"),
    ("ROUTINE", "calls a routine through a thunk: `loops.rs`"),
    ("ROUTINE_BRANCH", "calls a routine through a thunk: `execution.rs`"),
    ("ROUTINE_CALL", "calls a routine and then a function: dynamic calls in `loops.rs`"),
    ("ROUTINE_CALL_VOID", "calls a routine and then a function: dynamic calls in `execution.rs`"),
    ("ROUTINE_TAIL", "calls a routine and jumps to a function: `requirements.rs`, tail calls"),
    ("ROUTINE_LEAVE", "calls a routine and leaves: `execution.rs`, switches"),
    ("SIDE_EXIT", "goes to a thunk: every side exit of `loops.rs`"),
    ("STUB_ENTER", "the way in: everything that runs"),
    ("STUB_EXIT", "the way out: every side exit of `loops.rs`"),
    ("STUB_LEAVE", "the way out: everything that runs"),
    ("STUB_OPT_CALL", "calls native code from optimized code: `execution.rs` in tier 2"),
    ("STUB_OPT_EXIT", "the way out of optimized code: every exit"),
    ("STUB_OPT_EXIT_AT", "the way out of optimized loops: every exit"),
    ("STUB_OPT_LEAVE", "the way out of optimized code, with a status"),
    ("STUB_OPT_POLL", "refills the budget: tier 2"),
    ("STUB_OPT_POLL_AT", "refills the budget: loops in tier 2"),
    ("STUB_OPT_QUIET", "calls the write barrier: lists of cells in tier 2"),
    ("STUB_OPT_QUIET_AT", "calls the write barrier: lists of cells in loops of tier 2"),
    ("STUB_OPT_RUN", "calls a routine: slow paths in tier 2"),
    ("STUB_OPT_RUN_AT", "calls a routine: slow paths of loops in tier 2"),
    ("STUB_RETURN", "calls a routine: `execution.rs`, returns into frames of the interpreter"),
    ("STUB_ROUTINE", "calls a routine: `loops.rs`"),
    ("STUB_UNCOMPILED", "leaves for the interpreter: `execution.rs`"),
    ("THUNK", "goes to a stub: `loops.rs`"),
];

/// What the index of the table says of each family: the number of its first stencil, and its dimensions.
fn families() -> BTreeMap<&'static str, (usize, Vec<usize>)> {
    const INDEX: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../baseline/src/table/x86_64.rs"));
    let mut families = BTreeMap::new();
    for line in INDEX.lines() {
        let Some((name, rest)) =
            line.trim().strip_prefix("pub const ").and_then(|l| l.split_once(": Family<"))
        else {
            continue;
        };
        let (_, base) = rest.split_once("base: ").expect("a family has a base");
        let (base, dims) = base.split_once(", dims: [").expect("a family has dimensions");
        let (dims, _) = dims.split_once(']').expect("dimensions end");
        let number = |text: &str| text.trim().parse::<usize>().expect("a number");
        let dims = dims.split(',').filter(|d| !d.trim().is_empty()).map(number).collect();
        families.insert(name, (number(base), dims));
    }
    families
}

#[test]
fn every_family_is_tested_or_has_a_reason_not_to_be() {
    let families = families();
    let mut seen = BTreeMap::new();
    let lists = [scalars::names(), lists::names(), objects::names(), cells::names()].concat().into_iter();
    for name in lists.chain(CONTROL.iter().map(|c| c.0)) {
        assert!(families.contains_key(name), "{name} is no family");
        assert!(seen.insert(name, ()).is_none(), "{name} stands in two lists");
    }
    let missing: Vec<_> = families.keys().filter(|name| !seen.contains_key(*name)).collect();
    assert!(missing.is_empty(), "families in no list: {missing:?}");
    // The index was read in full: its families cover all stencils.
    let stencils: usize = families.values().map(|(_, dims)| dims.iter().product::<usize>()).sum();
    assert_eq!(stencils, COUNT);
    assert_eq!(Stencil::all().count(), COUNT);
}
