//! The object file that tells a debugger about one compiled function.
//!
//! It is an executable without contents: a `.text` section that occupies the code's addresses but no bytes of the file, as
//! in the files that hold debug information alone, a symbol, and DWARF of one unit with one subprogram and its line table,
//! and of one rule for frames. All addresses are final, so nothing is relocated. (A relocatable object, which other JITs
//! use, has debuggers apply relocations that would all come to nothing.)
//!
//! In the symbol table the function has the name that profiles show, with the tier; in the DWARF it has the guest's name, so
//! that `break fib` stops in every version of `fib`, whatever compiled it. The unit's producer names the tier.
//!
//! DWARF 4 rather than 5: readers of both are everywhere, and 5 would buy nothing for a unit of one file.

use super::{CodeInfo, Frame, printable};
use gimli::write::{
    Address, AttributeValue, CallFrameInstruction, CommonInformationEntry, DwarfUnit, EndianVec,
    FrameDescriptionEntry, FrameTable, LineProgram, LineString, Result as DwarfResult, Sections,
};
use gimli::{Encoding, LineEncoding, LittleEndian, Register, constants as dw};
use object::elf;
use object::write::elf::{FileHeader, SectionHeader, Sym, Writer};

/// The object file for `code`, or in words why there is none.
pub(super) fn build(code: &CodeInfo<'_>) -> Result<Vec<u8>, String> {
    let machine = host().ok_or("debuggers are told of compiled code on x86-64 and aarch64 only")?;
    build_for(machine, code)
}

fn host() -> Option<elf::Machine> {
    match std::env::consts::ARCH {
        "x86_64" => Some(elf::EM_X86_64),
        "aarch64" => Some(elf::EM_AARCH64),
        _ => None,
    }
}

fn build_for(machine: elf::Machine, code: &CodeInfo<'_>) -> Result<Vec<u8>, String> {
    let describe =
        |error: &dyn std::error::Error| format!("debuggers are not told of {}: {error}", code.symbol());
    let debug = debug_sections(machine, code).map_err(|error| describe(&error))?;
    object_file(machine, code, &debug).map_err(|error| describe(&error))
}

/// The sections of debug information, by name.
fn debug_sections(machine: elf::Machine, code: &CodeInfo<'_>) -> DwarfResult<Vec<(&'static str, Vec<u8>)>> {
    let encoding = Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
    let start = Address::Constant(code.address as u64);
    let size = AttributeValue::Udata(code.size as u64);
    let source = code.source.filter(|path| !path.is_empty()).map(printable);

    let mut dwarf = DwarfUnit::new(encoding);
    if let Some(source) = &source {
        dwarf.unit.line_program = line_program(code, source, encoding, &mut dwarf);
    }

    let producer = dwarf.strings.add(format!("Upshift, {}", printable(code.tier)));
    let unit_name = dwarf.strings.add(source.as_deref().unwrap_or("<no source>"));
    let directory = working_directory(source.as_deref()).map(|path| dwarf.strings.add(path));
    let root = dwarf.unit.root();
    let unit = dwarf.unit.get_mut(root);
    unit.set(dw::DW_AT_producer, AttributeValue::StringRef(producer));
    // The guest's language has no number. Debuggers read names of C as they are written, which is what is wanted.
    unit.set(dw::DW_AT_language, AttributeValue::Language(dw::DW_LANG_C));
    unit.set(dw::DW_AT_name, AttributeValue::StringRef(unit_name));
    if let Some(directory) = directory {
        unit.set(dw::DW_AT_comp_dir, AttributeValue::StringRef(directory));
    }
    unit.set(dw::DW_AT_low_pc, AttributeValue::Address(start));
    unit.set(dw::DW_AT_high_pc, size.clone());

    let function_name = dwarf.strings.add(printable(code.name));
    let function = dwarf.unit.add(root, dw::DW_TAG_subprogram);
    let function = dwarf.unit.get_mut(function);
    function.set(dw::DW_AT_name, AttributeValue::StringRef(function_name));
    function.set(dw::DW_AT_external, AttributeValue::Flag(true));
    function.set(dw::DW_AT_low_pc, AttributeValue::Address(start));
    function.set(dw::DW_AT_high_pc, size);

    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections)?;
    if let (Some(frame), Ok(size)) = (&code.frame, u32::try_from(code.size)) {
        frame_table(machine, frame, start, size, encoding).write_debug_frame(&mut sections.debug_frame)?;
    }
    let mut named = Vec::new();
    sections.for_each_mut(|id, section| {
        let bytes = section.take();
        if !bytes.is_empty() {
            named.push((id.name(), bytes));
        }
        Ok(())
    })?;
    Ok(named)
}

