//! The SSA form: entities, instructions, blocks with parameters, frame states.
//!
//! A [`Function`] is what one compilation works on: a guest function with everything inlined into it, or one loop of it. Blocks have
//! parameters, as in Cranelift; the last instruction of a block is its terminator. Values are ints, floats, cells and derived
//! pointers. A cell stays one value across collections: that its object may have moved is the lowering's business, which
//! keeps it in the frame around collecting instructions. For that the frame state of each collecting instruction must name
//! every cell that is used after it; a pointer ([`Type::Ptr`]) is never used across one.
//!
//! Instructions that may leave the machine code carry a [`State`]: what the interpreter's frames hold at a bytecode position, so
//! that it can go on there. The position is *before* the instruction that the state names, which is done again.

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, entity_impl};
use smallvec::SmallVec;
use upshift_runtime::object::ObjectKind;

pub use crate::ops::{Op, OpInfo, Operand, Result as ResultKind};

/// An SSA value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inst(u32);
entity_impl!(Inst, "inst");

/// A basic block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block(u32);
entity_impl!(Block, "block");

/// A frame state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State(u32);
entity_impl!(State, "state");

/// What a call or routine needs beyond its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(u32);
entity_impl!(Site, "site");

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// A raw 64-bit int; truth is 0 or 1.
    Int,
    /// A raw double.
    Float,
    /// A NaN-boxed value, seen by the collector.
    Cell,
    /// An address derived from an object, valid until the next collection.
    Ptr,
}

impl Type {
    /// As the text format writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Int => "int",
            Type::Float => "float",
            Type::Cell => "cell",
            Type::Ptr => "ptr",
        }
    }

    /// The width of a word of this type in memory.
    pub const fn width(self) -> Width {
        match self {
            Type::Int => Width::Int,
            Type::Float => Width::Float,
            Type::Cell => Width::Cell,
            Type::Ptr => Width::Ptr,
        }
    }
}

/// Which memory an access touches. Accesses of different classes never meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Parts of objects that never change: kind, shape, function, captures, lengths of tuples.
    Fixed,
    /// The flags in the header of a list, tuple or record.
    Bits,
    /// Lengths of lists.
    Len,
    /// Which buffer a list has.
    Buffer,
    /// Room in buffers.
    Capacity,
    /// Elements of lists of ints.
    Ints,
    /// Elements of lists of floats.
    Floats,
    /// Elements of lists of booleans.
    Bools,
    /// Elements of lists of cells.
    Cells,
    /// A field of records, by its slot in the shape; the slot is the access's offset.
    Field,
    /// What boxes of captured variables hold.
    Ref,
    /// Cells of tuples.
    Tuple,
    /// Globals: the offset says which.
    Global,
    /// The instance's context: tables, which change only when modules are loaded.
    Context,
    /// Watches.
    Watch,
    /// Tables of maps.
    Map,
    /// Entries of maps.
    Entry,
    /// What sites saw.
    Feedback,
}

impl Class {
    /// All classes.
    pub const ALL: &'static [Class] = &[
        Class::Fixed,
        Class::Bits,
        Class::Len,
        Class::Buffer,
        Class::Capacity,
        Class::Ints,
        Class::Floats,
        Class::Bools,
        Class::Cells,
        Class::Field,
        Class::Ref,
        Class::Tuple,
        Class::Global,
        Class::Context,
        Class::Watch,
        Class::Map,
        Class::Entry,
        Class::Feedback,
    ];

    /// As the text format writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Fixed => "fixed",
            Class::Bits => "bits",
            Class::Len => "len",
            Class::Buffer => "buffer",
            Class::Capacity => "capacity",
            Class::Ints => "ints",
            Class::Floats => "floats",
            Class::Bools => "bools",
            Class::Cells => "cells",
            Class::Field => "field",
            Class::Ref => "ref",
            Class::Tuple => "tuple",
            Class::Global => "global",
            Class::Context => "context",
            Class::Watch => "watch",
            Class::Map => "map",
            Class::Entry => "entry",
            Class::Feedback => "feedback",
        }
    }
}

/// The bytes that a watch has in the table of watches.
pub const WATCH_BYTES: usize = Width::U32.bytes() as usize;

