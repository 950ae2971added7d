//! What the text form cannot express: tables that do not fit together. The rest is in `filetests/ssa`.

use super::*;
use crate::text::parse;

/// A function with all that can be broken.
fn function() -> Function {
    let text = r#"
        function "f" -> int {
        state0 = fn 1 word 2 base 0 [0: v0]
        site0 = routine 3 plain slot 4 -> cell collects
        block0(v0: int):
            v1 = iadd v0, v0
            v2 = routine state0 site0
            guard v1 kind state0
            jump block1(v1)
        block1(v3: int):
            return v3
        }"#;
    let func = parse(text).unwrap();
    assert_eq!(verify(&func), Ok(()));
    func
}

fn check(rule: Rule, change: impl FnOnce(&mut Function)) {
    let mut func = function();
    change(&mut func);
    let error = verify(&func).expect_err("this is broken");
    assert!(error.ends_with(&format!("[{}]", rule.text())), "{error}");
}

#[test]
fn tables_that_do_not_fit() {
    let (v, inst, block) = (Value::from_u32, Inst::from_u32, Block::from_u32);
    check(Rule::Layout, |f| f.layout.clear());
    check(Rule::Layout, |f| f.layout.push(block(1)));
    check(Rule::Layout, |f| f.layout.push(block(9)));
    check(Rule::Layout, |f| f.blocks[block(0)].insts.insert(0, inst(99)));
    check(Rule::Layout, |f| f.blocks[block(0)].insts.insert(0, inst(0)));
    check(Rule::Target, |f| {
        f.layout.pop();
    });
    check(Rule::Target, |f| f.insts[inst(3)].targets[0].args[0] = v(99));
    check(Rule::Operands, |f| f.insts[inst(0)].args[0] = v(99));
    check(Rule::Definition, |f| f.insts[inst(0)].result = v(0).into());
    check(Rule::Definition, |f| f.insts[inst(0)].result = v(99).into());
    check(Rule::Definition, |f| f.values[v(1)].def = Def::Inst(inst(2)));
    check(Rule::Definition, |f| f.values[v(3)].def = Def::Param(block(1), 1));
    check(Rule::Definition, |f| f.blocks[block(1)].params[0] = v(99));
    check(Rule::Definition, |f| f.blocks[block(1)].params.push(v(0)));
    check(Rule::Result, |f| f.values[v(1)].ty = Type::Float);
    check(Rule::State, |f| f.insts[inst(2)].state = State::from_u32(9).into());
    check(Rule::State, |f| f.states[State::from_u32(0)].slots[0].1 = v(99));
    check(Rule::Site, |f| f.insts[inst(1)].site = Site::from_u32(9).into());
    check(Rule::Dominance, |f| f.blocks[block(0)].insts.swap(0, 2));
}
