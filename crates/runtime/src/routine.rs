//! The routines that machine code calls, by number. The engine fills the table behind `Context::routines` in this order.

macro_rules! routines {
    ($($(#[$doc:meta])* $name:ident $function:ident,)*) => {
        /// A routine of the interpreter (or of the engine), as machine code names it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Routine { $($(#[$doc])* #[doc = concat!("`", stringify!($function), "`.")] $name,)* }

        impl Routine {
            /// All routines in the order of their numbers.
            pub const ALL: &'static [Routine] = &[$(Routine::$name),*];

            /// The name of the function.
            pub const fn name(self) -> &'static str {
                match self { $(Routine::$name => stringify!($function),)* }
            }
        }

        /// Calls the macro `$m` with all pairs of routine and function.
        #[macro_export]
        macro_rules! for_each_routine {
            ($m:ident) => { $m! { $($name $function,)* } };
        }
    };
}

routines! {
    /// A return with flags in the header. Its place is part of the layout.
    NativeReturn native_return,
    /// The budget is used up.
    NativeBudget native_budget,
    Scalar scalar,
    ClearSpilled clear_spilled_cells,
    NoteResults note_returned,
    Throw throw,
    IntSwitch switch_int,
    CellSwitch switch_cell,
    StringSwitch switch_string,
    CallHost call_host,
    CallC call_c,
    CellCall cell_call,
    CellCallSpread cell_call_spread,
    TailCall tail_call,
    TailClosure tail_closure,
    TailCell tail_cell,
    TailCellSpread tail_cell_spread,
    ResultsClear results_clear,
    ResultsPush results_push,
    ResultsLen results_len,
    ResultsGet results_get,
    CellAdd cell_add,
    CellSub cell_sub,
    CellMul cell_mul,
    CellDiv cell_div,
    CellRem cell_rem,
    CellNeg cell_neg,
    CellEq cell_eq,
    CellNe cell_ne,
    CellLt cell_lt,
    CellLe cell_le,
    CellIdentical cell_identical,
    CellTruthy cell_truthy,
    TruthyBranch truthy_branch,
    FalsyBranch falsy_branch,
    CellKind cell_kind,
    CellTest cell_test,
    CellCast cell_cast,
    CellIndexGet cell_index_get,
    CellIndexSet cell_index_set,
    CellFieldGet cell_field_get,
    CellFieldSet cell_field_set,
    BoxInt box_int,
    BoxFloat box_float,
    StringLen string_len,
    StringByteLen string_byte_len,
    StringConcat string_concat,
    StringAppend string_append,
    StringShare string_share,
    StringGet string_get,
    StringGetRel string_get_rel,
    StringSlice string_slice,
    StringCodeAt string_code_at,
    StringFromCode string_from_code,
    StringFromInt string_from_int,
    StringCompare string_compare,
    StringEq string_eq,
    StringNe string_ne,
    StringContains string_contains,
    StringIndexOf string_index_of,
    StringEqBranch string_eq_branch,
    StringNeBranch string_ne_branch,
    ListCopy list_copy,
    ListSlice list_slice,
    ListCut list_cut,
    ListExtend list_extend,
    ListConcat list_concat,
    ListIntNew list_int_new,
    ListIntPush list_int_push,
    ListIntIndexOf list_int_index_of,
    ListIntAppend list_int_append,
    ListFloatNew list_float_new,
    ListFloatPush list_float_push,
    ListFloatAppend list_float_append,
    ListBoolNew list_bool_new,
    ListBoolPush list_bool_push,
    ListBoolAppend list_bool_append,
    ListCellNew list_cell_new,
    ListCellSet list_cell_set,
    ListCellSetRel list_cell_set_rel,
    ListCellPush list_cell_push,
    ListStringIndexOf list_string_index_of,
    ListCellAppend list_cell_append,
    MapNew map_new,
    MapKeys map_keys,
    MapValues map_values,
    MapIntGet map_int_get,
    MapIntHas map_int_has,
    MapIntSet map_int_set,
    MapIntRemove map_int_remove,
    MapStringGet map_string_get,
    MapStringHas map_string_has,
    MapStringSet map_string_set,
    MapStringRemove map_string_remove,
    MapCellGet map_cell_get,
    MapCellHas map_cell_has,
    MapCellSet map_cell_set,
    MapCellRemove map_cell_remove,
    RecordNew record_new,
    RecordCellSet record_cell_set,
    RecordCopy record_copy,
    ClosureNew closure_new,
    RefRawNew ref_raw_new,
    RefCellNew ref_cell_new,
    RefCellSet ref_cell_set,
    TupleNew tuple_new,
    TupleGet tuple_get,
    TupleSet tuple_set,
    TrailMark trail_mark,
    TrailUndo trail_undo,
    RefCellSetTrailed ref_cell_set_trailed,
    RecordCellSetTrailed record_cell_set_trailed,
    TupleSetTrailed tuple_set_trailed,
}

const _: () = assert!(Routine::NativeReturn as u32 == 0, "its place in the table is part of the layout");