/// How wide an access is and what it gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// A byte, zero-extended to an int.
    U8,
    /// Two bytes, likewise.
    U16,
    /// Four bytes, likewise.
    U32,
    /// An int.
    Int,
    /// A float.
    Float,
    /// A cell.
    Cell,
    /// An address.
    Ptr,
}

impl Width {
    /// All widths.
    pub const ALL: &'static [Width] =
        &[Width::U8, Width::U16, Width::U32, Width::Int, Width::Float, Width::Cell, Width::Ptr];

    /// The type of the value.
    pub const fn ty(self) -> Type {
        match self {
            Width::U8 | Width::U16 | Width::U32 | Width::Int => Type::Int,
            Width::Float => Type::Float,
            Width::Cell => Type::Cell,
            Width::Ptr => Type::Ptr,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Width::U8 => 1,
            Width::U16 => 2,
            Width::U32 => 4,
            Width::Int | Width::Float | Width::Cell | Width::Ptr => 8,
        }
    }

    /// As the text format writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Width::U8 => "u8",
            Width::U16 => "u16",
            Width::U32 => "u32",
            Width::Int => "int",
            Width::Float => "float",
            Width::Cell => "cell",
            Width::Ptr => "ptr",
        }
    }
}

/// A memory access: class and width.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Access {
    /// Which memory.
    pub class: Class,
    /// How much of it.
    pub width: Width,
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident $text:literal $negated:ident $swapped:ident;)*) => {
        /// A comparison of ints or floats. Floats use the first four and their negations, which hold for NaN.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Cond { $($(#[$doc])* $name,)* }
        impl Cond {
            /// All of them.
            pub const ALL: &'static [Cond] = &[$(Cond::$name),*];
            /// As the text format writes it.
            pub const fn name(self) -> &'static str { match self { $(Cond::$name => $text,)* } }
            /// What holds where this does not.
            #[must_use]
            pub const fn negated(self) -> Cond { match self { $(Cond::$name => Cond::$negated,)* } }
            /// What holds with the operands exchanged.
            #[must_use]
            pub const fn swapped(self) -> Cond { match self { $(Cond::$name => Cond::$swapped,)* } }
        }
    };
}

conditions! {
    /// a = b.
    Eq "eq" Ne Eq;
    /// not a = b.
    Ne "ne" Eq Ne;
    /// a < b.
    Lt "lt" Ge Gt;
    /// a <= b.
    Le "le" Gt Ge;
    /// Ints: a > b. Floats: not a <= b.
    Gt "gt" Le Lt;
    /// Ints: a >= b. Floats: not a < b.
    Ge "ge" Lt Le;
    /// Ints without sign: a < b.
    Ult "ult" Uge Ugt;
    /// Ints without sign: a <= b.
    Ule "ule" Ugt Uge;
    /// Ints without sign: a > b.
    Ugt "ugt" Ule Ult;
    /// Ints without sign: a >= b.
    Uge "uge" Ult Ule;
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $text:literal $trap:literal;)*) => {
        /// Why machine code leaves for the interpreter.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }
        impl Reason {
            /// All of them.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];
            /// As the text format and events write it.
            pub const fn name(self) -> &'static str { match self { $(Reason::$name => $text,)* } }
            /// Whether the interpreter raises a trap there, so that the exit is no failed assumption.
            pub const fn is_trap(self) -> bool { match self { $(Reason::$name => $trap,)* } }
        }
    };
}

reasons! {
    /// A position is outside its list, string or tuple.
    Bounds "bounds" true;
    /// An int result does not fit 64 bits where the op traps.
    Overflow "overflow" true;
    /// A divisor is zero, or a quotient does not fit.
    Division "division" true;
    /// A cell is not of the kind that the op needs.
    Mismatch "mismatch" true;
    /// A global was never set.
    Uninitialized "uninitialized" true;
    /// The instruction traps or throws whenever it runs.
    Always "always" true;
    /// The guest stack is nearly full.
    Stack "stack" true;
    /// The native stack is nearly full.
    Native "native" true;
    /// The kinds of operands differ from what was seen.
    Kind "kind" false;
    /// A dynamic int result leaves the small ints.
    Wide "wide" false;
    /// The callee differs from the one that was seen.
    Callee "callee" false;
    /// The shape of a record differs from the one that was seen.
    Shape "shape" false;
    /// A divisor differs from the one that the frame had.
    Divisor "divisor" false;
    /// An op that was never reached so far.
    Unseen "unseen" false;
    /// A part of the function that is not compiled: the code after a loop that was compiled alone, a handler.
    Region "region" true;
    /// A number of results differs from what was seen.
    Results "results" false;
    /// A position is below zero, so that it counts from the end, or outside.
    Negative "negative" false;
    /// A watch was bumped that the code was made for as not bumped.
    Watch "watch" false;
}

