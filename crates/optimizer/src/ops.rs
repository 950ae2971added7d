//! The ops of the SSA form: one row each.
//!
//! A row is `Variant "mnemonic" [operands] -> result {flags} "meaning";`. Operands are types, `any` where all of one type may stand
//! there, with `..` at the end for any number of them. Scalar ops mean what the pure function of the same bytecode op in
//! `upshift_runtime::scalar` computes.

use crate::ir::Type;

/// The type of an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// Of this type.
    Of(Type),
    /// A cell or an address: what memory is reached from.
    Base,
    /// Of any type.
    Any,
    /// Any number of any type; the last.
    Rest,
}

/// What an op defines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Result {
    /// Nothing.
    None,
    /// An int.
    Int,
    /// A float.
    Float,
    /// A cell.
    Cell,
    /// An address.
    Ptr,
    /// What the access's width says.
    Access,
    /// What the site says.
    Site,
}

/// What a row says.
#[derive(Debug)]
pub struct OpInfo {
    /// The name in the text format.
    pub mnemonic: &'static str,
    /// The operands.
    pub operands: &'static [Operand],
    /// What it defines.
    pub result: Result,
    /// Computes its result from its operands and nothing else, and may be done anywhere: moved, merged, dropped.
    pub pure: bool,
    /// Likewise, but only where a check before it holds: merged and dropped, moved up only where it is done anyway.
    pub fixed: bool,
    /// May leave to the interpreter: has a frame state. Dropped only where it is known not to leave.
    pub leaves: bool,
    /// Reads memory of its access's class.
    pub loads: bool,
    /// Writes memory of its access's class.
    pub stores: bool,
    /// Has a site, whose effects it has.
    pub site: bool,
    /// Ends its block.
    pub terminator: bool,
    /// Charges the budget.
    pub charges: bool,
    /// Calls guest code, which takes its arguments in registers and keeps none.
    pub calls: bool,
    /// Calls a helper, which keeps the registers that C keeps.
    pub helper: bool,
    /// Gives cells that are no objects, which the collector neither finds nor moves.
    pub plain: bool,
    /// One quick instruction, or none: done in any case rather than behind a branch.
    pub cheap: bool,
    /// Asks what is known to be a string: safe wherever that is so.
    pub string: bool,
    /// Gives a new object and does nothing else that can be seen: dropped where the object is not used, never merged.
    pub makes: bool,
    /// The meaning.
    pub doc: &'static str,
}

macro_rules! operand {
    (int) => {
        Operand::Of(Type::Int)
    };
    (float) => {
        Operand::Of(Type::Float)
    };
    (cell) => {
        Operand::Of(Type::Cell)
    };
    (ptr) => {
        Operand::Of(Type::Ptr)
    };
    (base) => {
        Operand::Base
    };
    (any) => {
        Operand::Any
    };
    (rest) => {
        Operand::Rest
    };
}

macro_rules! result {
    (none) => {
        Result::None
    };
    (int) => {
        Result::Int
    };
    (float) => {
        Result::Float
    };
    (cell) => {
        Result::Cell
    };
    (ptr) => {
        Result::Ptr
    };
    (access) => {
        Result::Access
    };
    (site) => {
        Result::Site
    };
}

macro_rules! ops {
    ($($variant:ident $mnemonic:literal [$($operand:tt),*] -> $result:tt {$($flag:ident)*} $doc:literal;)*) => {
        /// An operation of the SSA form.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Op { $(#[doc = $doc] $variant,)* }

        impl Op {
            /// All ops.
            pub const ALL: &'static [Op] = &[$(Op::$variant),*];

            /// The row.
            pub fn info(self) -> &'static OpInfo {
                static INFOS: &[OpInfo] = &[$(OpInfo {
                    $($flag: true,)*
                    ..OpInfo {
                        mnemonic: $mnemonic,
                        operands: &[$(operand!($operand)),*],
                        result: result!($result),
                        pure: false,
                        fixed: false,
                        leaves: false,
                        loads: false,
                        stores: false,
                        site: false,
                        terminator: false,
                        charges: false,
                        calls: false,
                        helper: false,
                        makes: false,
                        plain: false,
                        cheap: false,
                        string: false,
                        doc: $doc,
                    }
                }),*];
                &INFOS[self as usize]
            }
        }
    };
}