/// One rule for `size` bytes from `start` on.
fn frame_table(
    machine: elf::Machine,
    frame: &Frame<'_>,
    start: Address,
    size: u32,
    encoding: Encoding,
) -> FrameTable {
    // A column that the processor's ABI sets aside on x86-64, and the link register on aarch64.
    let return_address = Register(if machine == elf::EM_X86_64 { 16 } else { 30 });
    let distance = |below: u32| i32::try_from(below).map_or(i32::MIN, |below| -below);
    let mut common = CommonInformationEntry::new(encoding, 1, -8, return_address);
    let size_of_frame = i32::try_from(frame.size).unwrap_or(i32::MAX);
    common.add_instruction(CallFrameInstruction::Cfa(Register(frame.register), size_of_frame));
    common.add_instruction(CallFrameInstruction::Offset(return_address, -8));
    for &(register, below) in frame.saved {
        common.add_instruction(CallFrameInstruction::Offset(Register(register), distance(below)));
    }
    let mut table = FrameTable::default();
    let common = table.add_cie(common);
    table.add_fde(common, FrameDescriptionEntry::new(start, size));
    table
}

fn line_program(code: &CodeInfo<'_>, source: &str, encoding: Encoding, dwarf: &mut DwarfUnit) -> LineProgram {
    // The table must ascend, and a tier may place code out of the order of its ops. The sort is stable: of two lines at
    // one offset the later one counts, for the debugger as for the caller.
    let mut lines: Vec<_> =
        code.lines.iter().copied().filter(|(offset, _)| (*offset as usize) < code.size).collect();
    lines.sort_by_key(|(offset, _)| *offset);
    let Some((offset, line)) = lines.first().copied() else { return LineProgram::none() };
    if offset != 0 {
        lines.insert(0, (0, line));
    }

    let mut string = |text: &str| LineString::new(text, encoding, &mut dwarf.line_strings);
    let (directory, file) = (string(&working_directory(Some(source)).unwrap_or_default()), string(source));
    let mut program =
        LineProgram::new(encoding, LineEncoding::default(), directory, None, file.clone(), None);
    let file = program.add_file(file, program.default_directory(), None);
    program.begin_sequence(Some(Address::Constant(code.address as u64)));
    for (offset, line) in lines {
        let row = program.row();
        row.address_offset = u64::from(offset);
        row.file = file;
        row.line = u64::from(line);
        program.generate_row();
    }
    program.end_sequence(code.size as u64);
    program
}

/// Where a relative path counts from. An absolute one needs no such thing.
fn working_directory(source: Option<&str>) -> Option<String> {
    if source.is_none_or(|path| path.starts_with('/')) {
        return None;
    }
    std::env::current_dir().ok().map(|path| printable(&path.to_string_lossy()))
}

