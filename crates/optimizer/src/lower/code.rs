//! Cranelift itself: settings, compiling a body, and what is left to be linked.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir as clif;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::FunctionBuilderContext;

use super::tidy::{Called, Marks};
use super::{Body, CODE, Exit, JUMPS, Kind, OWN, STUBS, body};
use crate::build::Facts;
use crate::ir::{Function, Reason, Type};

/// The stubs of the code memory that optimized code calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Stub {
    /// Native code with its arguments in the frame.
    Call,
    /// Out, with a status.
    Leave,
    /// Out, at an exit.
    Exit,
    /// Refills the budget; keeps all registers and may leave.
    Poll,
    /// Runs an instruction's routine; keeps all registers and may leave.
    Run,
    /// A slow path that keeps all registers.
    Quiet,
    /// As `Exit`, with context and frame in memory.
    ExitAt,
    /// As `Poll`, with the arguments in memory.
    PollAt,
    /// As `Run`, with the arguments in memory.
    RunAt,
    /// As `Quiet`, with the arguments in memory.
    QuietAt,
}

impl Stub {
    /// All of them, by number.
    const ALL: [Stub; 10] = [
        Stub::Call,
        Stub::Leave,
        Stub::Exit,
        Stub::Poll,
        Stub::Run,
        Stub::Quiet,
        Stub::ExitAt,
        Stub::PollAt,
        Stub::RunAt,
        Stub::QuietAt,
    ];

    /// How many arguments it has in registers.
    pub(super) fn arguments(self) -> u8 {
        match self {
            Stub::Call | Stub::Exit => 3,
            Stub::Leave => 2,
            Stub::Poll | Stub::Run => 4,
            Stub::Quiet => 5,
            Stub::ExitAt => 1,
            Stub::PollAt | Stub::RunAt | Stub::QuietAt => 0,
        }
    }

    /// Whether it keeps all registers and writes to no slot.
    fn keeps(self) -> bool {
        matches!(self, Stub::Poll | Stub::Run | Stub::PollAt | Stub::RunAt)
    }

    /// Whether it finds its arguments, or some, at the start of the frame.
    fn finds_arguments(self) -> bool {
        matches!(self, Stub::ExitAt | Stub::PollAt | Stub::RunAt | Stub::QuietAt)
    }
}

const _: () = {
    let mut number = 0;
    while number < Stub::ALL.len() {
        assert!(Stub::ALL[number] as usize == number);
        number += 1;
    }
};

/// What a place in the code refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A distance of 32 bits to the body.
    Body,
    /// A distance of 32 bits to a stub.
    Stub(Stub),
    /// The address of a function's bytecode, 64 bits.
    Code(u32),
}

/// A place to fill in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reloc {
    /// Where it is in the text.
    pub at: u32,
    /// To what.
    pub target: Target,
    /// What is added.
    pub addend: i64,
}

/// Machine code before it is placed.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The bytes of the body: context, frame and arguments -> result, by Cranelift's convention `winch`: arguments as in C, no
    /// register kept. The budget is in r15 before and after it.
    pub text: Vec<u8>,
    /// Whether it is a function, whose body takes its arguments in registers, and not a loop.
    pub fast: bool,
    /// The arguments: where each stands in the frame, and its type.
    pub arguments: Vec<(u32, Type)>,
    /// The type of the result.
    pub result: Option<Type>,
    /// The number of the function whose frame it runs in, and the slot of that frame's header.
    pub function: u32,
    /// See `function`.
    pub header: u32,
    /// Places to fill in.
    pub relocs: Vec<Reloc>,
    /// Where it leaves.
    pub exits: Vec<Exit>,
    /// Instructions of Cranelift's form.
    pub clif: u32,
    /// What the counters count, where checks that hold are counted: reason, function, word.
    pub held: Vec<(Reason, u32, u32)>,
    /// Which instruction of the bytecode the body's code belongs to, from an offset on: function and word. In the order of offsets.
    pub map: Vec<(u32, u32, u32)>,
}

/// Who is shown Cranelift's form and the machine code, as text.
pub type Observer<'a> = Option<&'a mut dyn FnMut(&str, &str)>;

/// How hard Cranelift tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Effort {
    /// For code that runs.
    #[default]
    Full,
    /// For tests of what comes before it: several times as fast, and so much slower code.
    Quick,
}

