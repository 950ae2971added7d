//! `cargo xtask stencils`: compiles `stencils/*.c` with Clang 19 and writes the table of the baseline compiler.
//!
//! Clang puts every basic block into a section of its own (`-fbasic-block-sections=all`), with a relocation for each jump, so
//! blocks can be placed without a disassembler. For each stencil: jumps to blocks that only jump are threaded, the chain of
//! blocks from the entry becomes the hot part, whose last jump to CONT disappears, and all other blocks become the cold part.
//! Stencils that differ only in operands form a family, which the compiler indexes; see [`Family`].
//!
//! What the patcher could not patch is an error here: relocations of other kinds, a 32-bit hole that would be zero-extended
//! where a signed number goes in, references to data.
//!
//! That is x86-64, the machine that the engine runs on. The same sources give a table for aarch64, as far as it goes: see
//! [`aarch64`].

mod aarch64;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lexopt::prelude::{Long, Short, ValueExt as _};
use object::read::elf::ElfFile64;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionIndex, SymbolKind,
};

use crate::{Outcome, root};

const USAGE: &str = "\
Usage: cargo xtask stencils [OPTIONS]

Compiles stencils/*.c with clang-19 for x86-64 and aarch64 and writes crates/baseline/src/table/.

Options:
  --check      compare with what is there instead of writing; without clang-19 say so and succeed
  --clang P    the compiler [clang-19]
  -h, --help   print this
";

const SOURCES: &[&str] = &["scalar", "objects", "control"];

const FLAGS: &[&str] = &[
    "-O2",
    "-std=gnu11",
    "-Wall",
    "-Wno-unused-variable",
    "-Wno-uninitialized",
    "-Wno-unused-parameter",
    "-Wno-unused-but-set-variable",
    "-mcmodel=medium",
    "-fno-pic",
    "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fomit-frame-pointer",
    "-fno-jump-tables",
    "-ffunction-sections",
    "-fno-ident",
    "-mno-red-zone",
    "-ffreestanding",
    "-fbasic-block-sections=all",
];

/// What a hole is filled with, by the name of its symbol. The numbers are those of `HoleKind` in the baseline crate, which is
/// generated from this list.
const HOLES: &[(&str, Hole)] = &[
    ("S0", Hole::Signed),
    ("S1", Hole::Signed),
    ("S2", Hole::Signed),
    ("S3", Hole::Signed),
    ("S4", Hole::Signed),
    ("S5", Hole::Signed),
    ("U0", Hole::Unsigned),
    ("U1", Hole::Unsigned),
    ("Q0", Hole::Wide),
    ("B0", Hole::Byte),
    ("CONT", Hole::Jump),
    ("TAKEN", Hole::Jump),
    ("COLD", Hole::Jump),
    ("EXIT_HERE", Hole::Jump),
    ("RETURN_COLD", Hole::Jump),
    ("THUNK", Hole::Jump),
    ("EXIT", Hole::Jump),
    ("RETURN_THUNK", Hole::Jump),
    ("LIT_CODE", Hole::Data),
    ("LIT_CALL", Hole::Data),
    ("STUB_LEAVE", Hole::Jump),
    ("STUB_ROUTINE", Hole::Jump),
    ("STUB_EXIT", Hole::Jump),
    ("STUB_RETURN", Hole::Jump),
    // Between the two parts of a stencil; the addend is the offset in the other part.
    ("HOT_PART", Hole::Jump),
    ("COLD_PART", Hole::Jump),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hole {
    /// 32 bits that the instruction sign-extends.
    Signed,
    /// 32 bits, extended either way: never negative.
    Unsigned,
    /// 64 bits.
    Wide,
    /// 8 bits.
    Byte,
    /// The target of a jump or call, 32 bits from its end.
    Jump,
    /// Data in the function's tail, 32 bits from the end of the displacement.
    Data,
}

fn hole(name: &str) -> Option<(u8, Hole)> {
    HOLES.iter().position(|h| h.0 == name).map(|i| (i as u8, HOLES[i].1))
}

const R_X86_64_64: u32 = 1;
const R_X86_64_PC32: u32 = 2;
const R_X86_64_PLT32: u32 = 4;
const R_X86_64_32: u32 = 10;
const R_X86_64_32S: u32 = 11;
const R_X86_64_8: u32 = 14;

/// Where a reference leads: another block of the function, or a symbol outside.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    Block(usize),
    Hole(u8),
}

#[derive(Clone, Debug)]
struct Reference {
    offset: usize,
    target: Target,
    addend: i64,
    kind: u32,
}

/// A basic block: its bytes, and what they refer to.
#[derive(Clone, Debug)]
struct Block {
    bytes: Vec<u8>,
    references: Vec<Reference>,
}

impl Block {
    /// The jump that ends the block: where it leads.
    fn last_jump(&self) -> Option<&Target> {
        let last = self.references.last()?;
        let ends =
            last.offset + 4 == self.bytes.len() && last.offset >= 1 && self.bytes[last.offset - 1] == 0xE9;
        ends.then_some(&last.target)
    }

    fn drop_last_jump(&mut self) {
        let last = self.references.pop();
        debug_assert!(last.is_some());
        self.bytes.truncate(self.bytes.len() - 5);
    }
}

/// A hole in a finished stencil.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Patch {
    offset: u16,
    kind: u8,
    addend: i16,
}

/// A finished stencil: the hot part, then the cold one.
#[derive(Clone, Debug)]
struct Stencil {
    bytes: Vec<u8>,
    hot: usize,
    patches: Vec<Patch>,
}

/// Runs the command.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let mut check = false;
    let mut clang = "clang-19".to_owned();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("check") => check = true,
            Long("clang") => clang = parser.value()?.string()?,
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(true);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let version = match Command::new(&clang).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned(),
        Err(_) if check => {
            println!("{clang} is not installed: the table was not compared");
            return Ok(true);
        }
        Err(error) => return Err(format!("{clang}: {error}").into()),
    };
    if !version.contains("version 19.") {
        return Err(format!("the table is made with Clang 19, and this is {version}").into());
    }
    let root = root();
    let layout = upshift_runtime::layout::header();
    let mut files = vec![(root.join("stencils/layout.h"), layout.into_bytes())];
    let out = root.join("target/stencils");
    std::fs::create_dir_all(&out)?;
    if !check {
        std::fs::write(&files[0].0, &files[0].1)?;
    }
    let compile = |machine: &str, flags: &[&str], source: &str| -> Result<PathBuf, Box<dyn Error>> {
        let object = out.join(format!("{machine}-{source}.o"));
        let status = Command::new(&clang)
            .args(flags)
            .arg("-c")
            .arg(root.join("stencils").join(format!("{source}.c")))
            .arg("-o")
            .arg(&object)
            .status()?;
        if !status.success() {
            return Err(format!("{clang} failed on {source}.c for {machine}").into());
        }
        Ok(object)
    };
    let mut stencils = BTreeMap::new();
    for source in SOURCES {
        extract(&compile("x86_64", FLAGS, source)?, &mut stencils)?;
    }
    let (mut portable, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for source in aarch64::SOURCES {
        aarch64::extract(&compile("aarch64", aarch64::FLAGS, source)?, &mut portable, &mut failed)?;
    }
    let missing = missing(&stencils, &mut portable, &failed);
    for (reason, families) in &missing {
        println!("aarch64 lacks, since {reason}: {}", families.join(", "));
    }
    for (machine, title, stencils, missing) in
        [("x86_64", "x86-64", &stencils, None), ("aarch64", "aarch64", &portable, Some(&missing))]
    {
        let (binary, module) = table(machine, title, stencils, missing, &version)?;
        println!("{title}: {} stencils, {} bytes", stencils.len(), binary.len());
        files.push((root.join(format!("crates/baseline/src/table/{machine}.bin")), binary));
        files.push((root.join(format!("crates/baseline/src/table/{machine}.rs")), module.into_bytes()));
    }
    let mut same = true;
    for (path, bytes) in files {
        if check {
            if std::fs::read(&path).ok().as_deref() != Some(&bytes[..]) {
                println!("{} is not what the sources give: run `cargo xtask stencils`", path.display());
                same = false;
            }
        } else {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, bytes)?;
        }
    }
    Ok(same)
}

/// Reads all stencils of an object file.
fn extract(path: &Path, stencils: &mut BTreeMap<String, Stencil>) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let file = ElfFile64::<object::Endianness>::parse(&*bytes)?;
    // Blocks by function, in their order.
    let mut functions: BTreeMap<String, BTreeMap<usize, SectionIndex>> = BTreeMap::new();
    for symbol in file.symbols() {
        let Some(section) = symbol.section_index() else { continue };
        if symbol.kind() == SymbolKind::Section || symbol.kind() == SymbolKind::File {
            continue;
        }
        let name = symbol.name()?;
        if !file.section_by_index(section)?.name()?.starts_with(".text") {
            continue;
        }
        let (function, part) = match name.split_once(".__part.") {
            Some((function, part)) => (function, part.parse()?),
            None => match name.strip_suffix(".cold") {
                Some(function) => (function, usize::MAX),
                None => (name, 0),
            },
        };
        functions.entry(function.to_owned()).or_default().insert(part, section);
    }
    for (name, sections) in functions {
        let index: HashMap<SectionIndex, usize> =
            sections.values().enumerate().map(|(i, &s)| (s, i)).collect();
        let mut blocks = Vec::new();
        for &section in sections.values() {
            blocks.push(read_block(&file, section, &index).map_err(|e| format!("{name}: {e}"))?);
        }
        let stencil = place(blocks).map_err(|e| format!("{name}: {e}"))?;
        if stencils.insert(name.clone(), stencil).is_some() {
            return Err(format!("{name} is defined twice").into());
        }
    }
    Ok(())
}

fn read_block(
    file: &ElfFile64<'_>,
    section: SectionIndex,
    index: &HashMap<SectionIndex, usize>,
) -> Result<Block, Box<dyn Error>> {
    let section = file.section_by_index(section)?;
    let bytes = section.data()?.to_vec();
    let mut references = Vec::new();
    for (offset, relocation) in section.relocations() {
        let RelocationFlags::Elf { r_type } = relocation.flags() else {
            return Err("no ELF relocation".into());
        };
        let RelocationTarget::Symbol(symbol) = relocation.target() else { return Err("no symbol".into()) };
        let symbol = file.symbol_by_index(symbol)?;
        let target = match symbol.section_index().and_then(|s| index.get(&s)) {
            Some(&block) => Target::Block(block),
            None => {
                let name = symbol.name()?;
                let (number, kind) = hole(name).ok_or_else(|| format!("{name} is no hole"))?;
                let fits = match kind {
                    Hole::Signed => r_type == R_X86_64_32S,
                    Hole::Unsigned => r_type == R_X86_64_32S || r_type == R_X86_64_32,
                    Hole::Wide => r_type == R_X86_64_64,
                    Hole::Byte => r_type == R_X86_64_8,
                    Hole::Jump => r_type == R_X86_64_PLT32 || r_type == R_X86_64_PC32,
                    Hole::Data => r_type == R_X86_64_PC32,
                };
                if !fits {
                    return Err(format!("{name} has a relocation of type {r_type}").into());
                }
                Target::Hole(number)
            }
        };
        references.push(Reference {
            offset: offset as usize,
            target,
            addend: relocation.addend(),
            kind: r_type,
        });
    }
    references.sort_by_key(|r| r.offset);
    Ok(Block { bytes, references })
}

/// Places the blocks of a stencil: see the module's documentation.
fn place(mut blocks: Vec<Block>) -> Result<Stencil, Box<dyn Error>> {
    let (cont, _) = hole("CONT").ok_or("no CONT")?;
    let (hot_part, _) = hole("HOT_PART").ok_or("no HOT_PART")?;
    let (cold_part, _) = hole("COLD_PART").ok_or("no COLD_PART")?;
    // A block that only jumps stands for where it leads.
    let alias: Vec<Option<Target>> =
        blocks.iter().map(|b| if b.bytes.len() == 5 { b.last_jump().cloned() } else { None }).collect();
    let resolve = |mut target: Target| {
        while let Target::Block(i) = target {
            match &alias[i] {
                Some(next) => target = next.clone(),
                None => break,
            }
        }
        target
    };
    for block in &mut blocks {
        for reference in &mut block.references {
            if let Target::Block(i) = reference.target {
                if reference.addend != -4 || !matches!(reference.kind, R_X86_64_PLT32 | R_X86_64_PC32) {
                    return Err("a block is referred to by something other than a jump".into());
                }
                reference.target = resolve(Target::Block(i));
            }
        }
    }
    let mut placed = vec![false; blocks.len()];
    let chain = |start: usize, blocks: &mut Vec<Block>, placed: &mut Vec<bool>| {
        let mut order = vec![start];
        placed[start] = true;
        loop {
            let at = order[order.len() - 1];
            match blocks[at].last_jump().cloned() {
                Some(Target::Block(next)) if !placed[next] => {
                    blocks[at].drop_last_jump();
                    placed[next] = true;
                    order.push(next);
                }
                _ => return order,
            }
        }
    };
    // An entry that is nothing but a jump is still the entry.
    let mut hot = chain(0, &mut blocks, &mut placed);
    let last = hot[hot.len() - 1];
    if blocks[last].last_jump() == Some(&Target::Hole(cont)) {
        blocks[last].drop_last_jump();
    } else if blocks[last].last_jump().is_some() {
        // `jcc CONT; jmp X` becomes `jncc X`, and falls through.
        let block = &mut blocks[last];
        let n = block.references.len();
        let end = block.bytes.len();
        if n >= 2
            && block.references[n - 2].target == Target::Hole(cont)
            && block.references[n - 2].offset + 4 == end - 5
            && block.bytes[block.references[n - 2].offset - 2] == 0x0F
        {
            let jump = block.references.pop().ok_or("no jump")?;
            block.bytes.truncate(end - 5);
            let at = block.references[n - 2].offset;
            block.bytes[at - 1] ^= 1;
            block.references[n - 2].target = jump.target;
        }
    }
    let mut cold = Vec::new();
    // What is referred to and not placed yet follows in the cold part.
    loop {
        let mut next = None;
        for &b in hot.iter().chain(&cold) {
            for r in &blocks[b].references {
                if let Target::Block(i) = r.target
                    && !placed[i]
                {
                    next = next.or(Some(i));
                }
            }
        }
        let Some(next) = next else { break };
        cold.extend(chain(next, &mut blocks, &mut placed));
    }
    let mut bytes = Vec::new();
    let mut starts = vec![usize::MAX; blocks.len()];
    let mut hot_len = 0;
    let order: Vec<usize> = hot.drain(..).chain(cold.iter().copied()).collect();
    let cold_first = order.len() - cold.len();
    for (i, &b) in order.iter().enumerate() {
        if i == cold_first {
            hot_len = bytes.len();
        }
        starts[b] = bytes.len();
        bytes.extend_from_slice(&blocks[b].bytes);
    }
    if cold.is_empty() {
        hot_len = bytes.len();
    }
    let mut patches = Vec::new();
    for (i, &b) in order.iter().enumerate() {
        let in_hot = i < cold_first;
        for r in &blocks[b].references {
            let at = starts[b] + r.offset;
            let mut local = |target: usize| {
                let distance = target as i64 - (at as i64 + 4);
                bytes[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
            };
            let (kind, addend) = match r.target {
                Target::Block(t) if in_hot == (starts[t] < hot_len) => {
                    local(starts[t]);
                    continue;
                }
                Target::Block(t) if in_hot => (cold_part, (starts[t] - hot_len) as i64),
                Target::Block(t) => (hot_part, starts[t] as i64),
                Target::Hole(kind) if kind == cont && in_hot => {
                    local(hot_len);
                    continue;
                }
                Target::Hole(kind) => {
                    let (_, sort) = HOLES[kind as usize];
                    if matches!(sort, Hole::Jump) {
                        if r.addend != -4 {
                            return Err("a jump into the middle of something".into());
                        }
                        (kind, 0)
                    } else if matches!(sort, Hole::Data) {
                        (kind, r.addend + 4)
                    } else {
                        (kind, r.addend)
                    }
                }
            };
            patches.push(Patch { offset: u16::try_from(at)?, kind, addend: i16::try_from(addend)? });
        }
    }
    Ok(Stencil { bytes, hot: hot_len, patches })
}

/// The indices behind `__` in a stencil's name: `_d0_i3` is `[0, 3]`.
fn indices(name: &str) -> (&str, Vec<usize>) {
    match name.split_once("__") {
        None => (name, Vec::new()),
        Some((family, rest)) => {
            (family, rest.split('_').map(|t| t[1..].parse().unwrap_or(usize::MAX)).collect())
        }
    }
}

/// The families that `all` has and `some` lacks, by the reason: a family with a variant that failed is taken out.
fn missing(
    all: &BTreeMap<String, Stencil>,
    some: &mut BTreeMap<String, Stencil>,
    failed: &BTreeMap<String, String>,
) -> BTreeMap<String, Vec<String>> {
    let mut missing = BTreeMap::new();
    for name in all.keys().filter(|&name| !some.contains_key(name)) {
        let reason = match failed.get(name) {
            Some(reason) => reason.clone(),
            None => "they are in the assembly of x86-64".to_owned(),
        };
        missing.entry(indices(name).0.to_owned()).or_insert(reason);
    }
    some.retain(|name, _| all.contains_key(name) && !missing.contains_key(indices(name).0));
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (family, reason) in missing {
        reasons.entry(reason).or_default().push(family);
    }
    reasons
}

/// The binary table and the module that names its families.
fn table(
    machine: &str,
    title: &str,
    stencils: &BTreeMap<String, Stencil>,
    missing: Option<&BTreeMap<String, Vec<String>>>,
    version: &str,
) -> Result<(Vec<u8>, String), Box<dyn Error>> {
    let mut families: BTreeMap<&str, BTreeMap<Vec<usize>, &Stencil>> = BTreeMap::new();
    for (name, stencil) in stencils {
        let (family, index) = indices(name);
        families.entry(family).or_default().insert(index, stencil);
    }
    let (mut code, mut holes, mut entries) = (Vec::new(), Vec::<u8>::new(), Vec::<u8>::new());
    let mut known_code: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut known_holes: HashMap<Vec<Patch>, usize> = HashMap::new();
    let mut constants = String::new();
    let mut count = 0;
    for (family, variants) in &families {
        let dims: Vec<usize> = (0..variants.keys().next().map_or(0, Vec::len))
            .map(|i| variants.keys().map(|k| k[i] + 1).max().unwrap_or(0))
            .collect();
        if variants.len() != dims.iter().product::<usize>() {
            return Err(format!("{family} lacks variants: {} of {dims:?}", variants.len()).into());
        }
        writeln!(
            constants,
            "    pub const {}: Family<{}> = Family {{ base: {count}, dims: {dims:?} }};",
            family.to_uppercase(),
            dims.len()
        )?;
        for stencil in variants.values() {
            let place = *known_code.entry(stencil.bytes.clone()).or_insert_with(|| {
                let place = code.len();
                code.extend_from_slice(&stencil.bytes);
                place
            });
            let first = *known_holes.entry(stencil.patches.clone()).or_insert_with(|| {
                let first = holes.len() / 6;
                for patch in &stencil.patches {
                    holes.extend_from_slice(&patch.offset.to_le_bytes());
                    holes.extend_from_slice(&u16::from(patch.kind).to_le_bytes());
                    holes.extend_from_slice(&patch.addend.to_le_bytes());
                }
                first
            });
            if first >= 1 << 24 || stencil.patches.len() > 255 {
                return Err(format!("{family} has too many holes").into());
            }
            entries.extend_from_slice(&u32::try_from(place)?.to_le_bytes());
            entries.extend_from_slice(&u16::try_from(stencil.hot)?.to_le_bytes());
            entries.extend_from_slice(&u16::try_from(stencil.bytes.len() - stencil.hot)?.to_le_bytes());
            entries.extend_from_slice(&((first as u32) << 8 | stencil.patches.len() as u32).to_le_bytes());
            count += 1;
        }
    }
    let (holes_at, code_at) = (entries.len(), entries.len() + holes.len());
    let mut binary = entries;
    binary.append(&mut holes);
    binary.append(&mut code);
    // Patching copies in units of 32 bytes.
    binary.resize(binary.len() + 32, 0);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for &byte in &binary {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let (mut kinds, mut all) = (String::new(), String::new());
    for (name, _) in HOLES {
        let mut camel = String::new();
        for part in name.split('_') {
            camel.push_str(&part[..1]);
            camel.push_str(&part[1..].to_lowercase());
        }
        writeln!(kinds, "    /// `{name}` in the sources.\n    {camel},")?;
        write!(all, "HoleKind::{camel}, ")?;
    }
    let mut lacks = String::new();
    if let Some(missing) = missing {
        lacks.push_str("/// The families of x86-64 that are not here.\npub const MISSING: &[&str] = &[\n");
        for (reason, families) in missing {
            writeln!(lacks, "    // Since {reason}:")?;
            for family in families {
                writeln!(lacks, "    {family:?},")?;
            }
        }
        lacks.push_str("];\n");
    }
    let module = format!(
        "//! Stencils for {title}: generated by `cargo xtask stencils` from `stencils/`; do not edit.\n\
         //!\n\
         //! Made by: {version}\n\
         \n\
         use super::Family;\n\
         \n\
         /// The table: entries, holes, code.\n\
         pub static TABLE: &[u8] = &ALIGNED.0;\n\
         #[repr(align(8))]\n\
         struct Aligned<B: ?Sized>(B);\n\
         static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(\"{machine}.bin\"));\n\
         /// Where the holes start.\n\
         pub const HOLES: usize = {holes_at};\n\
         /// Where the code starts.\n\
         pub const CODE: usize = {code_at};\n\
         /// The number of stencils.\n\
         pub const COUNT: usize = {count};\n\
         /// The hash of the table's bytes.\n\
         pub const HASH: u64 = {hash:#x};\n\
         /// The layout that the sources were compiled for.\n\
         pub const LAYOUT: u64 = {layout:#x};\n\
         /// The compiler.\n\
         pub const COMPILER: &str = {version:?};\n\
         {lacks}\n\
         /// What a hole is filled with.\n\
         #[derive(Clone, Copy, PartialEq, Eq, Debug)]\n\
         #[repr(u16)]\n\
         pub enum HoleKind {{\n{kinds}}}\n\
         \n\
         impl HoleKind {{\n\
         /// All kinds in the order of their numbers.\n\
         pub const ALL: &'static [HoleKind] = &[{all}];\n\
         }}\n\
         \n\
         /// The families, by the names in the sources.\n\
         #[allow(missing_docs, reason = \"the names are those of ops\")]\n\
         #[allow(dead_code, reason = \"some stencils are used by tests only\")]\n\
         pub mod family {{\n    use super::Family;\n\n{constants}}}\n",
        layout = upshift_runtime::layout::HASH,
    );
    Ok((binary, format_rust(module)?))
}

/// The module as rustfmt would have it, so that the formatting check passes.
fn format_rust(text: String) -> Result<String, Box<dyn Error>> {
    use std::io::Write as _;
    use std::process::Stdio;
    let config: PathBuf = root();
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no pipe to rustfmt")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("rustfmt failed".into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