ops! {
    // Constants: the immediate holds the bits.
    Iconst "iconst" [] -> int {pure cheap} "the immediate";
    Fconst "fconst" [] -> float {pure} "the float with the immediate's bits";
    Cconst "cconst" [] -> cell {pure plain} "the cell with the immediate's bits, never an address";

    // Ints.
    Iadd "iadd" [int, int] -> int {pure cheap} "a + b modulo 2^64";
    Isub "isub" [int, int] -> int {pure cheap} "a - b modulo 2^64";
    Imul "imul" [int, int] -> int {pure} "a * b modulo 2^64";
    Imulh "imulh" [int, int] -> int {pure} "the upper 64 bits of the signed product a * b";
    Idiv "idiv" [int, int] -> int {fixed} "a / b towards zero; b is not 0, and not -1 where a is the minimum; the immediate is 1 where a is not negative";
    Irem "irem" [int, int] -> int {fixed} "a - b * (a / b); b is not 0; minimum % -1 = 0; the immediate is 1 where a is not negative";
    Iand "iand" [int, int] -> int {pure cheap} "a & b";
    Ior "ior" [int, int] -> int {pure cheap} "a | b";
    Ixor "ixor" [int, int] -> int {pure cheap} "a ^ b";
    Ishl "ishl" [int, int] -> int {pure cheap} "a << (b & 63)";
    IshrS "ishr_s" [int, int] -> int {pure cheap} "a >> (b & 63), sign-filling";
    IshrU "ishr_u" [int, int] -> int {pure cheap} "a >> (b & 63), zero-filling";
    Imin "imin" [int, int] -> int {pure cheap} "the smaller of a and b";
    Imax "imax" [int, int] -> int {pure cheap} "the larger of a and b";
    Iextend32 "iextend32" [int] -> int {pure} "the low 32 bits of a, sign-extended";
    Icmp "icmp" [int, int] -> int {pure} "1 if the condition holds, else 0";
    IaddExit "iadd_exit" [int, int] -> int {leaves} "a + b; leaves where that is no i64; the immediate is the reason";
    IsubExit "isub_exit" [int, int] -> int {leaves} "a - b; leaves where that is no i64; the immediate is the reason";
    ImulExit "imul_exit" [int, int] -> int {leaves} "a * b; leaves where that is no i64; the immediate is the reason";
    IaddOverflows "iadd_overflows" [int, int] -> int {pure} "1 if a + b is no i64, else 0";
    IsubOverflows "isub_overflows" [int, int] -> int {pure} "1 if a - b is no i64, else 0";
    ImulOverflows "imul_overflows" [int, int] -> int {pure} "1 if a * b is no i64, else 0";
    SelectInt "select_int" [int, int, int] -> int {pure} "b where a != 0, else c";
    SelectFloat "select_float" [int, float, float] -> float {pure} "b where a != 0, else c";
    SelectCell "select_cell" [int, cell, cell] -> cell {pure} "b where a != 0, else c";

    // Floats.
    Fadd "fadd" [float, float] -> float {pure} "a + b";
    Fsub "fsub" [float, float] -> float {pure} "a - b";
    Fmul "fmul" [float, float] -> float {pure} "a * b";
    Fdiv "fdiv" [float, float] -> float {pure} "a / b";
    Fmin "fmin" [float, float] -> float {pure} "b if b < a, else a";
    Fmax "fmax" [float, float] -> float {pure} "b if a < b, else a";
    Fneg "fneg" [float] -> float {pure} "-a";
    Fabs "fabs" [float] -> float {pure} "|a|";
    Fsqrt "fsqrt" [float] -> float {pure} "the square root of a";
    Ffloor "ffloor" [float] -> float {pure} "the largest integral value <= a";
    Fceil "fceil" [float] -> float {pure} "the smallest integral value >= a";
    Ftrunc "ftrunc" [float] -> float {pure} "a rounded towards zero";
    Fcall1 "fcall1" [float] -> float {pure helper} "the function of floats with the immediate as number, of a";
    Fcall2 "fcall2" [float, float] -> float {pure helper} "the function of floats with the immediate as number, of a and b";
    Fcmp "fcmp" [float, float] -> int {pure} "1 if the condition holds, else 0; gt and ge are the negations of le and lt";
    FfromInt "ffrom_int" [int] -> float {pure} "a, rounded to nearest";
    IfromFloat "ifrom_float" [float] -> int {fixed} "a truncated; a is in the range of i64";
    FfromBits "ffrom_bits" [int] -> float {pure} "the float with the bits a";
    IfromBits "ifrom_bits" [float] -> int {pure} "the bits of a";

    // Cells.
    BoxFloat "box_float" [float] -> cell {pure plain} "a as a cell, NaN canonical";
    BoxBool "box_bool" [int] -> cell {pure plain} "true if a != 0, else false";
    BoxSmall "box_small" [int] -> cell {pure plain} "a as a cell; a has 48 bits";
    BoxInt "box_int" [int] -> cell {leaves site} "a as a cell: inline up to 48 bits, else a wide int; allocates it by the site's routine";
    Bits "bits" [cell] -> int {pure} "the bits of a; of an object only to compare them with those of no object";
    IsSmall "is_small" [cell] -> int {pure} "1 if a is an int of 48 bits, else 0";
    IsFloat "is_float" [cell] -> int {pure} "1 if a is a float, else 0";
    IsObject "is_object" [cell] -> int {pure} "1 if a is an object, else 0";
    SmallInt "small_int" [cell] -> int {pure} "the int in a, which is small; of other cells some int";
    CellFloat "cell_float" [cell] -> float {pure} "the float in a, which is a float; of other cells some float";
    OfBits "of_bits" [int] -> cell {pure plain} "the cell with the bits a, which is no object";
    Same "same" [cell, cell] -> int {pure} "1 if a and b have the same bits, else 0";

    // Strings. That a is a string is known.
    StringLen "string_len" [cell] -> int {fixed string} "the number of scalars of the string a";
    AsciiLen "ascii_len" [cell] -> int {fixed string} "the number of scalars of the string a where it is an object of ASCII, else 0";
    AsciiBase "ascii_base" [cell] -> ptr {fixed string} "the address of the bytes of the string a where it is an object, else some address";

    // Memory. The offset is the immediate, in bytes.
    Context "context" [] -> ptr {loads} "the table at the immediate's offset in the context";
    Load "load" [base] -> access {loads} "what is at a + offset";
    LoadAt "load_at" [base, int] -> access {loads} "what is at a + offset + b * width";
    Store "store" [base, any] -> none {stores} "at a + offset = b";
    StoreAt "store_at" [base, int, any] -> none {stores} "at a + offset + b * width = c";
    StoreCell "store_cell" [base, cell] -> none {stores} "at a + offset = b, in an object; with the write barrier";
    StoreCellAt "store_cell_at" [base, int, cell] -> none {stores} "at a + offset + b * 8 = c, in a buffer of cells; with the write barrier";
    Code "code" [] -> ptr {pure} "the address of a word of a function's code or literals: the function's number in the upper half of the immediate, the word in the lower";
    Constant "constant" [] -> cell {loads} "the instance's constant with the immediate as number: a string or a record without fields";

    // Control within a block.
    Guard "guard" [int] -> none {leaves} "leaves where a = 0; the immediate is the reason";
    Stack "stack" [] -> none {leaves} "leaves where the guest stack has no room for the immediate's number of slots from the frame's start, or the native stack is nearly full";
    Poll "poll" [] -> none {leaves charges} "charges a turn of a loop";
    Charge "charge" [] -> none {leaves charges} "charges an inlined call";
    Call "call" [rest] -> site {leaves site calls} "calls the site's function with the operands";
    CallClosure "call_closure" [cell, rest] -> site {leaves site calls} "calls the closure a with the other operands";
    Routine "routine" [] -> site {leaves site} "does the state's instruction by the site's routine";
    Helper "helper" [rest] -> site {site helper} "calls the function with the immediate as number: it neither collects nor leaves";
    Alloc "alloc" [rest] -> cell {leaves site makes} "a new object: the immediate is its first word, the operands follow; of a list: its length, its flags, then its elements, for which its buffer has room; where there is no room, by the site's routine";
    Make "make" [rest] -> cell {makes} "a new object as by alloc; neither collects nor leaves, and is made beyond the memory limit too";
    Virtual "virtual" [rest] -> cell {makes} "an object as by make, which only frame states and others of these name: it is made where frames are written";

    // Terminators.
    Jump "jump" [] -> none {terminator} "continues at the target";
    Branch "branch" [int] -> none {terminator} "continues at the first target where a != 0, else at the second";
    Switch "switch" [int] -> none {terminator} "continues at the target whose case is a, else at the last; the immediate says which cases";
    Return "return" [rest] -> none {terminator} "leaves the function with the operand, if it has a result";
    Exit "exit" [] -> none {leaves terminator} "leaves for the interpreter; the immediate is the reason";
}

impl Op {
    /// The op with this mnemonic.
    pub fn from_mnemonic(mnemonic: &str) -> Option<Op> {
        Op::ALL.iter().copied().find(|op| op.info().mnemonic == mnemonic)
    }

    /// Whether machine code writes frames for it, or on a way from which it goes on.
    pub fn writes_frames(self) -> bool {
        let info = self.info();
        info.charges || info.leaves && info.site
    }

    /// Whether operands may be exchanged.
    pub fn commutes(self) -> bool {
        matches!(
            self,
            Op::Iadd
                | Op::Imul
                | Op::Imulh
                | Op::Iand
                | Op::Ior
                | Op::Ixor
                | Op::Imin
                | Op::Imax
                | Op::IaddExit
                | Op::ImulExit
                | Op::IaddOverflows
                | Op::ImulOverflows
                | Op::Fadd
                | Op::Fmul
                | Op::Same
        )
    }
}