/// A list of values.
pub type Args = SmallVec<[Value; 3]>;

/// Where a branch leads, with the values of the block's parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The block.
    pub block: Block,
    /// One value for each parameter.
    pub args: SmallVec<[Value; 4]>,
}

impl Target {
    /// A target without arguments.
    pub fn new(block: Block) -> Target {
        Target { block, args: SmallVec::new() }
    }
}

/// An instruction.
#[derive(Clone, PartialEq, Debug)]
pub struct InstData {
    /// What it does.
    pub op: Op,
    /// Operands.
    pub args: Args,
    /// The immediate, whose meaning is the op's: a constant's bits, a condition, a reason, an offset, a number.
    pub imm: i64,
    /// For loads and stores.
    pub access: Option<Access>,
    /// For instructions that may leave.
    pub state: PackedOption<State>,
    /// For calls, routines and allocations.
    pub site: PackedOption<Site>,
    /// For terminators: jump one; branch: where the condition holds, where not; switch: one for each case, then the default.
    pub targets: SmallVec<[Target; 2]>,
    /// What it defines.
    pub result: PackedOption<Value>,
}

impl InstData {
    /// An instruction without immediate, state, site and targets.
    pub fn new(op: Op, args: &[Value]) -> InstData {
        InstData {
            op,
            args: Args::from_slice(args),
            imm: 0,
            access: None,
            state: None.into(),
            site: None.into(),
            targets: SmallVec::new(),
            result: None.into(),
        }
    }

    /// Whether it loads a byte of a string that has ASCII only, which is a scalar below 128.
    pub fn is_character(&self) -> bool {
        let byte = Access { class: Class::Fixed, width: Width::U8 };
        self.op == Op::LoadAt && self.access == Some(byte)
    }

    /// With an immediate.
    #[must_use]
    pub fn imm(mut self, imm: i64) -> InstData {
        self.imm = imm;
        self
    }

    /// With a frame state.
    #[must_use]
    pub fn state(mut self, state: State) -> InstData {
        self.state = state.into();
        self
    }

    /// With a site.
    #[must_use]
    pub fn site(mut self, site: Site) -> InstData {
        self.site = site.into();
        self
    }

    /// With class and width of an access.
    #[must_use]
    pub fn access(mut self, class: Class, width: Width) -> InstData {
        self.access = Some(Access { class, width });
        self
    }

    /// With targets.
    #[must_use]
    pub fn targets(mut self, targets: impl IntoIterator<Item = Target>) -> InstData {
        self.targets = targets.into_iter().collect();
        self
    }

    /// The condition of a comparison.
    pub fn cond(&self) -> Cond {
        Cond::ALL[self.imm as usize]
    }

    /// The reason of a guard or exit.
    pub fn reason(&self) -> Reason {
        Reason::ALL[self.imm as usize]
    }
}

/// How many operands of a list's allocation stand before its elements: its length and its flags.
pub const LIST_WORDS: usize = 2;

/// The accesses of elements of lists with this first word, where it is that of a list whose elements take a word each. Such a list is
/// allocated together with its buffer, which has room for the elements among the operands.
pub fn elements_of(header: i64) -> Option<Access> {
    let (class, width) = match ObjectKind::ALL.get(header as u64 as usize & 0xFF)? {
        ObjectKind::ListInt => (Class::Ints, Width::Int),
        ObjectKind::ListFloat => (Class::Floats, Width::Float),
        ObjectKind::ListCell => (Class::Cells, Width::Cell),
        _ => return None,
    };
    Some(Access { class, width })
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Def {
    /// A parameter of a block, by its position.
    Param(Block, u32),
    /// The result of an instruction.
    Inst(Inst),
}

/// A value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Where it comes from.
    pub def: Def,
}

