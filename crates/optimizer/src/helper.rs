//! Functions of the runtime that optimized code calls with values in registers.
//!
//! They neither collect, nor trap, nor leave. The engine has them in the table behind `Context::routines`, after the routines, in
//! this order.

use crate::ir::{Class, SiteData, SiteEffects, Type};

/// A parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Param {
    /// The context.
    Context,
    /// A value.
    Of(Type),
}

/// What a helper reads of the memory that others write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// Nothing.
    Nothing,
    /// Anything.
    Anything,
    /// Memory of one class, all of it.
    Of(Class),
}

/// What is known of a helper.
#[derive(Debug)]
pub struct HelperInfo {
    /// The name of the function.
    pub name: &'static str,
    /// The parameters.
    pub params: &'static [Param],
    /// The result.
    pub result: Option<Type>,
    /// What it reads of the memory that others write.
    pub reads: Reads,
    /// Whether it writes memory that others read.
    pub writes: bool,
    /// Whether it charges the budget, or ends its portion; the budget is in the context then.
    pub charges: bool,
}

macro_rules! param {
    (context) => {
        Param::Context
    };
    (int) => {
        Param::Of(Type::Int)
    };
    (float) => {
        Param::Of(Type::Float)
    };
    (cell) => {
        Param::Of(Type::Cell)
    };
    (ptr) => {
        Param::Of(Type::Ptr)
    };
}

macro_rules! result {
    (none) => {
        None
    };
    (int) => {
        Some(Type::Int)
    };
    (float) => {
        Some(Type::Float)
    };
    (cell) => {
        Some(Type::Cell)
    };
}

macro_rules! reads {
    (nothing) => {
        Reads::Nothing
    };
    (anything) => {
        Reads::Anything
    };
    (maps) => {
        Reads::Of(Class::Map)
    };
}

