//! fusevm: a machine without a language, so its kernels are in the assembly that is read here. A line is an op with its operands, a
//! label with a colon, or the start of a function (`sub NAME`). Slot 0 holds the argument at the start; the other slots are zero.

use std::collections::HashMap;
use std::error::Error;

use fusevm::{Chunk, ChunkBuilder, JitCompiler, Op, TraceJitConfig, VM, VMResult, Value};

use crate::Program;

/// Slots that the kernels have at most.
const SLOTS: usize = 8;

/// With both of its compilers: that of whole chunks, at the first run, and that of traces.
pub fn load(source: &str) -> Result<Program, Box<dyn Error>> {
    let chunk = assemble(source)?;
    JitCompiler::new().set_config(TraceJitConfig { block_threshold: 0, ..TraceJitConfig::defaults() });
    Ok(Box::new(move |n| {
        let mut vm = VM::new(chunk.clone());
        vm.enable_tracing_jit();
        // Compiled code takes slots only that the frame has.
        let frame = vm.frames.last_mut().ok_or("there is no frame")?;
        frame.slots = vec![Value::Int(0); SLOTS];
        frame.slots[0] = Value::Int(n);
        match vm.run() {
            VMResult::Ok(Value::Int(value)) => Ok(value),
            VMResult::Ok(other) => Err(format!("{} came back", other.to_str()).into()),
            VMResult::Error(error) => Err(error.into()),
            VMResult::Halted => Err("halted".into()),
        }
    }))
}

fn assemble(source: &str) -> Result<Chunk, Box<dyn Error>> {
    let mut b = ChunkBuilder::new();
    let mut labels = HashMap::new();
    let mut jumps = Vec::new();
    for (line, text) in source.lines().enumerate() {
        let words: Vec<&str> = text.split('#').next().unwrap_or("").split_whitespace().collect();
        let Some((&first, rest)) = words.split_first() else { continue };
        if let Some(label) = first.strip_suffix(':') {
            labels.insert(label, b.current_pos());
            continue;
        }
        let word = |i: usize| rest.get(i).copied().ok_or(format!("line {}: an operand is missing", line + 1));
        let op = match first {
            "sub" => {
                let name = b.add_name(word(0)?);
                let here = b.current_pos();
                b.add_sub_entry(name, here);
                continue;
            }
            "int" => Op::LoadInt(word(0)?.parse()?),
            "get" => Op::GetSlot(word(0)?.parse()?),
            "set" => Op::SetSlot(word(0)?.parse()?),
            "inc" => Op::PreIncSlotVoid(word(0)?.parse()?),
            "add" => Op::Add,
            "subtract" => Op::Sub,
            "mul" => Op::Mul,
            "mod" => Op::Mod,
            "lt" => Op::NumLt,
            "eq" => Op::NumEq,
            "frame" => Op::PushFrame,
            "return" => Op::ReturnValue,
            "call" => {
                let name = b.add_name(word(0)?);
                Op::Call(name, word(1)?.parse()?)
            }
            "jump" | "jump_if_false" => {
                let op = if first == "jump" { Op::Jump(0) } else { Op::JumpIfFalse(0) };
                let at = b.emit(op, line as u32 + 1);
                jumps.push((at, word(0)?));
                continue;
            }
            _ => return Err(format!("line {}: unknown op `{first}`", line + 1).into()),
        };
        b.emit(op, line as u32 + 1);
    }
    for (at, label) in jumps {
        let &to = labels.get(label).ok_or(format!("no label `{label}`"))?;
        b.patch_jump(at, to);
    }
    Ok(b.build())
}
