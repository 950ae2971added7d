//! `dump --baseline` and `dump --optimized`: machine code beside the source lines that it was made from, and the bytecode, or the form
//! of the code generator.

use std::fmt::Write;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use upshift::bytecode::{self, text};
use upshift::{MachineCode, Module};

/// The text of a module: for each function its instructions, each with its machine code.
///
/// # Errors
/// On machines that have no table of stencils.
pub fn baseline(
    module: &bytecode::Module,
    code: &Module,
    sources: &[&str],
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for (function, machine) in module.functions.iter().zip(code.baseline_code()) {
        match machine {
            Some(machine) => one(&mut out, module, function, &machine, sources)?,
            None => writeln!(out, "{}: too large for machine code\n", function.name)?,
        }
    }
    Ok(out)
}

fn one(
    out: &mut String,
    module: &bytecode::Module,
    function: &bytecode::Function,
    machine: &MachineCode,
    sources: &[&str],
) -> std::fmt::Result {
    let size = machine.literals as usize;
    let plural = if machine.instructions == 1 { "" } else { "s" };
    writeln!(
        out,
        "{}: {} instruction{plural}, {} bytes ({} hot)",
        function.name,
        machine.instructions,
        machine.text.len(),
        machine.cold
    )?;
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_branch_leading_zeros(false);
    let text = machine.text.get(..size).unwrap_or(&machine.text);
    let mut decoder = Decoder::with_ip(64, text, 0, DecoderOptions::NONE);
    let mut map = machine.map.iter().peekable();
    let mut line_shown = None;
    let mut cold_shown = false;
    let mut rendered = String::new();
    while decoder.can_decode() {
        let at = decoder.ip() as u32;
        if at >= machine.cold && !cold_shown {
            cold_shown = true;
            writeln!(out, "  ; cold")?;
        }
        while let Some(&&(offset, word)) = map.peek() {
            if offset > at {
                break;
            }
            map.next();
            if let Some((line, content)) = source_line(module, function, word, sources)
                && line_shown != Some(line)
            {
                line_shown = Some(line);
                writeln!(out, "  ; line {line}: {}", content.trim())?;
            }
            writeln!(out, "    {}", text::instruction(module, function, word as usize))?;
        }
        let instruction = decoder.decode();
        rendered.clear();
        formatter.format(&instruction, &mut rendered);
        writeln!(out, "        {at:5x}  {rendered}")?;
    }
    writeln!(out)
}

/// The text of a module's optimized code: for each function the code generator's form, then machine code.
pub fn optimized(module: &bytecode::Module, code: &Module, sources: &[&str]) -> String {
    let mut out = String::new();
    for function in code.optimized_code() {
        out.push_str(&format!("; {}\n{}", function.name, function.form));
        let mut formatter = IntelFormatter::new();
        formatter.options_mut().set_branch_leading_zeros(false);
        let mut decoder = Decoder::with_ip(64, &function.text, 0, DecoderOptions::NONE);
        let mut map = function.map.iter().peekable();
        let mut shown = None;
        let mut rendered = String::new();
        while decoder.can_decode() {
            let at = decoder.ip() as u32;
            while let Some(&(_, of, word)) = map.next_if(|m| m.0 <= at) {
                let Some(guest) = module.functions.get(of as usize) else { continue };
                if let Some((line, content)) = source_line(module, guest, word, sources)
                    && shown != Some((of, line))
                {
                    shown = Some((of, line));
                    let inlined = if guest.name == function.name {
                        String::new()
                    } else {
                        format!(" of {}", guest.name)
                    };
                    out.push_str(&format!("  ; line {line}{inlined}: {}\n", content.trim()));
                }
            }
            let instruction = decoder.decode();
            rendered.clear();
            formatter.format(&instruction, &mut rendered);
            out.push_str(&format!("        {at:5x}  {rendered}\n"));
        }
        out.push('\n');
    }
    out
}

fn source_line<'a>(
    module: &bytecode::Module,
    function: &bytecode::Function,
    word: u32,
    sources: &[&'a str],
) -> Option<(usize, &'a str)> {
    let i = function.spans.partition_point(|&(at, _)| at <= word).checked_sub(1)?;
    let span = function.spans[i].1;
    let table = module.sources.get(span.source as usize)?;
    let line = table.line_starts.partition_point(|&s| s <= span.start).max(1);
    let start = *table.line_starts.get(line - 1)? as usize;
    let content = sources.get(span.source as usize)?.get(start..)?.lines().next()?;
    Some((line, content))
}