/// Counters of 64 bits that code writes. They outlive the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    /// The address of the first.
    pub address: u64,
    /// How many there are. Checks beyond them are not counted.
    pub room: u32,
}

/// Cranelift with its memory.
#[allow(missing_debug_implementations, reason = "Cranelift's contexts have none")]
pub struct Compiler {
    isa: OwnedTargetIsa,
    context: cranelift_codegen::Context,
    builder: FunctionBuilderContext,
    counters: Option<Counters>,
    framed: bool,
}

impl Compiler {
    /// For this machine; `None` where Cranelift does not know it.
    pub fn new(effort: Effort) -> Option<Compiler> {
        let quick = effort == Effort::Quick;
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", if quick { "none" } else { "speed" }),
            ("regalloc_algorithm", if quick { "single_pass" } else { "backtracking" }),
            ("enable_pinned_reg", "true"),
            ("is_pic", "false"),
            ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
            ("machine_code_cfg_info", "true"),
            ("unwind_info", "false"),
            ("enable_probestack", "false"),
            ("enable_heap_access_spectre_mitigation", "false"),
            ("enable_table_access_spectre_mitigation", "false"),
        ] {
            flags.set(name, value).ok()?;
        }
        let builder = cranelift_native::builder().ok()?;
        let isa = builder.finish(settings::Flags::new(flags)).ok()?;
        Some(Compiler {
            isa,
            context: cranelift_codegen::Context::new(),
            builder: FunctionBuilderContext::new(),
            counters: None,
            framed: false,
        })
    }

    /// Whether what is compiled from now on counts how often its checks hold, and where. Without counters the code is as if there
    /// were none.
    pub fn count_held(&mut self, counters: Option<Counters>) {
        self.counters = counters;
    }

    /// Whether what is compiled from now on has native frames with a frame pointer, as profilers and debuggers walk them.
    pub fn keep_frames(&mut self, framed: bool) {
        self.framed = framed;
    }

    /// Compiles a function or loop. `number` is what exits call this code.
    ///
    /// # Errors
    /// What Cranelift says: a limit of its own, or an error of ours.
    pub fn compile(
        &mut self,
        facts: &dyn Facts,
        func: &Function,
        index: u32,
        number: u32,
        stress: bool,
        mut observe: Observer<'_>,
    ) -> Result<Machine, String> {
        let mut machine = Machine {
            text: Vec::new(),
            fast: func.osr.is_none(),
            arguments: Vec::new(),
            result: func.result,
            function: index,
            header: facts.function(index).map_or(0, |g| g.meta.layout.header()),
            relocs: Vec::new(),
            exits: Vec::new(),
            clif: 0,
            held: Vec::new(),
            map: Vec::new(),
        };
        if machine.fast {
            let params = &func.blocks[func.entry()].params;
            machine.arguments =
                func.params.iter().zip(params).map(|(&slot, &v)| (slot, func.ty(v))).collect();
        }
        self.context.clear();
        let (exits, positions, held) = self.body(facts, func, index, number, stress);
        machine.held = held;
        machine.exits = exits;
        machine.clif = self.context.func.dfg.num_insts() as u32;
        self.emit(&mut machine, &positions, &mut observe)?;
        Ok(machine)
    }

    /// Makes Cranelift's form of a function or loop, which [`Compiler::compile`] begins with: the ways out, and what source locations
    /// stand for.
    pub fn lower(
        &mut self,
        facts: &dyn Facts,
        func: &Function,
        index: u32,
        number: u32,
        stress: bool,
    ) -> (Vec<Exit>, Vec<(u32, u32)>) {
        self.context.clear();
        let (exits, positions, _) = self.body(facts, func, index, number, stress);
        (exits, positions)
    }

    fn body(&mut self, facts: &dyn Facts, func: &Function, index: u32, number: u32, stress: bool) -> Body {
        let config = self.isa.frontend_config();
        let (target, builder) = (&mut self.context.func, &mut self.builder);
        body(facts, func, index, number, stress, self.counters, target, builder, config)
    }

    fn emit(
        &mut self,
        machine: &mut Machine,
        positions: &[(u32, u32)],
        observe: &mut Observer<'_>,
    ) -> Result<(), String> {
        let before = match observe {
            Some(_) => {
                self.context.set_disasm(true);
                self.context.func.display().to_string()
            }
            None => String::new(),
        };
        self.context
            .compile(&*self.isa, &mut ControlPlane::default())
            .map_err(|e| format!("{:?}", e.inner))?;
        let compiled = self.context.compiled_code().ok_or("no code")?;
        let mut relocated: Vec<u32> = compiled.buffer.relocs().iter().map(|r| r.offset).collect();
        relocated.sort_unstable();
        // The direct calls, by stub where they call one, else the body itself.
        let called = |target: &_| match target {
            cranelift_codegen::FinalizedRelocTarget::ExternalName(clif::ExternalName::User(name)) => {
                let name = &self.context.func.params.user_named_funcs()[*name];
                let stub = (name.namespace == STUBS).then(|| Stub::ALL[name.index as usize]);
                (stub.is_some() || name.namespace == OWN).then_some(stub)
            }
            _ => None,
        };
        let relocs = compiled.buffer.relocs();
        let called = relocs.iter().filter_map(|r| Some((r.offset, called(&r.target)?)));
        let in_memory = called.clone().any(|(_, stub)| stub.is_some_and(Stub::finds_arguments));
        let own = u8::try_from(machine.arguments.len() + 2).unwrap_or(u8::MAX);
        let mut calls: Vec<Called> = called
            .map(|(at, stub)| Called {
                at,
                arguments: stub.map_or(own, Stub::arguments),
                keeps: stub.is_some_and(Stub::keeps),
            })
            .collect();
        calls.sort_unstable_by_key(|call| call.at);
        let first = clif::StackSlot::from_u32(0);
        let start = compiled.buffer.frame_layout().map(|layout| layout.stackslots[first].offset);
        if in_memory && start != Some(0) {
            debug_assert!(false, "the first stack slot stands at {start:?}");
            return Err("the native frame does not begin with the first stack slot".into());
        }
        let mut jumps: Vec<u32> =
            compiled.buffer.traps().iter().filter(|t| t.code == JUMPS).map(|t| t.offset).collect();
        jumps.sort_unstable();
        let marks = Marks { relocated: &relocated, calls: &calls, jumps: &jumps, frameless: !self.framed };
        let mut tidied = super::tidy::run(compiled.code_buffer(), &compiled.bb_starts, &marks);
        if tidied.as_ref().map_or(0, |t| t.jumps) != jumps.len() {
            return Err("a tail call that is no jump".into());
        }
        machine.text = match &mut tidied {
            Some(tidied) => std::mem::take(&mut tidied.text),
            None => compiled.code_buffer().to_vec(),
        };
        let place = |at: u32| tidied.as_ref().map_or(at, |t| t.place(at));
        for source in compiled.buffer.get_srclocs_sorted() {
            let position = (source.loc.bits() as usize).checked_sub(1).and_then(|i| positions.get(i));
            if let Some(&(function, word)) = position
                && machine.map.last().is_none_or(|l| (l.1, l.2) != (function, word))
            {
                machine.map.push((place(source.start), function, word));
            }
        }
        let relocs: Vec<_> = compiled.buffer.relocs().to_vec();
        let text = compiled.vcode.clone().unwrap_or_default();
        let func = &self.context.func;
        for reloc in relocs {
            let cranelift_codegen::FinalizedRelocTarget::ExternalName(clif::ExternalName::User(name)) =
                reloc.target
            else {
                return Err(format!("a reference to {:?}", reloc.target));
            };
            let name = &func.params.user_named_funcs()[name];
            let target = match (name.namespace, reloc.kind) {
                (OWN, Kind::X86CallPCRel4 | Kind::X86PCRel4) => Target::Body,
                (STUBS, Kind::X86CallPCRel4 | Kind::X86PCRel4) => {
                    Target::Stub(Stub::ALL[name.index as usize])
                }
                (CODE, Kind::Abs8) => Target::Code(name.index),
                (_, kind) => return Err(format!("a relocation of kind {kind:?}")),
            };
            machine.relocs.push(Reloc { at: place(reloc.offset), target, addend: reloc.addend });
        }
        if let Some(observe) = observe {
            observe(&before, &text);
        }
        Ok(())
    }
}
