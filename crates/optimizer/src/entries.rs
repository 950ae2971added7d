//! Where map literals have their keys.
//!
//! A literal makes a map and stores its entries in turn, so the number of a key's entry can be read from the code: it is a guess where to
//! look for the key first in any map. Where a key has several numbers, the one of most literals counts.

use std::collections::HashMap;

use upshift_bytecode::{Op, Word};
use upshift_runtime::linked::LinkedModule;

use crate::flow::{instruction, words};

/// The numbers of the entries of constant keys in the literals of a module, by their texts.
pub fn entry_numbers(module: &LinkedModule) -> HashMap<Box<str>, u32> {
    let mut counts: HashMap<(u32, u32), u32> = HashMap::new();
    for function in module.functions.iter().filter(|function| function.host.is_none()) {
        let code =
            module.code.get(function.start as usize..).and_then(|code| code.get(..function.len as usize));
        count(code.unwrap_or(&[]), &mut counts);
    }
    let mut best: HashMap<Box<str>, (u32, u32)> = HashMap::new();
    let mut counts: Vec<((u32, u32), u32)> = counts.into_iter().collect();
    counts.sort_unstable();
    for ((constant, entry), count) in counts {
        let text = constant.checked_sub(module.bases.constants).and_then(|at| module.text_constant(at));
        let Some(text) = text else { continue };
        let known = best.entry(text.into()).or_insert((entry, 0));
        if count > known.1 {
            *known = (entry, count);
        }
    }
    best.into_iter().map(|(text, (entry, _))| (text, entry)).collect()
}

/// Counts how often constants are the keys of entries by their number in a function.
fn count(code: &[Word], counts: &mut HashMap<(u32, u32), u32>) {
    // By register: constants, and how many entries a new map has.
    let mut constants: HashMap<i64, u32> = HashMap::new();
    let mut maps: HashMap<i64, u32> = HashMap::new();
    for at in words(code, 0, code.len() as u32) {
        let Some(op) = Op::from_number(code[at as usize].op()) else { break };
        if !matches!(op, Op::StringConst | Op::MapNew | Op::MapStringSet | Op::MapCellSet) {
            continue;
        }
        let Some(inst) = instruction(code, at) else { break };
        let o = inst.operands;
        match op {
            Op::StringConst => {
                constants.insert(o[0], o[1] as u32);
            }
            Op::MapNew => {
                maps.insert(o[0], 0);
            }
            _ => {
                if let (Some(entries), Some(&constant)) = (maps.get_mut(&o[0]), constants.get(&o[1])) {
                    *counts.entry((constant, *entries)).or_default() += 1;
                    *entries += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use upshift_bytecode::builder::{FunctionBuilder, ModuleBuilder};
    use upshift_bytecode::{ANY, HeapType, KeyPolicy, OrderPolicy};

    use super::*;

    /// A literal with these keys, none as their values.
    fn literal(m: &mut ModuleBuilder, f: &mut FunctionBuilder, keys: &[&str]) {
        let heap = HeapType::Map { key: KeyPolicy::String, order: OrderPolicy::Insertion, value: ANY };
        let ty = m.module.types.cell(heap);
        let string = m.module.types.cell(HeapType::String);
        let (map, key, value) = (f.cell(ty), f.cell(string), f.cell(ANY));
        f.map_new(map, keys.len() as u16, ty);
        f.load_nil(value);
        for text in keys {
            let constant = m.string(text);
            f.string_const(key, constant);
            f.map_string_set(map, key, value);
        }
    }

    #[test]
    fn keys_are_counted_by_their_number_in_literals() {
        let mut m = ModuleBuilder::new("literals");
        let signature = m.signature(&[], None);
        let id = m.declare("f", signature, None);
        let mut f = m.define(id);
        literal(&mut m, &mut f, &["a", "b", "c"]);
        literal(&mut m, &mut f, &["b", "a"]);
        literal(&mut m, &mut f, &["a"]);
        f.return_void();
        f.finish(&mut m);
        let module = m.finish();
        let mut counts = HashMap::new();
        count(&module.functions[0].code, &mut counts);
        // Constants are numbered as they came: a, b, c.
        let mut found: Vec<((u32, u32), u32)> = counts.into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [((0, 0), 2), ((0, 1), 1), ((1, 0), 1), ((1, 1), 1), ((2, 2), 1)]);
    }
}