/// An ELF file of `.text`, `debug` and a symbol. The writer wants everything reserved in the order of the file before it is
/// written in that order.
fn object_file(
    machine: elf::Machine,
    code: &CodeInfo<'_>,
    debug: &[(&'static str, Vec<u8>)],
) -> object::write::Result<Vec<u8>> {
    let symbol = code.symbol();
    let mut file = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut file);

    writer.reserve_file_header();
    writer.reserve_null_section_index();
    let text_name = writer.add_section_name(b".text");
    let text = writer.reserve_section_index();
    let mut sections = Vec::new();
    for (name, bytes) in debug {
        writer.reserve_section_index();
        sections.push((
            writer.add_section_name(name.as_bytes()),
            writer.reserve(bytes.len() as u64, 1),
            bytes,
        ));
    }
    writer.reserve_null_symbol_index();
    writer.reserve_symbol_index(Some(text));
    let symbol_name = writer.add_string(symbol.as_bytes());
    writer.reserve_symtab_section_index();
    writer.reserve_symtab();
    writer.reserve_strtab_section_index();
    writer.reserve_strtab()?;
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    writer.write_file_header(&FileHeader {
        e_type: elf::ET_EXEC,
        e_machine: machine,
        ..FileHeader::default()
    })?;
    for (_, offset, bytes) in &sections {
        writer.pad_until(*offset);
        writer.write(bytes);
    }
    writer.write_null_symbol();
    writer.write_symbol(&Sym {
        section: Some(text.0),
        st_name: writer.string_offset(Some(symbol_name)),
        st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
        st_other: elf::SymbolOther::default(),
        // The section above stands for it.
        st_shndx: elf::SHN_UNDEF,
        st_value: code.address as u64,
        st_size: code.size as u64,
    });
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_section_header(&SectionHeader {
        sh_name: writer.section_name_offset(Some(text_name)),
        sh_type: elf::SHT_NOBITS,
        sh_flags: elf::SHF_ALLOC | elf::SHF_EXECINSTR,
        sh_addr: code.address as u64,
        sh_size: code.size as u64,
        sh_addralign: 1,
        ..SectionHeader::default()
    });
    for (name, offset, bytes) in &sections {
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(Some(*name)),
            sh_type: elf::SHT_PROGBITS,
            sh_offset: *offset,
            sh_size: bytes.len() as u64,
            sh_addralign: 1,
            ..SectionHeader::default()
        });
    }
    // Of the symbols only the null one is local.
    writer.write_symtab_section_header(1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    debug_assert_eq!(writer.reserved_len(), writer.len());
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::{EndianSlice, RunTimeEndian};
    use object::read::{Object, ObjectSection, ObjectSymbol};
    use object::{SectionFlags, SymbolKind};

    const LINES: &[(u32, u32)] = &[(4, 10), (9, 12), (15, 11), (40, 300), (41, 0), (0x40, 99)];

    const FRAME: Frame<'_> = Frame { register: 6, size: 64, saved: &[(6, 16), (3, 24)] };

    fn code() -> CodeInfo<'static> {
        CodeInfo {
            name: "Point.area",
            tier: "baseline",
            address: 0x7f55_0012_3450,
            size: 0x40,
            text: &[0; 0x40],
            source: Some("/guest/shapes.mochi"),
            lines: LINES,
            frame: Some(FRAME),
        }
    }

    type Reader<'a> = EndianSlice<'a, RunTimeEndian>;

    /// Hands the one unit of an image to `check`.
    fn with_unit<T>(
        image: &[u8],
        check: impl FnOnce(&gimli::Dwarf<Reader<'_>>, &gimli::Unit<Reader<'_>>) -> T,
    ) -> T {
        let file = object::File::parse(image).unwrap();
        let dwarf = gimli::Dwarf::load(|id| {
            let bytes = file.section_by_name(id.name()).map_or(&[][..], |section| section.data().unwrap());
            Ok::<_, gimli::Error>(EndianSlice::new(bytes, RunTimeEndian::Little))
        })
        .unwrap();
        let mut units = dwarf.units();
        let unit = dwarf.unit(units.next().unwrap().unwrap()).unwrap();
        assert!(units.next().unwrap().is_none());
        check(&dwarf, &unit)
    }

    /// Address and line of each row; the end of the sequence has no line.
    fn rows(image: &[u8]) -> Vec<(u64, Option<u64>)> {
        with_unit(image, |_, unit| {
            let Some(program) = unit.line_program.clone() else { return Vec::new() };
            let mut rows = program.rows();
            let mut found = Vec::new();
            while let Some((_, row)) = rows.next_row().unwrap() {
                let line = row.line().map_or(0, |line| line.get());
                found.push((row.address(), (!row.end_sequence()).then_some(line)));
            }
            found
        })
    }

    #[test]
    fn the_function_is_a_symbol_in_text_without_contents() {
        for (machine, architecture) in
            [(elf::EM_X86_64, object::Architecture::X86_64), (elf::EM_AARCH64, object::Architecture::Aarch64)]
        {
            let image = build_for(machine, &code()).unwrap();
            let file = object::File::parse(&*image).unwrap();
            assert_eq!(file.architecture(), architecture);
            assert_eq!(file.kind(), object::ObjectKind::Executable);

            let text = file.section_by_name(".text").unwrap();
            assert_eq!((text.address(), text.size()), (code().address as u64, code().size as u64));
            assert_eq!(text.data().unwrap(), b"");
            let SectionFlags::Elf { sh_flags, .. } = text.flags() else { panic!("not ELF") };
            assert_eq!(sh_flags, elf::SHF_ALLOC | elf::SHF_EXECINSTR);

            let symbols: Vec<_> = file.symbols().collect();
            let [symbol] = symbols.as_slice() else { panic!("{symbols:?}") };
            assert_eq!(symbol.name(), Ok("upshift::Point.area [baseline]"));
            assert_eq!((symbol.address(), symbol.size()), (code().address as u64, code().size as u64));
            assert_eq!((symbol.kind(), symbol.section_index()), (SymbolKind::Text, Some(text.index())));
            assert!(symbol.is_global());
        }
    }

    #[test]
    fn the_unit_has_the_function() {
        let image = build_for(elf::EM_X86_64, &code()).unwrap();
        with_unit(&image, |dwarf, unit| {
            assert_eq!(unit.name.unwrap().to_string(), Ok("/guest/shapes.mochi"));
            assert_eq!(unit.comp_dir, None);
            let mut entries = unit.entries();
            let mut functions = 0;
            while let Some(entry) = entries.next_dfs().unwrap() {
                let low = dwarf.attr_address(unit, entry.attr_value(gimli::DW_AT_low_pc).unwrap()).unwrap();
                assert_eq!(low, Some(code().address as u64));
                let high = entry.attr_value(gimli::DW_AT_high_pc).unwrap();
                assert_eq!(high.udata_value(), Some(code().size as u64));
                if entry.tag() == gimli::DW_TAG_subprogram {
                    let name = entry.attr_value(gimli::DW_AT_name).unwrap();
                    assert_eq!(dwarf.attr_string(unit, name).unwrap().to_string(), Ok("Point.area"));
                    functions += 1;
                } else {
                    let producer = entry.attr_value(gimli::DW_AT_producer).unwrap();
                    assert_eq!(
                        dwarf.attr_string(unit, producer).unwrap().to_string(),
                        Ok("Upshift, baseline")
                    );
                }
            }
            assert_eq!(functions, 1);
        });
    }

    #[test]
    fn the_line_table_covers_the_function() {
        let image = build_for(elf::EM_AARCH64, &code()).unwrap();
        let at = |offset: u64, line: u64| (code().address as u64 + offset, Some(line));
        assert_eq!(
            rows(&image),
            // The code before the first pair has its line, and the pair past the end is left out.
            [
                at(0, 10),
                at(4, 10),
                at(9, 12),
                at(15, 11),
                at(40, 300),
                at(41, 0),
                (code().address as u64 + 0x40, None)
            ]
        );
        with_unit(&image, |_, unit| {
            let header = unit.line_program.as_ref().unwrap().header();
            let file = header.file(1).unwrap().path_name();
            let gimli::AttributeValue::String(file) = file else { panic!("{file:?}") };
            assert_eq!(file.to_string(), Ok("/guest/shapes.mochi"));
        });
    }

    #[test]
    fn lines_may_come_in_any_order_and_be_any_number() {
        let lines = &[(8, u32::MAX), (0, 1), (63, 2), (8, 7)];
        let image = build_for(elf::EM_X86_64, &CodeInfo { lines, ..code() }).unwrap();
        let lines: Vec<_> =
            rows(&image).into_iter().map(|(at, line)| (at - code().address as u64, line)).collect();
        assert_eq!(
            lines,
            [(0, Some(1)), (8, Some(u64::from(u32::MAX))), (8, Some(7)), (63, Some(2)), (64, None)]
        );
    }

    #[test]
    fn the_callers_frame_is_found() {
        use gimli::{CfaRule, DebugFrame, RegisterRule, UnwindContext, UnwindSection};

        for (machine, return_address) in [(elf::EM_X86_64, 16), (elf::EM_AARCH64, 30)] {
            let image = build_for(machine, &code()).unwrap();
            let file = object::File::parse(&*image).unwrap();
            let section = file.section_by_name(".debug_frame").unwrap().data().unwrap();
            let mut table = DebugFrame::new(section, RunTimeEndian::Little);
            table.set_address_size(8);
            let last = code().address as u64 + code().size as u64 - 1;
            let mut context = UnwindContext::new();
            let row = table
                .unwind_info_for_address(
                    &gimli::BaseAddresses::default(),
                    &mut context,
                    last,
                    DebugFrame::cie_from_offset,
                )
                .unwrap();
            assert_eq!(*row.cfa(), CfaRule::RegisterAndOffset { register: Register(6), offset: 64 });
            assert_eq!(row.register(Register(return_address)), Some(RegisterRule::Offset(-8)));
            assert_eq!(row.register(Register(6)), Some(RegisterRule::Offset(-16)));
            assert_eq!(row.register(Register(3)), Some(RegisterRule::Offset(-24)));
        }
        let image = build_for(elf::EM_X86_64, &CodeInfo { frame: None, ..code() }).unwrap();
        assert!(object::File::parse(&*image).unwrap().section_by_name(".debug_frame").is_none());
    }

    #[test]
    fn a_relative_path_counts_from_the_working_directory() {
        let image = build_for(elf::EM_X86_64, &CodeInfo { source: Some("shapes.mochi"), ..code() }).unwrap();
        with_unit(&image, |_, unit| {
            assert_eq!(unit.name.unwrap().to_string(), Ok("shapes.mochi"));
            let directory = std::env::current_dir().unwrap();
            assert_eq!(unit.comp_dir.unwrap().to_string(), Ok(directory.to_str().unwrap()));
        });
    }

    #[test]
    fn without_lines_or_source_there_is_no_line_table() {
        for code in [
            CodeInfo { lines: &[], ..code() },
            CodeInfo { lines: &[(0x40, 1)], ..code() },
            CodeInfo { source: None, ..code() },
            CodeInfo { source: Some(""), ..code() },
        ] {
            let image = build_for(elf::EM_X86_64, &code).unwrap();
            assert_eq!(rows(&image), []);
            assert!(object::File::parse(&*image).unwrap().section_by_name(".debug_line").is_none());
        }
    }

    #[test]
    fn no_text_is_too_odd() {
        let code = CodeInfo {
            name: "\0",
            tier: "",
            address: usize::MAX - 1,
            size: usize::MAX,
            text: &[],
            source: Some("a\0b"),
            lines: &[(u32::MAX, u32::MAX)],
            frame: Some(Frame {
                register: u16::MAX,
                size: u32::MAX,
                saved: &[(u16::MAX, u32::MAX), (u16::MAX, 8)],
            }),
        };
        let image = build_for(elf::EM_X86_64, &code).unwrap();
        let file = object::File::parse(&*image).unwrap();
        assert_eq!(file.symbols().next().unwrap().name(), Ok("upshift::? []"));
        let empty = CodeInfo { name: "", ..code };
        build_for(elf::EM_X86_64, &empty).unwrap();
    }
}
