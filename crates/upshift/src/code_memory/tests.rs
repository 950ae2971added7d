//! Tests that need real memory; those of the bookkeeping are beside it.

/// A linear congruential generator: the same numbers in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn capacities_are_brought_into_bounds() {
    for (cap, expected) in [(0, 64 << 10), (65_536, 64 << 10), (200_000, 192 << 10), (16 << 20, 16 << 20)] {
        let capacity = super::CodeMemory::new(cap).map(|memory| memory.capacity());
        assert!(capacity.is_err() || capacity.is_ok_and(|capacity| capacity == expected));
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
#[test]
fn the_reason_is_said() {
    let error = super::CodeMemory::new(1 << 20).unwrap_err();
    assert!(error.reason().contains("not supported"));
    assert!(error.to_string().starts_with("no memory for machine code: "));
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod mapped {
    use std::collections::HashSet;
    use std::process::{Command, Output};
    use std::sync::Arc;

    use super::Random;
    use crate::code_memory::chunks::CHUNK;
    use crate::code_memory::{CodeBlock, CodeMemory, Purpose, UNIT};

    /// The byte that nobody wrote.
    const TRAP: u8 = if cfg!(target_arch = "x86_64") { 0xcc } else { 0 };

    const PURPOSES: [Purpose; 3] = [Purpose::Execution, Purpose::Profiling, Purpose::Debugging];

    fn memory(cap: usize) -> Arc<CodeMemory> {
        memory_for(Purpose::Execution, cap)
    }

    fn memory_for(purpose: Purpose, cap: usize) -> Arc<CodeMemory> {
        CodeMemory::with(cap, purpose).expect("this platform has code memory")
    }

    /// Reads through the executable view, also what was freed.
    fn read(memory: &CodeMemory, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= memory.capacity());
        // SAFETY: inside the executable view, which can be read as long as `memory` lives.
        (offset..offset + len).map(|at| unsafe { memory.base().add(at).read_volatile() }).collect()
    }

    fn contents(block: &CodeBlock) -> Vec<u8> {
        read(block.memory(), block.offset(), block.len())
    }

    /// The code of `fn() -> u32 { value }`.
    fn constant(value: u32) -> Vec<u8> {
        if cfg!(target_arch = "x86_64") {
            // mov eax, value; ret
            [&[0xb8][..], &value.to_le_bytes(), &[0xc3]].concat()
        } else {
            // movz w0, low; movk w0, high, lsl 16; ret
            let low = 0x5280_0000 | (value & 0xffff) << 5;
            let high = 0x72a0_0000 | (value >> 16) << 5;
            [low, high, 0xd65f_03c0].map(u32::to_le_bytes).concat()
        }
    }

    /// A block with the code of `fn() -> u32 { value }`.
    fn constant_block(memory: &Arc<CodeMemory>, value: u32) -> Option<CodeBlock> {
        let code = constant(value);
        let mut block = memory.allocate(code.len())?;
        assert!(block.write(0, &code));
        block.publish();
        Some(block)
    }

    fn call(block: &CodeBlock) -> u32 {
        // SAFETY: only called with what `constant_block` made.
        unsafe { std::mem::transmute::<*const u8, extern "C" fn() -> u32>(block.address())() }
    }

    #[test]
    fn the_probe_runs_and_leaves_nothing() {
        let memory = memory(CodeMemory::DEFAULT_CAPACITY);
        assert_eq!(memory.capacity(), 64 << 20);
        assert_eq!(memory.used(), 0);
        assert!(memory.contains(memory.base()));
        assert!(memory.contains(memory.base().wrapping_add(memory.capacity() - 1)));
        assert!(!memory.contains(memory.base().wrapping_add(memory.capacity())));
        assert!(!memory.contains(memory.base().wrapping_sub(1)));
    }

    #[test]
    fn what_is_written_shows_at_the_address() {
        for purpose in PURPOSES {
            let memory = memory_for(purpose, 1 << 20);
            let mut block = memory.allocate(100).unwrap();
            assert!(block.address().addr().is_multiple_of(UNIT));
            assert_eq!(block.address(), memory.base().wrapping_add(block.offset()));
            assert_eq!((block.len(), memory.used()), (100, 112));
            assert_eq!(contents(&block), [TRAP; 100]);
            let bytes: Vec<u8> = (0..100).collect();
            assert!(block.write(0, &bytes));
            assert!(block.write(40, &[0xff; 60]));
            assert_eq!(contents(&block)[..40], bytes[..40]);
            assert_eq!(contents(&block)[40..], [0xff; 60]);
            let offset = block.offset();
            drop(block);
            assert_eq!(memory.used(), 0);
            assert_eq!(read(&memory, offset, 112), [TRAP; 112]);
        }
    }

    #[test]
    fn nothing_is_written_beyond_a_block() {
        let memory = memory(1 << 20);
        let mut block = memory.allocate(10).unwrap();
        for (offset, len) in [(0, 11), (10, 1), (11, 0), (usize::MAX, 2), (1, usize::from(u16::MAX))] {
            assert!(!block.write(offset, &vec![0; len]));
        }
        assert!(block.write(10, &[]));
        assert_eq!(contents(&block), [TRAP; 10]);
        let empty = memory.allocate(0).unwrap();
        assert_ne!(empty.address(), block.address());
        assert!(memory.allocate(usize::MAX).is_none());
        assert!(memory.allocate(memory.capacity() + 1).is_none());
    }

    #[test]
    fn full_memory_has_room_again_after_a_free() {
        let memory = memory(256 << 10);
        let mut blocks: Vec<_> = std::iter::from_fn(|| memory.allocate(1000)).collect();
        assert_eq!(blocks.len(), (256 << 10) / 1008);
        assert_eq!(memory.used(), blocks.len() * 1008);
        assert!(memory.allocate(1000).is_none());
        // Neighbours merge: two of them make room for one of twice the length, and nothing else does.
        blocks.sort_by_key(CodeBlock::offset);
        blocks.remove(10);
        blocks.remove(20);
        assert!(memory.allocate(2016).is_none());
        blocks.remove(10);
        let large = memory.allocate(2016).unwrap();
        drop((blocks, large));
        let whole = memory.allocate(memory.capacity()).unwrap();
        assert_eq!((whole.offset(), memory.used()), (0, memory.capacity()));
        assert!(memory.allocate(0).is_none());
    }

    #[test]
    fn a_million_rounds_agree_with_a_model() {
        let memory = memory(32 << 20);
        let mut random = Random(1);
        let mut live: Vec<(CodeBlock, [u8; 8])> = Vec::new();
        let (mut used, mut most) = (0, 0);
        for round in 0..1_000_000u64 {
            // Grows to 100,000 blocks, then stays near there.
            if live.is_empty() || (live.len() < 100_000 && random.below(8) > 2) {
                let mut block = memory.allocate(8 + random.below(300)).expect("far from full");
                let mark = round.to_le_bytes();
                assert!(block.write(block.len() - 8, &mark));
                used += block.len().next_multiple_of(UNIT);
                live.push((block, mark));
            } else {
                let (block, mark) = live.swap_remove(random.below(live.len()));
                assert_eq!(read(&memory, block.offset() + block.len() - 8, 8), mark);
                used -= block.len().next_multiple_of(UNIT);
            }
            most = most.max(live.len());
            assert_eq!(memory.used(), used);
        }
        assert_eq!(most, 100_000);
        live.sort_by_key(|(block, _)| block.offset());
        for pair in live.windows(2) {
            assert!(pair[0].0.offset() + pair[0].0.len() <= pair[1].0.offset());
        }
        for (block, mark) in live.drain(..) {
            assert_eq!(contents(&block)[block.len() - 8..], mark);
        }
        assert_eq!(memory.used(), 0);
        assert_eq!(memory.allocate(memory.capacity()).map(|block| block.offset()), Some(0));
    }

    #[test]
    fn memory_of_freed_blocks_is_given_back() {
        for purpose in PURPOSES {
            let memory = memory_for(purpose, 8 << 20);
            let mut block = memory.allocate(4 << 20).unwrap();
            assert_eq!(block.offset(), 0);
            assert!(block.write(0, &vec![0x90; 4 << 20]));
            drop(block);
            // A page without memory reads as zero.
            assert!(read(&memory, 0, 4 << 20).iter().all(|&byte| byte == 0));
            // The next block has its traps all the same.
            let block = memory.allocate(CHUNK + 1).unwrap();
            assert!(contents(&block).iter().all(|&byte| byte == TRAP));
        }
    }

    #[test]
    fn addresses_are_used_again_but_not_under_a_debugger() {
        for purpose in PURPOSES {
            let memory = memory_for(purpose, 64 << 10);
            let mut offsets = HashSet::new();
            let mut blocks = 0;
            while blocks < 10_000
                && let Some(block) = constant_block(&memory, 7)
            {
                assert_eq!(call(&block), 7);
                offsets.insert(block.offset());
                blocks += 1;
            }
            assert_eq!(memory.used(), 0);
            match purpose {
                Purpose::Debugging => {
                    assert_eq!((blocks, offsets.len()), ((64 << 10) / UNIT, blocks));
                    assert!(memory.allocate(1).is_none());
                }
                Purpose::Execution | Purpose::Profiling => assert_eq!((blocks, offsets.len()), (10_000, 1)),
            }
        }
    }

    #[test]
    fn threads_share_it() {
        let memory = memory(1 << 20);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    let mut random = Random(thread);
                    let mut live: Vec<(CodeBlock, u32)> = Vec::new();
                    for _ in 0..20_000 {
                        let value = random.below(1 << 30) as u32;
                        match constant_block(memory, value) {
                            Some(block) if live.len() < 1000 => live.push((block, value)),
                            _ => {
                                let (block, value) = live.swap_remove(random.below(live.len()));
                                assert_eq!(call(&block), value);
                            }
                        }
                    }
                    assert!(live.iter().all(|(block, value)| call(block) == *value));
                });
            }
        });
        assert_eq!(memory.used(), 0);
    }

    /// A mapping of this process.
    struct Mapped {
        start: usize,
        end: usize,
        protection: String,
        /// What the system says it is of.
        name: String,
    }

    fn mappings() -> Vec<Mapped> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        maps.lines()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let (start, end) = words[0].split_once('-').unwrap();
                let name = words[5..].join(" ");
                Mapped { start: number(start), end: number(end), protection: words[1].to_owned(), name }
            })
            .collect()
    }

    /// The view of `capacity` bytes at `start` has this protection, and an inaccessible page on each side.
    #[track_caller]
    fn check_view(start: usize, capacity: usize, protection: &str) -> Mapped {
        let mut mappings = mappings();
        let at = mappings.iter().position(|view| view.start == start).unwrap();
        assert_eq!((mappings[at].end, &*mappings[at].protection), (start + capacity, protection));
        // The system joins guards of neighbours, so only where they touch the view is certain.
        assert!(mappings[at - 1].end == start && mappings[at - 1].protection.starts_with("---"));
        let end = start + capacity;
        assert!(mappings[at + 1].start == end && mappings[at + 1].protection.starts_with("---"));
        mappings.swap_remove(at)
    }

    #[test]
    fn no_page_is_writable_and_executable() {
        for (purpose, name) in [
            (Purpose::Execution, "/memfd:upshift-code (deleted)"),
            (Purpose::Profiling, "/dev/zero (deleted)"),
        ] {
            let memory = memory_for(purpose, 1 << 20);
            let block = constant_block(&memory, 7).unwrap();
            assert_eq!(call(&block), 7);
            let executable = check_view(memory.base().addr(), memory.capacity(), "r-xs");
            let writable = check_view(memory.views.writable().addr(), memory.capacity(), "rw-s");
            assert_eq!([executable.name, writable.name], [name; 2]);
        }
    }

    #[test]
    fn a_debugger_may_write_to_what_runs() {
        let memory = memory_for(Purpose::Debugging, 1 << 20);
        let block = constant_block(&memory, 7).unwrap();
        assert_eq!(call(&block), 7);
        assert_eq!(check_view(memory.base().addr(), memory.capacity(), "rwxp").name, "");
    }

    #[test]
    fn everything_is_unmapped_with_the_last_block() {
        for purpose in PURPOSES {
            // A capacity that no other test has, because theirs may be mapped where this one was.
            let memory = memory_for(purpose, 17 * CHUNK);
            let base = memory.base().addr();
            let block = constant_block(&memory, 7).unwrap();
            drop(memory);
            assert_eq!(call(&block), 7);
            let is_there =
                || mappings().iter().any(|view| (view.start, view.end) == (base, base + 17 * CHUNK));
            assert!(is_there());
            drop(block);
            assert!(!is_there());
            if purpose == Purpose::Debugging {
                // Nothing else can come to where the debugger may have had a breakpoint.
                let all = mappings();
                let rest = all.iter().find(|view| view.start <= base && base < view.end).unwrap();
                assert!(rest.end >= base + 17 * CHUNK && rest.protection.starts_with("---"));
            }
        }
    }

    #[test]
    fn blocks_do_not_overlap() {
        let memory = memory(64 << 10);
        let blocks: Vec<_> = std::iter::from_fn(|| memory.allocate(16)).collect();
        let offsets: HashSet<_> = blocks.iter().map(CodeBlock::offset).collect();
        assert_eq!(offsets.len(), memory.capacity() / 16);
    }

    unsafe extern "C" {
        safe fn _exit(status: i32) -> !;
        fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    }

    #[test]
    fn a_forked_process_changes_nothing() {
        for purpose in PURPOSES {
            let memory = memory_for(purpose, 1 << 20);
            let mut block = constant_block(&memory, 7).unwrap();
            // SAFETY: the child calls nothing that allocates or takes a lock that another thread may hold, and exits.
            let child = unsafe { fork() };
            if child == 0 {
                let same = memory.allocate(16).is_none() && !block.write(0, &[0; 4]) && call(&block) == 7;
                drop(block);
                _exit(i32::from(!same));
            }
            assert!(child > 0);
            let mut status = -1;
            // SAFETY: waits for the child made above, into a local.
            assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
            assert_eq!(call(&block), 7);
            assert!(block.write(0, &constant(8)));
            block.publish();
            assert_eq!(call(&block), 8);
        }
    }

    /// Names the environment variable that makes `under_a_limit` do its work.
    const UNDER_A_LIMIT: &str = "UPSHIFT_TEST_CODE_MEMORY_LIMIT";

    /// Runs `under_a_limit` in a process of its own, after `ulimit` with these arguments.
    fn limited(limit: &str) -> Output {
        Command::new("sh")
            .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "code_memory::tests::mapped::under_a_limit", "--nocapture", "--test-threads=1"])
            .env(UNDER_A_LIMIT, "1")
            .output()
            .unwrap()
    }

    #[test]
    fn under_a_limit() {
        if std::env::var_os(UNDER_A_LIMIT).is_none() {
            return;
        }
        match CodeMemory::new(CodeMemory::DEFAULT_CAPACITY) {
            Ok(memory) => {
                let block = constant_block(&memory, 7).unwrap();
                assert_eq!(call(&block), 7);
                println!("\ncapacity {};", memory.capacity());
            }
            Err(error) => println!("\n{error};"),
        }
    }

    #[test]
    fn halves_until_it_fits_the_address_space() {
        let output = limited("-v 120000");
        let text = String::from_utf8_lossy(&output.stdout);
        let halves = [8, 16, 32].map(|mib: usize| format!("capacity {};", mib << 20));
        assert!(output.status.success() && halves.iter().any(|half| text.contains(half)), "{output:?}");
    }

    #[test]
    fn halves_until_it_fits_the_size_of_files() {
        // In units of 512 bytes or of 1 KiB, as the shell pleases.
        let output = limited("-f 40000");
        let text = String::from_utf8_lossy(&output.stdout);
        let halves = [16, 32].map(|mib: usize| format!("capacity {};", mib << 20));
        assert!(output.status.success() && halves.iter().any(|half| text.contains(half)), "{output:?}");
    }

    #[test]
    fn a_limit_that_leaves_nothing_is_a_reason() {
        let output = limited("-f 0");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(text.contains("no memory for machine code: the limit on the size of files"), "{output:?}");
    }
}