/// A block.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BlockData {
    /// The parameters.
    pub params: Vec<Value>,
    /// The instructions; the last is the terminator.
    pub insts: Vec<Inst>,
    /// Whether it runs seldom.
    pub cold: bool,
    /// What its instructions stand for that name no frame state: function and word. Known of headers of loops, and of what passes put
    /// before these.
    pub position: Option<(u32, u32)>,
}

/// One interpreter frame at a position, with the frames that it was called from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateData {
    /// The frame of the caller, at its call, where this frame is of an inlined function.
    pub parent: PackedOption<State>,
    /// The function's engine-wide number.
    pub function: u32,
    /// The word of the instruction, counted from the function's first.
    pub word: u32,
    /// The instruction that what may leave here is for, where it was moved away from there: function and word. What failed is
    /// remembered by it.
    pub origin: Option<(u32, u32)>,
    /// Where the frame begins, in slots from the root frame's start.
    pub base: u32,
    /// Where it ends and its window begins, likewise.
    pub end: u32,
    /// What is live: slots of the frame (and of its window where the instruction reads it), counted from the root frame's start,
    /// with their values. Everything else is dead: cells get `hole`, raw slots anything.
    pub slots: Vec<(u32, Value)>,
}

/// How a routine goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoutineKind {
    /// With the next instruction.
    Plain,
    /// It answers whether a branch is taken: the result is 0 or 1.
    Branch,
    /// It may push a frame that runs first.
    Call,
    /// It says in the context where to continue: the result is the word.
    Switch,
    /// A call whose callee takes the root's frame over, header and all. Only a return of its result follows.
    Tail,
    /// Likewise, and the callee returns to where the root would have: a jump, since it may hand the frame on in turn. Where it has no
    /// optimized code the root leaves at the state, before the charge in front.
    Jump,
}

/// A call, a routine or an allocation with its slow path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteData {
    /// The number of the routine in the engine's table; `u32::MAX` for calls.
    pub routine: u32,
    /// How the routine goes on.
    pub kind: RoutineKind,
    /// The slot of the frame (the state's) that the result stands in after a routine; `u32::MAX` where there is none.
    pub slot: u32,
    /// Routines: the slots of the frame that it takes operands from, those of the window aside; `None` where that is not known.
    pub uses: Option<Box<[u32]>>,
    /// What the result is.
    pub result: Option<Type>,
    /// The callee of a static call; 0 where it comes from a closure.
    pub callee: u32,
    /// Calls: the window slots of the arguments, in the order of the instruction's operands behind a closure.
    pub params: Box<[u32]>,
    /// Calls: the slot of the callee's header in its frame.
    pub header: u32,
    /// What memory it changes, reads, and whether it may collect.
    pub effects: SiteEffects,
}

impl SiteData {
    /// A plain routine's, which takes nothing known, gives nothing and does nothing that can be seen.
    pub fn plain(routine: u32) -> SiteData {
        SiteData {
            routine,
            kind: RoutineKind::Plain,
            slot: u32::MAX,
            uses: None,
            result: None,
            callee: 0,
            params: Box::default(),
            header: 0,
            effects: SiteEffects::default(),
        }
    }
}

/// What a routine may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SiteEffects {
    /// Changes memory.
    pub writes: bool,
    /// Depends on memory.
    pub reads: bool,
    /// May run the collector.
    pub collects: bool,
    /// Runs guest or host code.
    pub calls: bool,
    /// What it changes is the object of its first operand, and that object's buffer; what it gives is this object or a new one.
    pub own: bool,
    /// That object is a list, which gets one more element at its end.
    pub grows: bool,
    /// What it gives is a new object.
    pub new: bool,
}

/// What the builder made of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inlining {
    /// The callee is built in place.
    Done,
    /// It has too many instructions.
    TooLarge,
    /// Together with what was inlined before there would be too many.
    Budget,
    /// It is inside too many others.
    Depth,
    /// It is inlined into itself as often as it may be, or has loops.
    Recursive,
    /// A loop of it is entered past its header.
    Irregular,
    /// Which function is called is not known: nothing was seen, or an assumption failed.
    Unknown,
    /// Several functions were seen.
    Several,
    /// Several functions were seen, and this is what is left of the call where those that it calls most are built in.
    Rest,
    /// What was seen is no guest function that takes these arguments as they are.
    Foreign,
}