macro_rules! helpers {
    ($($(#[$doc:meta])* $name:ident $function:ident [$($param:tt),*] -> $result:tt $reads:tt $writes:literal $charges:literal;)*) => {
        /// A helper, as machine code names it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Helper { $($(#[$doc])* $name,)* }

        impl Helper {
            /// All helpers in the order of their numbers.
            pub const ALL: &'static [Helper] = &[$(Helper::$name),*];

            /// What is known of it.
            pub fn info(self) -> &'static HelperInfo {
                static INFOS: &[HelperInfo] = &[$(HelperInfo {
                    name: stringify!($function),
                    params: &[$(param!($param)),*],
                    result: result!($result),
                    reads: reads!($reads),
                    writes: $writes,
                    charges: $charges,
                }),*];
                &INFOS[self as usize]
            }

            /// What a call of it needs beyond its arguments.
            pub fn site(self) -> SiteData {
                let info = self.info();
                SiteData {
                    result: info.result,
                    effects: SiteEffects {
                        writes: info.writes,
                        reads: info.reads != Reads::Nothing,
                        collects: false,
                        calls: false,
                        own: false,
                        grows: false,
                        new: false,
                    },
                    ..SiteData::plain(u32::MAX)
                }
            }
        }

        /// Calls the macro `$m` with all pairs of helper and function.
        #[macro_export]
        macro_rules! for_each_helper {
            ($m:ident) => { $m! { $($name $function,)* } };
        }

        /// Calls the macro `$m` with all functions, what they take and what they give: `context`, `int`, `float`, `cell`, `ptr`,
        /// `none`.
        #[macro_export]
        macro_rules! for_each_helper_signature {
            ($m:ident) => { $m! { $($function [$($param),*] -> $result,)* } };
        }
    };
}

helpers! {
    /// fmod.
    FloatRem float_rem [float, float] -> float nothing false false;
    /// Power.
    FloatPow float_pow [float, float] -> float nothing false false;
    /// The angle of a point.
    FloatAtan2 float_atan2 [float, float] -> float nothing false false;
    /// To the nearest integral value, halves away from zero.
    FloatRound float_round [float] -> float nothing false false;
    /// Sine.
    FloatSin float_sin [float] -> float nothing false false;
    /// Cosine.
    FloatCos float_cos [float] -> float nothing false false;
    /// Tangent.
    FloatTan float_tan [float] -> float nothing false false;
    /// Arcsine.
    FloatAsin float_asin [float] -> float nothing false false;
    /// Arccosine.
    FloatAcos float_acos [float] -> float nothing false false;
    /// Arctangent.
    FloatAtan float_atan [float] -> float nothing false false;
    /// Exponential.
    FloatExp float_exp [float] -> float nothing false false;
    /// Natural logarithm.
    FloatLog float_log [float] -> float nothing false false;
    /// Binary logarithm.
    FloatLog2 float_log2 [float] -> float nothing false false;
    /// Decimal logarithm.
    FloatLog10 float_log10 [float] -> float nothing false false;
    /// The slow half of the write barrier of an object.
    WriteBarrier write_barrier [context, cell] -> none nothing false false;
    /// The slow half of the write barrier of a slot of a buffer.
    WriteBarrierSlot write_barrier_slot [context, ptr, ptr] -> none nothing false false;
    /// Writes the address of a new object to a place: first word, size, place.
    Make make_object [context, int, int, ptr] -> none nothing false false;
    /// Whether two strings with objects have the same bytes.
    StringEqual string_equal [context, cell, cell] -> int nothing false true;
    /// The order of two strings, as the op says.
    StringCompare string_compare [context, cell, cell] -> int nothing false true;
    /// Where a string occurs first in another, or -1.
    StringIndexOf string_index_of [context, cell, cell] -> int nothing false true;
    /// Where an int comes first in a list of ints, or -1.
    ListIntIndexOf list_int_index_of [context, cell, int] -> int anything false true;
    /// Where a string comes first in a list of cells, or -1.
    ListStringIndexOf list_string_index_of [context, cell, cell] -> int anything false true;
    /// Makes room in a list for so many more elements, where that is quick; else does nothing.
    ListReserve list_reserve [context, cell, int] -> none anything true false;
    /// The number of bytes.
    StringByteLen string_byte_len [cell] -> int nothing false false;
    /// A scalar by its position, which is in the string.
    StringCodeAt string_code_at [context, cell, int] -> int nothing false false;
    /// A scalar as a string, or hole where there is none.
    StringChar string_char [context, cell, int] -> cell nothing false false;
    /// One string followed by another, or hole where that is not done quickly.
    StringJoin string_join [context, cell, cell] -> cell nothing false false;
    /// One string with another behind it, in its own object where that is extensible, or hole where that is not done quickly.
    StringExtend string_extend [context, cell, cell] -> cell anything true false;
    /// Makes an extensible string an ordinary one.
    StringShare string_share [cell] -> none anything true false;
    /// A slice of a string, or hole where that is not done quickly.
    StringPart string_part [context, cell, int, int] -> cell nothing false false;
    /// An int in decimal, or hole where that is not done quickly.
    StringDecimal string_decimal [context, int] -> cell nothing false false;
    /// A new map, or hole where that is not done quickly: the bits of its header, what that says of the values, and its capacity.
    MapNew map_new_quick [context, int, int, int] -> cell nothing true false;
    /// The number of a key's entry, or -1.
    MapIntFind map_int_find [cell, int] -> int maps false false;
    /// The number of a key's entry, or -1: a map, a key, and which entry it is expected to be, or -1. Machine code looks there first.
    MapStringFind map_string_find [cell, cell, int] -> int maps false false;
    /// The number of the entry of a key of a map with keys of any kind, -1 where it has none, or -2 where that takes more: operands as
    /// above.
    MapCellFind map_cell_find [cell, cell, int] -> int maps false false;
    /// The value at a string of a map that finds keys by text, nil where there is none, or hole for other maps: operands as above.
    MapTextGet map_text_get [cell, cell, int] -> cell anything false false;
    /// The value of the entry that is a map's field of a name, nil where there is none, or hole where the language says: operands as
    /// above.
    MapField map_field [cell, cell, int] -> cell anything false false;
    /// Whether a cell is true under a mask.
    CellTruthy cell_truthy [cell, int] -> int anything false false;
    /// The number of a cell's kind.
    CellKind cell_kind [cell] -> int nothing false false;
    /// Whether two cells are the same value.
    CellIdentical cell_identical [cell, cell] -> int nothing false false;
    /// Whether a cell is of a type.
    CellTest cell_test [context, cell, int] -> int anything false false;
    /// The distance that a switch over strings continues at.
    StringSwitch switch_string_at [context, ptr, cell] -> int anything false false;
    /// The distance that a switch over words continues at.
    HashSwitch switch_hash_at [ptr, int] -> int nothing false false;
    /// The distance that a switch over ints continues at.
    IntSwitch switch_int_at [ptr, int] -> int nothing false false;
    /// Charges turns of a loop that are skipped: how many at most, and the units of each. Gives how many it charged.
    SkipTurns skip_turns [context, int, int] -> int anything true true;
    /// What an int is after turns that each multiply it, add what grows by a step, and take the remainder: int, factor, modulus, turns,
    /// what is added first, step.
    AffineRest affine_rest [int, int, int, int, int, int] -> int nothing false false;
    /// Likewise of two ints that update each other, packed: they, the factors for one and for the other, what is added first, steps, and
    /// the turns with the modulus.
    AffinePair affine_pair [int, int, int, int, int, int] -> int nothing false false;
}
