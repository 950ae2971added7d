//! Makes a find small: hierarchical delta debugging on the tree of the program.
//!
//! Statements go in halves, then one by one, outer blocks first; then statements give way to the contents of their blocks, and
//! expressions to plainer ones. All of it again until nothing changes or time is up.

use std::time::{Duration, Instant};

use crate::bytecode;
use crate::tree::{Program, block_len, plainer, unwrapped, without};

/// The smallest program found that still fails.
pub fn reduce(program: Program, time: Duration, fails: &mut dyn FnMut(&Program) -> bool) -> Program {
    let started = Instant::now();
    let mut small = program;
    loop {
        let mut changed = false;
        let mut number = 0;
        while let Some(len) = block_len(&mut small, number) {
            let mut chunk = len;
            while chunk > 0 {
                let mut at = 0;
                while let Some(len) = block_len(&mut small, number)
                    && at < len
                {
                    if started.elapsed() > time {
                        return small;
                    }
                    let candidate = without(&small, number, at..len.min(at + chunk));
                    if fails(&candidate) {
                        (small, changed) = (candidate, true);
                    } else {
                        at += chunk;
                    }
                }
                chunk /= 2;
            }
            number += 1;
        }
        let mut number = 0;
        while let Some(len) = block_len(&mut small, number) {
            let mut at = 0;
            while at < len.min(block_len(&mut small, number).unwrap_or(0)) {
                match unwrapped(&small, number, at).into_iter().find(|c| fails(c)) {
                    Some(candidate) => (small, changed) = (candidate, true),
                    None => at += 1,
                }
                if started.elapsed() > time {
                    return small;
                }
            }
            number += 1;
        }
        let mut number = 0;
        while let Some(candidates) = plainer(&small, number) {
            match candidates.into_iter().find(|c| fails(c)) {
                Some(candidate) => (small, changed) = (candidate, true),
                None => number += 1,
            }
            if started.elapsed() > time {
                return small;
            }
        }
        if !changed {
            return small;
        }
    }
}

/// Likewise for a program in bytecode: statement by statement, and fewer variables.
pub fn reduce_bytecode(
    program: bytecode::Program,
    time: Duration,
    fails: &mut dyn FnMut(&bytecode::Program) -> bool,
) -> bytecode::Program {
    let started = Instant::now();
    let mut small = program;
    while started.elapsed() < time {
        let bodies = bytecode::smaller(&small.body);
        let smaller = bodies.into_iter().map(|body| bytecode::Program { body, ..small.clone() });
        let fewer = [
            bytecode::Program { ints: small.ints.saturating_sub(1).max(1), ..small.clone() },
            bytecode::Program { floats: small.floats.saturating_sub(1).max(1), ..small.clone() },
        ];
        let fewer = fewer.into_iter().filter(|p| p.ints < small.ints || p.floats < small.floats);
        match fewer.chain(smaller).find(|candidate| started.elapsed() < time && fails(candidate)) {
            Some(found) => small = found,
            None => break,
        }
    }
    small
}