/// A call of a guest function, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallSite {
    /// The function that the call is in.
    pub function: u32,
    /// The word of the call.
    pub word: u32,
    /// The function that is called, where it is known.
    pub callee: Option<u32>,
    /// What was made of it.
    pub inlining: Inlining,
}

/// What was made of an instruction or a loop that cannot be counted in the code, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// The function that it is in.
    pub function: u32,
    /// The word of the instruction, or one of the loop's.
    pub word: u32,
    /// What was made of it.
    pub made: Made,
}

/// What a note says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// A helper does the instruction with values in registers, and the routine what the helper leaves.
    Quick,
    /// Turns of the loop are skipped.
    Skipped,
}

/// What is compiled.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Function {
    /// The name, for looking at.
    pub name: String,
    /// All values.
    pub values: PrimaryMap<Value, ValueData>,
    /// All instructions, those in no block included.
    pub insts: PrimaryMap<Inst, InstData>,
    /// All blocks, unreachable ones included; the layout says which are in use.
    pub blocks: PrimaryMap<Block, BlockData>,
    /// Blocks in use, in an order in which definitions precede uses; the first is the entry, whose parameters are the function's.
    pub layout: Vec<Block>,
    /// Frame states.
    pub states: PrimaryMap<State, StateData>,
    /// Sites.
    pub sites: PrimaryMap<Site, SiteData>,
    /// Cases of switches, by the terminator's immediate.
    pub cases: Vec<Box<[i64]>>,
    /// What `return` gives.
    pub result: Option<Type>,
    /// The frame slots of the entry's parameters: those of a function come in registers, those of a loop are read from the
    /// frame.
    pub params: Vec<u32>,
    /// Where a loop that is compiled alone is entered: the word behind its header.
    pub osr: Option<u32>,
    /// Watches that are not bumped whenever the function is entered, in order of their numbers: who enters it sees to that.
    pub watches: Vec<u32>,
    /// The calls that the builder met, in the order of the code.
    pub calls: Vec<CallSite>,
    /// What the builder and passes made that does not show in the code.
    pub notes: Vec<Note>,
}

impl Function {
    /// The entry.
    pub fn entry(&self) -> Block {
        self.layout[0]
    }

    /// Appends a block to the layout.
    pub fn add_block(&mut self) -> Block {
        let block = self.blocks.push(BlockData::default());
        self.layout.push(block);
        block
    }

    /// Appends a parameter to a block.
    pub fn add_param(&mut self, block: Block, ty: Type) -> Value {
        let position = self.blocks[block].params.len() as u32;
        let value = self.values.push(ValueData { ty, def: Def::Param(block, position) });
        self.blocks[block].params.push(value);
        value
    }

    /// Makes an instruction that is in no block yet, with its result if it has one.
    pub fn make(&mut self, mut data: InstData) -> (Inst, Option<Value>) {
        let ty = self.result_type(&data);
        let inst = self.insts.next_key();
        let result = ty.map(|ty| self.values.push(ValueData { ty, def: Def::Inst(inst) }));
        data.result = result.into();
        self.insts.push(data);
        (inst, result)
    }

    /// Appends an instruction to a block.
    pub fn append(&mut self, block: Block, data: InstData) -> Option<Value> {
        let (inst, result) = self.make(data);
        self.blocks[block].insts.push(inst);
        result
    }

    /// The type of what an instruction defines.
    pub fn result_type(&self, data: &InstData) -> Option<Type> {
        match data.op.info().result {
            ResultKind::None => None,
            ResultKind::Int => Some(Type::Int),
            ResultKind::Float => Some(Type::Float),
            ResultKind::Cell => Some(Type::Cell),
            ResultKind::Ptr => Some(Type::Ptr),
            ResultKind::Access => data.access.map(|a| a.width.ty()),
            ResultKind::Site => data.site.expand().and_then(|s| self.sites[s].result),
        }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.values[value].ty
    }

    /// The instruction that defines a value.
    pub fn def(&self, value: Value) -> Option<&InstData> {
        match self.values[value].def {
            Def::Inst(inst) => Some(&self.insts[inst]),
            Def::Param(..) => None,
        }
    }

    /// The int constant that a value is.
    pub fn int_const(&self, value: Value) -> Option<i64> {
        self.def(value).filter(|d| d.op == Op::Iconst).map(|d| d.imm)
    }

    /// The terminator of a block.
    pub fn terminator(&self, block: Block) -> Option<Inst> {
        self.blocks[block].insts.last().copied().filter(|&i| self.insts[i].op.info().terminator)
    }

    /// The blocks that a block leads to, in the order of the targets.
    pub fn successors(&self, block: Block) -> impl Iterator<Item = Block> + '_ {
        self.terminator(block).into_iter().flat_map(|i| self.insts[i].targets.iter().map(|t| t.block))
    }

    /// Calls `f` for every value that a state and those around it name, and for what is in the virtual objects among them.
    pub fn each_state_value(&self, state: State, mut f: impl FnMut(Value)) {
        self.each_state(state, |data| data.slots.iter().for_each(|&(_, v)| self.with_parts(v, &mut f)));
    }

    /// Calls `f` for a state and those around it.
    pub fn each_state(&self, state: State, mut f: impl FnMut(&StateData)) {
        let mut next = Some(state);
        while let Some(state) = next {
            let data = &self.states[state];
            f(data);
            next = data.parent.expand();
        }
    }

    /// The words of the virtual object that a value is.
    pub fn virtual_words(&self, value: Value) -> Option<&InstData> {
        self.def(value).filter(|d| d.op == Op::Virtual)
    }

    /// Calls `f` for a value and, where it is a virtual object, for all that is in it.
    fn with_parts(&self, value: Value, f: &mut impl FnMut(Value)) {
        f(value);
        if let Some(data) = self.virtual_words(value) {
            data.args.iter().for_each(|&v| self.with_parts(v, f));
        }
    }

    /// The object that a routine changes, where it changes nothing else: what the first slot that it takes holds.
    pub fn changed_object(&self, data: &InstData) -> Option<Value> {
        let site = data.site.expand().filter(|_| data.op == Op::Routine)?;
        let site = &self.sites[site];
        let slot = *site.uses.as_ref().filter(|_| site.effects.own)?.first()?;
        let state = &self.states[data.state.expand()?];
        state.slots.iter().find(|s| s.0 == slot).map(|s| s.1)
    }

    /// Calls `f` for every value that frames hold while an instruction collects, and after it: those that its state and the states
    /// around name, but for what only the place of its result holds, and for what only the window holds that a callee's frame takes.
    /// What is in virtual objects counts, since these are made in the frames.
    pub fn each_kept_value(&self, inst: Inst, mut f: impl FnMut(Value)) {
        let data = &self.insts[inst];
        let site = data.site.expand().map(|s| &self.sites[s]);
        let calls = site.is_some_and(|s| s.kind == RoutineKind::Call);
        let result = site.map_or(u32::MAX, |s| s.slot);
        let mut next = data.state.expand();
        while let Some(state) = next {
            let of = &self.states[state];
            let end = if calls { of.end } else { u32::MAX };
            let kept = of.slots.iter().filter(|s| s.0 < end && s.0 != result);
            kept.for_each(|&(_, v)| self.with_parts(v, &mut f));
            next = of.parent.expand();
        }
    }

    /// Replaces values everywhere: operands, branch arguments and frame states. `map` gives the final replacement.
    pub fn replace(&mut self, map: impl Fn(Value) -> Value) {
        for block in self.layout.clone() {
            for i in 0..self.blocks[block].insts.len() {
                let data = &mut self.insts[self.blocks[block].insts[i]];
                data.args.iter_mut().for_each(|v| *v = map(*v));
                data.targets.iter_mut().flat_map(|t| t.args.iter_mut()).for_each(|v| *v = map(*v));
            }
        }
        for state in self.states.values_mut() {
            state.slots.iter_mut().for_each(|(_, v)| *v = map(*v));
        }
    }
}
