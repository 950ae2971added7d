//! The op list: every operation of the bytecode, one row each.
//!
//! A row is `Variant method "mnemonic" [operand: Kind, ...] [EFFECTS] "meaning";`. Everything else about an op is derived
//! from its row: the [`Op`] enum, its place of operands in the words ([`OpInfo::layout`]), the encoder and decoder
//! ([`crate::inst`]), the emitting method of the builder, the text format, the operand visitor, most of the verifier and
//! the reference page. Tiers match on [`Op`] exhaustively, without a `_` arm, so adding a row makes the compiler name
//! every place that has to know.
//!
//! Operand kinds are in [`OperandKind`]; a kind gives role (definition or use), bank, required heap type and width.
//! Effects are in [`Effects`]; a property of an op is a column here, never a list of ops in a pass.

use crate::types::Bank;

/// Calls the macro `$m` with all rows of the op list.
#[macro_export]
macro_rules! for_each_op {
    ($m:ident) => {
        $m! {
            // Moves and constants.
            Nop nop "nop" [] [] "nothing";
            FrameClear frame_clear "frame.clear" [first: ImmU16, count: ImmU16] [FREE] "slots first..first+count and all spilled cells = hole; the prologue that makes every cell slot valid before the first collecting op";
            IntMove int_move "int.move" [dst: DefInt, a: UseInt] [FREE] "dst = a";
            FloatMove float_move "float.move" [dst: DefFloat, a: UseFloat] [FREE] "dst = a";
            CellMove cell_move "cell.move" [dst: DefCell, a: UseResults] [FREE] "dst = a; the type of dst includes the type of a";
            IntConst int_const "int.const" [dst: DefInt, value: ImmI32] [FREE] "dst = value, sign-extended";
            IntConstWide int_const_wide "int.const.wide" [dst: DefInt, value: Const] [FREE] "dst = constants[value]";
            FloatConst float_const "float.const" [dst: DefFloat, value: Const] [FREE] "dst = constants[value] as bits of a float";
            CellConst cell_const "cell.const" [dst: DefCell, value: CellConst] [FREE] "dst = cell_constants[value]: an immediate (48-bit int, float, boolean, nil, hole, none, many or short string), never a heap address";
            StringConst string_const "string.const" [dst: DefString, value: StringId] [READ] "dst = strings[value]";
            NameConst name_const "name.const" [dst: DefName, value: NameId] [PURE] "dst = the interned name names[value]";
            IntLocalGet int_local_get "int.local.get" [dst: DefInt, slot: Slot] [FREE] "dst = the frame slot with a wide number";
            IntLocalSet int_local_set "int.local.set" [slot: SlotDef, a: UseInt] [FREE] "the frame slot with a wide number = a";
            FloatLocalGet float_local_get "float.local.get" [dst: DefFloat, slot: Slot] [FREE] "dst = the frame slot with a wide number";
            FloatLocalSet float_local_set "float.local.set" [slot: SlotDef, a: UseFloat] [FREE] "the frame slot with a wide number = a";
            CellLocalGet cell_local_get "cell.local.get" [dst: DefCell, slot: Slot] [FREE] "dst = the frame slot with a wide number";
            CellLocalSet cell_local_set "cell.local.set" [slot: SlotDef, a: UseResults] [FREE] "the frame slot with a wide number = a";

            // Integer arithmetic.
            IntAdd int_add "int.add" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a + b modulo 2^64";
            IntSub int_sub "int.sub" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a - b modulo 2^64";
            IntMul int_mul "int.mul" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a * b modulo 2^64";
            IntAddChecked int_add_checked "int.add_checked" [dst: DefInt, a: UseInt, b: UseInt] [TRAP] "dst = a + b; traps integer-overflow where that is no i64";
            IntSubChecked int_sub_checked "int.sub_checked" [dst: DefInt, a: UseInt, b: UseInt] [TRAP] "dst = a - b; traps integer-overflow where that is no i64";
            IntMulChecked int_mul_checked "int.mul_checked" [dst: DefInt, a: UseInt, b: UseInt] [TRAP] "dst = a * b; traps integer-overflow where that is no i64";
            IntAddOrJump int_add_or_jump "int.add_or_jump" [dst: DefInt, a: UseInt, b: UseInt, target: Label] [BRANCH] "dst = a + b; jumps to target, dst unchanged, where that is no i64";
            IntSubOrJump int_sub_or_jump "int.sub_or_jump" [dst: DefInt, a: UseInt, b: UseInt, target: Label] [BRANCH] "dst = a - b; jumps to target, dst unchanged, where that is no i64";
            IntMulOrJump int_mul_or_jump "int.mul_or_jump" [dst: DefInt, a: UseInt, b: UseInt, target: Label] [BRANCH] "dst = a * b; jumps to target, dst unchanged, where that is no i64";
            IntAddImm int_add_imm "int.add_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = a + value modulo 2^64";
            IntAddImmChecked int_add_imm_checked "int.add_imm_checked" [dst: DefInt, a: UseInt, value: ImmI16] [TRAP] "dst = a + value; traps integer-overflow";
            IntMulImmChecked int_mul_imm_checked "int.mul_imm_checked" [dst: DefInt, a: UseInt, value: ImmI16] [TRAP] "dst = a * value; traps integer-overflow";
            IntNeg int_neg "int.neg" [dst: DefInt, a: UseInt] [PURE] "dst = -a modulo 2^64";
            IntNegChecked int_neg_checked "int.neg_checked" [dst: DefInt, a: UseInt] [TRAP] "dst = -a; traps integer-overflow at the minimum";
            IntAbsChecked int_abs_checked "int.abs_checked" [dst: DefInt, a: UseInt] [TRAP] "dst = |a|; traps integer-overflow at the minimum";
            IntDiv int_div "int.div" [dst: DefInt, a: UseInt, b: UseInt] [TRAP] "dst = a / b towards zero; traps division-by-zero, and integer-overflow at minimum / -1";
            IntRem int_rem "int.rem" [dst: DefInt, a: UseInt, b: UseInt] [TRAP] "dst = a - b * (a / b), sign of a; traps division-by-zero; minimum % -1 = 0";
            IntDivImm int_div_imm "int.div_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = a / value towards zero; value is neither 0 nor -1";
            IntRemImm int_rem_imm "int.rem_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = the remainder of a / value; value is neither 0 nor -1";
            IntAnd int_and "int.and" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a & b";
            IntOr int_or "int.or" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a | b";
            IntXor int_xor "int.xor" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a ^ b";
            IntShl int_shl "int.shl" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a << (b & 63)";
            IntShrS int_shr_s "int.shr_s" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a >> (b & 63), sign-filling";
            IntShrU int_shr_u "int.shr_u" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = a >> (b & 63), zero-filling";
            IntAndImm int_and_imm "int.and_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = a & value";
            IntShlImm int_shl_imm "int.shl_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = a << (value & 63)";
            IntShrSImm int_shr_s_imm "int.shr_s_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = a >> (value & 63), sign-filling";
            IntExtend32 int_extend32 "int.extend32" [dst: DefInt, a: UseInt] [PURE] "dst = the low 32 bits of a, sign-extended";
            IntMin int_min "int.min" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = the smaller of a and b";
            IntMax int_max "int.max" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = the larger of a and b";
            BoolNot bool_not "bool.not" [dst: DefInt, a: UseInt] [PURE] "dst = 1 if a = 0, else 0";
            IntEq int_eq "int.eq" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = 1 if a = b, else 0";
            IntNe int_ne "int.ne" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = 1 if a != b, else 0";
            IntLt int_lt "int.lt" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = 1 if a < b, else 0";
            IntLe int_le "int.le" [dst: DefInt, a: UseInt, b: UseInt] [PURE] "dst = 1 if a <= b, else 0";
            IntEqImm int_eq_imm "int.eq_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = 1 if a = value, else 0";
            IntNeImm int_ne_imm "int.ne_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = 1 if a != value, else 0";
            IntLtImm int_lt_imm "int.lt_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = 1 if a < value, else 0";
            IntLeImm int_le_imm "int.le_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = 1 if a <= value, else 0";
            IntGtImm int_gt_imm "int.gt_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = 1 if a > value, else 0";
            IntGeImm int_ge_imm "int.ge_imm" [dst: DefInt, a: UseInt, value: ImmI16] [PURE] "dst = 1 if a >= value, else 0";

            // Float arithmetic: IEEE doubles, round to nearest.
            FloatAdd float_add "float.add" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = a + b";
            FloatSub float_sub "float.sub" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = a - b";
            FloatMul float_mul "float.mul" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = a * b";
            FloatDiv float_div "float.div" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = a / b";
            FloatDivChecked float_div_checked "float.div_checked" [dst: DefFloat, a: UseFloat, b: UseFloat] [TRAP] "dst = a / b; traps division-by-zero where b is 0 or -0";
            FloatRem float_rem "float.rem" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = fmod(a, b), sign of a";
            FloatRemChecked float_rem_checked "float.rem_checked" [dst: DefFloat, a: UseFloat, b: UseFloat] [TRAP] "dst = fmod(a, b); traps division-by-zero where b is 0 or -0";
            FloatMin float_min "float.min" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = b if b < a, else a";
            FloatMax float_max "float.max" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = b if a < b, else a";
            FloatPow float_pow "float.pow" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = a to the power of b";
            FloatAtan2 float_atan2 "float.atan2" [dst: DefFloat, a: UseFloat, b: UseFloat] [PURE] "dst = the angle of the point (b, a)";
            FloatNeg float_neg "float.neg" [dst: DefFloat, a: UseFloat] [PURE] "dst = -a";
            FloatAbs float_abs "float.abs" [dst: DefFloat, a: UseFloat] [PURE] "dst = |a|";
            FloatSqrt float_sqrt "float.sqrt" [dst: DefFloat, a: UseFloat] [PURE] "dst = the square root of a";
            FloatFloor float_floor "float.floor" [dst: DefFloat, a: UseFloat] [PURE] "dst = the largest integral value <= a";
            FloatCeil float_ceil "float.ceil" [dst: DefFloat, a: UseFloat] [PURE] "dst = the smallest integral value >= a";
            FloatTrunc float_trunc "float.trunc" [dst: DefFloat, a: UseFloat] [PURE] "dst = a rounded towards zero";
            FloatRound float_round "float.round" [dst: DefFloat, a: UseFloat] [PURE] "dst = a rounded to the nearest integral value, halves away from zero";
            FloatSin float_sin "float.sin" [dst: DefFloat, a: UseFloat] [PURE] "dst = sin a";
            FloatCos float_cos "float.cos" [dst: DefFloat, a: UseFloat] [PURE] "dst = cos a";
            FloatTan float_tan "float.tan" [dst: DefFloat, a: UseFloat] [PURE] "dst = tan a";
            FloatAsin float_asin "float.asin" [dst: DefFloat, a: UseFloat] [PURE] "dst = arcsin a";
            FloatAcos float_acos "float.acos" [dst: DefFloat, a: UseFloat] [PURE] "dst = arccos a";
            FloatAtan float_atan "float.atan" [dst: DefFloat, a: UseFloat] [PURE] "dst = arctan a";
            FloatExp float_exp "float.exp" [dst: DefFloat, a: UseFloat] [PURE] "dst = e to the power of a";
            FloatLog float_log "float.log" [dst: DefFloat, a: UseFloat] [PURE] "dst = the natural logarithm of a";
            FloatLog2 float_log2 "float.log2" [dst: DefFloat, a: UseFloat] [PURE] "dst = the binary logarithm of a";
            FloatLog10 float_log10 "float.log10" [dst: DefFloat, a: UseFloat] [PURE] "dst = the decimal logarithm of a";
            FloatEq float_eq "float.eq" [dst: DefInt, a: UseFloat, b: UseFloat] [PURE] "dst = 1 if a = b, else 0";
            FloatNe float_ne "float.ne" [dst: DefInt, a: UseFloat, b: UseFloat] [PURE] "dst = 1 if a != b, else 0";
            FloatLt float_lt "float.lt" [dst: DefInt, a: UseFloat, b: UseFloat] [PURE] "dst = 1 if a < b, else 0";
            FloatLe float_le "float.le" [dst: DefInt, a: UseFloat, b: UseFloat] [PURE] "dst = 1 if a <= b, else 0";

            // Conversions between the raw banks.
            FloatFromInt float_from_int "float.from_int" [dst: DefFloat, a: UseInt] [PURE] "dst = a, rounded to nearest";
            IntFromFloat int_from_float "int.from_float" [dst: DefInt, a: UseFloat] [TRAP] "dst = a truncated towards zero; traps integer-overflow where that is no i64 (NaN included)";
            FloatFromBits float_from_bits "float.from_bits" [dst: DefFloat, a: UseInt] [PURE] "dst = the float with the bits a";
            IntFromBits int_from_bits "int.from_bits" [dst: DefInt, a: UseFloat] [PURE] "dst = the bits of a";

            // Control. Branch offsets count words from the branch; `.loop` forms lead backwards to a loop_header, charge the budget and continue behind it.
            LoopHeader loop_header "loop_header" [] [LOOP FREE] "charges one unit of the budget; the only target of backward branches, and the place of entry on stack replacement";
            Jump jump "jump" [target: Label] [BRANCH END FREE] "continues at target";
            JumpLoop jump_loop "jump.loop" [target: Label] [BRANCH LOOP END] "continues at target";
            IfBranch if_branch "if.branch" [a: UseInt, target: Label] [BRANCH] "jumps if a != 0";
            UnlessBranch unless_branch "unless.branch" [a: UseInt, target: Label] [BRANCH] "jumps if a = 0";
            IntEqBranch int_eq_branch "int.eq.branch" [a: UseInt, b: UseInt, target: Label16] [BRANCH] "jumps if a = b";
            IntNeBranch int_ne_branch "int.ne.branch" [a: UseInt, b: UseInt, target: Label16] [BRANCH] "jumps if a != b";
            IntLtBranch int_lt_branch "int.lt.branch" [a: UseInt, b: UseInt, target: Label16] [BRANCH] "jumps if a < b";
            IntLeBranch int_le_branch "int.le.branch" [a: UseInt, b: UseInt, target: Label16] [BRANCH] "jumps if a <= b";
            IntEqImmBranch int_eq_imm_branch "int.eq_imm.branch" [a: UseInt, value: ImmI16, target: Label16] [BRANCH] "jumps if a = value";
            IntNeImmBranch int_ne_imm_branch "int.ne_imm.branch" [a: UseInt, value: ImmI16, target: Label16] [BRANCH] "jumps if a != value";
            IntLtImmBranch int_lt_imm_branch "int.lt_imm.branch" [a: UseInt, value: ImmI16, target: Label16] [BRANCH] "jumps if a < value";
            IntLeImmBranch int_le_imm_branch "int.le_imm.branch" [a: UseInt, value: ImmI16, target: Label16] [BRANCH] "jumps if a <= value";
            IntGtImmBranch int_gt_imm_branch "int.gt_imm.branch" [a: UseInt, value: ImmI16, target: Label16] [BRANCH] "jumps if a > value";
            IntGeImmBranch int_ge_imm_branch "int.ge_imm.branch" [a: UseInt, value: ImmI16, target: Label16] [BRANCH] "jumps if a >= value";
            FloatEqBranch float_eq_branch "float.eq.branch" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH] "jumps if a = b";
            FloatNeBranch float_ne_branch "float.ne.branch" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH] "jumps if a != b";
            FloatLtBranch float_lt_branch "float.lt.branch" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH] "jumps if a < b";
            FloatLeBranch float_le_branch "float.le.branch" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH] "jumps if a <= b";
            FloatNotLtBranch float_not_lt_branch "float.not_lt.branch" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH] "jumps if not a < b";
            FloatNotLeBranch float_not_le_branch "float.not_le.branch" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH] "jumps if not a <= b";
            IfLoop if_loop "if.loop" [a: UseInt, target: Label] [BRANCH LOOP] "jumps if a != 0";
            UnlessLoop unless_loop "unless.loop" [a: UseInt, target: Label] [BRANCH LOOP] "jumps if a = 0";
            IntEqLoop int_eq_loop "int.eq.loop" [a: UseInt, b: UseInt, target: Label16] [BRANCH LOOP] "jumps if a = b";
            IntNeLoop int_ne_loop "int.ne.loop" [a: UseInt, b: UseInt, target: Label16] [BRANCH LOOP] "jumps if a != b";
            IntLtLoop int_lt_loop "int.lt.loop" [a: UseInt, b: UseInt, target: Label16] [BRANCH LOOP] "jumps if a < b";
            IntLeLoop int_le_loop "int.le.loop" [a: UseInt, b: UseInt, target: Label16] [BRANCH LOOP] "jumps if a <= b";
            IntEqImmLoop int_eq_imm_loop "int.eq_imm.loop" [a: UseInt, value: ImmI16, target: Label16] [BRANCH LOOP] "jumps if a = value";
            IntNeImmLoop int_ne_imm_loop "int.ne_imm.loop" [a: UseInt, value: ImmI16, target: Label16] [BRANCH LOOP] "jumps if a != value";
            IntLtImmLoop int_lt_imm_loop "int.lt_imm.loop" [a: UseInt, value: ImmI16, target: Label16] [BRANCH LOOP] "jumps if a < value";
            IntLeImmLoop int_le_imm_loop "int.le_imm.loop" [a: UseInt, value: ImmI16, target: Label16] [BRANCH LOOP] "jumps if a <= value";
            IntGtImmLoop int_gt_imm_loop "int.gt_imm.loop" [a: UseInt, value: ImmI16, target: Label16] [BRANCH LOOP] "jumps if a > value";
            IntGeImmLoop int_ge_imm_loop "int.ge_imm.loop" [a: UseInt, value: ImmI16, target: Label16] [BRANCH LOOP] "jumps if a >= value";
            FloatEqLoop float_eq_loop "float.eq.loop" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH LOOP] "jumps if a = b";
            FloatNeLoop float_ne_loop "float.ne.loop" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH LOOP] "jumps if a != b";
            FloatLtLoop float_lt_loop "float.lt.loop" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH LOOP] "jumps if a < b";
            FloatLeLoop float_le_loop "float.le.loop" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH LOOP] "jumps if a <= b";
            FloatNotLtLoop float_not_lt_loop "float.not_lt.loop" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH LOOP] "jumps if not a < b";
            FloatNotLeLoop float_not_le_loop "float.not_le.loop" [a: UseFloat, b: UseFloat, target: Label16] [BRANCH LOOP] "jumps if not a <= b";
            IntForLoop int_for_loop "int.for.loop" [i: UpdInt, limit: UseInt, target: Label16] [BRANCH LOOP] "i = i + 1 modulo 2^64; jumps if i < limit";
            IntSwitch int_switch "int.switch" [a: UseInt, table: Switch] [BRANCH END] "continues at the target that the table has for the value of a, else at its default";
            CellSwitch cell_switch "cell.switch" [a: UseCell, table: Switch] [BRANCH END] "continues at the target that the table has for the bits of a (small ints, booleans, nil, names, short strings), else at its default";
            StringSwitch string_switch "string.switch" [a: UseString, table: Switch] [READ BRANCH END] "continues at the target that the table has for the string a, else at its default";
            WatchBranch watch_branch "watch.branch" [watch: WatchId, target: Label16] [READ BRANCH] "jumps if the watch was bumped since the module was instantiated";
            Trap trap "trap" [code: TrapCode] [TRAP END] "traps with the code";
            Throw throw "throw" [a: UseCell] [TRAP END] "raises a as an exception";

            TierEntry tier_entry "tier_entry" [] [CALL] "the engine's own: stands before functions while there are tiers above the interpreter, counts the call and continues in the best tier; no module contains it";

            // Calls. Arguments stand in the window behind the frame, laid out as the callee's parameters; the result is written to dst by the callee's return.
            CallInt call_int "call.int" [dst: DefInt, callee: FuncId] [CALL] "dst = callee(window)";
            CallIntAddImm call_int_add_imm "call.int.add_imm" [a: UseInt, callee: FuncId, policy: Policy, dst: DefInt, value: ImmI16] [TRAP CALL] "the first raw slot of the window = a + value, or traps integer-overflow; then dst = callee(window); the policy is empty";
            CallFloat call_float "call.float" [dst: DefFloat, callee: FuncId] [CALL] "dst = callee(window)";
            CallCell call_cell "call.cell" [dst: DefCell, callee: FuncId] [CALL] "dst = callee(window)";
            CallVoid call_void "call.void" [callee: FuncId] [CALL] "callee(window)";
            CallClosureInt call_closure_int "call.closure.int" [dst: DefInt, callee: UseClosure] [CALL] "dst = callee(window); the callee itself becomes the first cell parameter";
            CallClosureFloat call_closure_float "call.closure.float" [dst: DefFloat, callee: UseClosure] [CALL] "dst = callee(window); the callee itself becomes the first cell parameter";
            CallClosureCell call_closure_cell "call.closure.cell" [dst: DefCell, callee: UseClosure] [CALL] "dst = callee(window); the callee itself becomes the first cell parameter";
            CallClosureVoid call_closure_void "call.closure.void" [callee: UseClosure] [CALL] "callee(window); the callee itself becomes the first cell parameter";
            CallHostInt call_host_int "call.host.int" [dst: DefInt, callee: HostId] [CALL] "dst = the host function callee(window)";
            CallHostFloat call_host_float "call.host.float" [dst: DefFloat, callee: HostId] [CALL] "dst = the host function callee(window)";
            CallHostCell call_host_cell "call.host.cell" [dst: DefCell, callee: HostId] [CALL] "dst = the host function callee(window)";
            CallHostVoid call_host_void "call.host.void" [callee: HostId] [CALL] "the host function callee(window)";
            CallCInt call_c_int "call.c.int" [dst: DefInt, callee: CFuncId] [CALL] "dst = the C function callee(window); int, pointer or boolean result";
            CallCFloat call_c_float "call.c.float" [dst: DefFloat, callee: CFuncId] [CALL] "dst = the C function callee(window)";
            CallCVoid call_c_void "call.c.void" [callee: CFuncId] [CALL] "the C function callee(window)";
            CellCall cell_call "cell.call" [dst: DefResults, callee: UseCell, argc: ImmU16, policy: Policy, feedback: Feedback] [CALL] "dst = callee(argc cells of the window), ints made floats where parameters are; a callee that is no function, or has no answer for so many or for their types, goes to the protocol";
            CellCallSpread cell_call_spread "cell.call_spread" [dst: DefResults, callee: UseCell, argc: ImmU16, policy: Policy, feedback: Feedback] [CALL] "dst = callee(argc - 1 cells of the window, then the elements of the list that is the last)";
            TailCall tail_call "tail.call" [callee: FuncId] [CALL END] "returns callee(window), reusing the frame";
            TailClosure tail_closure "tail.closure" [callee: UseClosure] [CALL END] "returns callee(window), reusing the frame";
            TailCell tail_cell "tail.cell" [callee: UseCell, argc: ImmU16, policy: Policy, feedback: Feedback] [CALL END] "returns callee(argc cells of the window), reusing the frame";
            TailCellSpread tail_cell_spread "tail.cell_spread" [callee: UseCell, argc: ImmU16, policy: Policy, feedback: Feedback] [CALL END] "returns callee(argc - 1 cells of the window, then the elements of the list that is the last), reusing the frame";
            ReturnInt return_int "return.int" [a: UseInt] [RETURN END] "returns a";
            ReturnIntAddChecked return_int_add_checked "return.int.add_checked" [a: UseInt, b: UseInt] [TRAP RETURN END] "returns a + b; traps integer-overflow";
            ReturnFloat return_float "return.float" [a: UseFloat] [RETURN END] "returns a";
            ReturnCell return_cell "return.cell" [a: UseResults] [RETURN END] "returns a";
            ReturnVoid return_void "return.void" [] [RETURN END] "returns nothing";
            ResultsClear results_clear "results.clear" [] [WRITE] "the instance's result list = []";
            ResultsPush results_push "results.push" [a: UseCell] [WRITE TRAP] "appends a to the instance's result list";
            ResultsLen results_len "results.len" [dst: DefInt] [READ] "dst = the length of the instance's result list";
            ResultsGet results_get "results.get" [dst: DefCell, i: UseInt] [READ TRAP] "dst = element i of the instance's result list; traps index-out-of-range";

            // Dynamic operations on cells. The policy says what the fast path may do; what leaves it calls the module's protocol table.
            CellAdd cell_add "cell.add" [dst: DefCell, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = a + b";
            CellSub cell_sub "cell.sub" [dst: DefCell, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = a - b";
            CellMul cell_mul "cell.mul" [dst: DefCell, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = a * b";
            CellDiv cell_div "cell.div" [dst: DefCell, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = a / b";
            CellRem cell_rem "cell.rem" [dst: DefCell, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = a % b";
            CellNeg cell_neg "cell.neg" [dst: DefCell, a: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = -a";
            CellEq cell_eq "cell.eq" [dst: DefInt, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = 1 if a = b, else 0";
            CellNe cell_ne "cell.ne" [dst: DefInt, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = 1 if a != b, else 0";
            CellLt cell_lt "cell.lt" [dst: DefInt, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = 1 if a < b, else 0";
            CellLe cell_le "cell.le" [dst: DefInt, a: UseCell, b: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = 1 if a <= b, else 0";
            CellIdentical cell_identical "cell.identical" [dst: DefInt, a: UseResults, b: UseResults] [READ] "dst = 1 if a and b are the same value: equal bits, or wide ints of equal value";
            CellTruthy cell_truthy "cell.truthy" [dst: DefInt, a: UseCell, mask: Mask] [READ] "dst = 0 if the mask says that a is false, else 1";
            TruthyBranch truthy_branch "truthy.branch" [a: UseCell, mask: Mask, target: Label16] [READ BRANCH] "jumps unless the mask says that a is false";
            FalsyBranch falsy_branch "falsy.branch" [a: UseCell, mask: Mask, target: Label16] [READ BRANCH] "jumps if the mask says that a is false";
            IsBranch is_branch "is.branch" [a: UseResults, what: Immediate, target: Label16] [BRANCH] "jumps if a is the immediate";
            IsNotBranch is_not_branch "is_not.branch" [a: UseResults, what: Immediate, target: Label16] [BRANCH] "jumps unless a is the immediate";
            CellKind cell_kind "cell.kind" [dst: DefInt, a: UseCell] [READ] "dst = the number of the kind of a";
            CellTest cell_test "cell.test" [dst: DefInt, a: UseCell, ty: Type] [READ] "dst = 1 if a is of the cell type, else 0";
            CellCast cell_cast "cell.cast" [dst: DefCell, a: UseResults, ty: Type] [READ TRAP] "dst = a; traps bad-cast where a is not of the cell type";
            CellIndexGet cell_index_get "cell.index_get" [dst: DefCell, object: UseCell, key: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = object[key]";
            CellIndexSet cell_index_set "cell.index_set" [object: UseCell, key: UseCell, value: UseCell, policy: Policy, feedback: Feedback] [CALL] "object[key] = value";
            CellFieldGet cell_field_get "cell.field_get" [dst: DefCell, object: UseCell, policy: Policy, name: NameId, feedback: Feedback] [CALL] "dst = object.name, by the shape cached at the site";
            CellFieldSet cell_field_set "cell.field_set" [object: UseCell, value: UseCell, policy: Policy, name: NameId, feedback: Feedback] [CALL] "object.name = value, by the shape cached at the site";

            // Boxing: between the raw banks and cells.
            BoxInt box_int "box.int" [dst: DefCell, a: UseInt] [ALLOC] "dst = a as a cell: inline up to 48 bits, else a wide int";
            BoxFloat box_float "box.float" [dst: DefCell, a: UseFloat] [PURE] "dst = a as a cell, NaN canonical";
            BoxBool box_bool "box.bool" [dst: DefCell, a: UseInt] [PURE] "dst = true if a != 0, else false";
            UnboxInt unbox_int "unbox.int" [dst: DefInt, a: UseCell] [READ TRAP] "dst = the int in a; traps type-mismatch";
            UnboxFloat unbox_float "unbox.float" [dst: DefFloat, a: UseCell] [READ TRAP] "dst = the float in a; traps type-mismatch";
            UnboxNumber unbox_number "unbox.number" [dst: DefFloat, a: UseCell] [READ TRAP] "dst = the float in a, or the int in a converted; traps type-mismatch";
            UnboxBool unbox_bool "unbox.bool" [dst: DefInt, a: UseCell] [READ TRAP] "dst = 1 or 0 for the boolean in a; traps type-mismatch";

            // Strings: immutable text, positions count scalars.
            StringLen string_len "string.len" [dst: DefInt, s: UseString] [READ] "dst = the number of scalars of s";
            StringByteLen string_byte_len "string.byte_len" [dst: DefInt, s: UseString] [READ] "dst = the number of bytes of s";
            StringConcat string_concat "string.concat" [dst: DefString, a: UseString, b: UseString] [ALLOC TRAP] "dst = a followed by b; in place where a ends at its buffer's used mark";
            StringAppend string_append "string.append" [dst: DefString, a: UseString, b: UseString] [ALLOC WRITE TRAP] "a followed by b, in a's own object where an append made that and it has room; dst is a's register, which only string.append (as dst and a), string.share and string.len read";
            StringShare string_share "string.share" [dst: DefString, a: UseString] [WRITE] "dst = a, which later appends leave alone";
            StringGet string_get "string.get" [dst: DefString, s: UseString, i: UseInt] [ALLOC TRAP] "dst = scalar i of s as a string; traps index-out-of-range";
            StringGetRel string_get_rel "string.get_rel" [dst: DefString, s: UseString, i: UseInt] [ALLOC TRAP] "as string.get; a negative i counts from the end";
            StringSlice string_slice "string.slice" [dst: DefString, s: UseString, from: UseInt, to: UseInt] [ALLOC TRAP] "dst = scalars from..to of s; negative positions count from the end, then both are clamped";
            StringCodeAt string_code_at "string.code_at" [dst: DefInt, s: UseString, i: UseInt] [READ TRAP] "dst = scalar i of s as a code point; traps index-out-of-range";
            StringFromCode string_from_code "string.from_code" [dst: DefString, a: UseInt] [ALLOC TRAP] "dst = the string of the code point a; traps invalid-argument";
            StringFromInt string_from_int "string.from_int" [dst: DefString, a: UseInt] [ALLOC TRAP] "dst = a in decimal";
            StringCompare string_compare "string.compare" [dst: DefInt, a: UseString, b: UseString] [READ] "dst = -1, 0 or 1 by the bytes of a and b";
            StringEq string_eq "string.eq" [dst: DefInt, a: UseString, b: UseString] [READ] "dst = 1 if a and b have the same bytes, else 0";
            StringNe string_ne "string.ne" [dst: DefInt, a: UseString, b: UseString] [READ] "dst = 0 if a and b have the same bytes, else 1";
            StringContains string_contains "string.contains" [dst: DefInt, s: UseString, part: UseString] [READ] "dst = 1 if part occurs in s, else 0";
            StringIndexOf string_index_of "string.index_of" [dst: DefInt, s: UseString, part: UseString] [READ] "dst = the position of the first scalar of part where it occurs first in s, or -1";
            StringEqBranch string_eq_branch "string.eq.branch" [a: UseString, b: UseString, target: Label16] [READ BRANCH] "jumps if a and b have the same bytes";
            StringNeBranch string_ne_branch "string.ne.branch" [a: UseString, b: UseString, target: Label16] [READ BRANCH] "jumps unless a and b have the same bytes";

            // Lists: growable arrays of raw ints, raw floats, booleans (one byte each) or cells. The storage kind of a list never changes.
            ListLen list_len "list.len" [dst: DefInt, l: UseList] [READ] "dst = the number of elements of l";
            ListShare list_share "list.share" [l: UseCell] [WRITE] "if l is a list: marks that a second lasting reference to it may exist; sticky";
            ListCopy list_copy "list.copy" [dst: DefCell, l: UseList, extra: ImmU16] [ALLOC NEW TRAP] "dst = a new, unshared list of the elements of l, with room for extra more";
            ListSlice list_slice "list.slice" [dst: DefCell, l: UseList, from: UseInt, to: UseInt] [ALLOC NEW TRAP] "dst = a new list of the elements from..to of l; negative positions count from the end, then both are clamped";
            ListCut list_cut "list.cut" [dst: DefCell, l: UseList, from: UseInt, to: UseInt] [ALLOC WRITE OWN TRAP] "dst = the elements from..to of l, as list.slice says: l itself, cut, where l is not marked shared, else a new, unshared list";
            ListExtend list_extend "list.extend" [dst: DefCell, l: UseList, other: UseList] [ALLOC WRITE OWN GROW TRAP] "dst = l with the elements of other (of one storage kind) behind it: l itself where l is not marked shared, else a new, unshared list, and lists that are elements of l are marked";
            ListConcat list_concat "list.concat" [dst: DefCell, a: UseList, b: UseList] [ALLOC NEW TRAP] "dst = a new list of the elements of a, then those of b (of one storage kind)";
            ListIntNew list_int_new "list.int.new" [dst: DefListInt, capacity: ImmU32] [ALLOC NEW TRAP] "dst = an empty list with room for capacity elements";
            ListIntGet list_int_get "list.int.get" [dst: DefInt, l: UseListInt, i: UseInt] [READ TRAP] "dst = l[i]; traps index-out-of-range";
            ListIntGetRel list_int_get_rel "list.int.get_rel" [dst: DefInt, l: UseListInt, i: UseInt] [READ TRAP] "as get; a negative i counts from the end";
            ListIntSet list_int_set "list.int.set" [l: UseListInt, i: UseInt, value: UseInt] [WRITE TRAP] "l[i] = value; traps index-out-of-range";
            ListIntSetRel list_int_set_rel "list.int.set_rel" [l: UseListInt, i: UseInt, value: UseInt] [WRITE TRAP] "as set; a negative i counts from the end";
            ListIntPush list_int_push "list.int.push" [l: UseListInt, value: UseInt] [ALLOC WRITE OWN GROW TRAP] "appends value to l in place";
            ListIntIndexOf list_int_index_of "list.int.index_of" [dst: DefInt, l: UseListInt, value: UseInt] [READ] "dst = the position of the first element that is the value, or -1";
            ListIntAppend list_int_append "list.int.append" [dst: DefCell, l: UseListInt, value: UseInt] [ALLOC WRITE OWN GROW TRAP] "dst = l with value at its end: l itself where l is not marked shared, else a new, unshared list";
            ListFloatNew list_float_new "list.float.new" [dst: DefListFloat, capacity: ImmU32] [ALLOC NEW TRAP] "dst = an empty list with room for capacity elements";
            ListFloatGet list_float_get "list.float.get" [dst: DefFloat, l: UseListFloat, i: UseInt] [READ TRAP] "dst = l[i]; traps index-out-of-range";
            ListFloatGetRel list_float_get_rel "list.float.get_rel" [dst: DefFloat, l: UseListFloat, i: UseInt] [READ TRAP] "as get; a negative i counts from the end";
            ListFloatSet list_float_set "list.float.set" [l: UseListFloat, i: UseInt, value: UseFloat] [WRITE TRAP] "l[i] = value; traps index-out-of-range";
            ListFloatSetRel list_float_set_rel "list.float.set_rel" [l: UseListFloat, i: UseInt, value: UseFloat] [WRITE TRAP] "as set; a negative i counts from the end";
            ListFloatPush list_float_push "list.float.push" [l: UseListFloat, value: UseFloat] [ALLOC WRITE OWN GROW TRAP] "appends value to l in place";
            ListFloatAppend list_float_append "list.float.append" [dst: DefCell, l: UseListFloat, value: UseFloat] [ALLOC WRITE OWN GROW TRAP] "dst = l with value at its end: l itself where l is not marked shared, else a new, unshared list";
            ListBoolNew list_bool_new "list.bool.new" [dst: DefListBool, capacity: ImmU32] [ALLOC NEW TRAP] "dst = an empty list with room for capacity elements";
            ListBoolGet list_bool_get "list.bool.get" [dst: DefInt, l: UseListBool, i: UseInt] [READ TRAP] "dst = l[i]; traps index-out-of-range";
            ListBoolGetRel list_bool_get_rel "list.bool.get_rel" [dst: DefInt, l: UseListBool, i: UseInt] [READ TRAP] "as get; a negative i counts from the end";
            ListBoolSet list_bool_set "list.bool.set" [l: UseListBool, i: UseInt, value: UseInt] [WRITE TRAP] "l[i] = value; traps index-out-of-range";
            ListBoolSetRel list_bool_set_rel "list.bool.set_rel" [l: UseListBool, i: UseInt, value: UseInt] [WRITE TRAP] "as set; a negative i counts from the end";
            ListBoolPush list_bool_push "list.bool.push" [l: UseListBool, value: UseInt] [ALLOC WRITE OWN GROW TRAP] "appends value to l in place";
            ListBoolAppend list_bool_append "list.bool.append" [dst: DefCell, l: UseListBool, value: UseInt] [ALLOC WRITE OWN GROW TRAP] "dst = l with value at its end: l itself where l is not marked shared, else a new, unshared list";
            ListCellNew list_cell_new "list.cell.new" [dst: DefCell, capacity: ImmU16, ty: Type] [ALLOC NEW TRAP] "dst = an empty list of the list.cell type, with room for capacity elements; the object remembers its element type, so that casts are checked";
            ListCellGet list_cell_get "list.cell.get" [dst: DefCell, l: UseListCell, i: UseInt] [READ TRAP] "dst = l[i]; traps index-out-of-range";
            ListCellGetRel list_cell_get_rel "list.cell.get_rel" [dst: DefCell, l: UseListCell, i: UseInt] [READ TRAP] "as get; a negative i counts from the end";
            ListCellSet list_cell_set "list.cell.set" [l: UseListCell, i: UseInt, value: UseCell] [WRITE TRAP] "l[i] = value; traps index-out-of-range";
            ListCellSetRel list_cell_set_rel "list.cell.set_rel" [l: UseListCell, i: UseInt, value: UseCell] [WRITE TRAP] "as set; a negative i counts from the end";
            ListCellPush list_cell_push "list.cell.push" [l: UseListCell, value: UseCell] [ALLOC WRITE OWN GROW TRAP] "appends value to l in place";
            ListStringIndexOf list_string_index_of "list.string.index_of" [dst: DefInt, l: UseListCell, text: UseString] [READ] "dst = the position of the first element that is a string with the same text, or -1";
            ListCellAppend list_cell_append "list.cell.append" [dst: DefCell, l: UseListCell, value: UseCell] [ALLOC WRITE OWN GROW TRAP] "dst = l with value at its end: l itself where l is not marked shared, else a new, unshared list, and lists in it are marked";

            // Maps: the key policy and the order are part of the map; values are cells.
            MapNew map_new "map.new" [dst: DefCell, capacity: ImmU16, ty: Type] [ALLOC TRAP] "dst = an empty map of the map type, with room for capacity entries";
            MapLen map_len "map.len" [dst: DefInt, m: UseMap] [READ] "dst = the number of entries of m";
            MapKeys map_keys "map.keys" [dst: DefCell, m: UseMap] [ALLOC NEW TRAP] "dst = a new list of the keys in the map's order: list.int for int keys, else list.cell";
            MapValues map_values "map.values" [dst: DefCell, m: UseMap] [ALLOC NEW TRAP] "dst = a new list.cell of the values in the map's order";
            MapIntGet map_int_get "map.int.get" [dst: DefCell, m: UseMapInt, key: UseInt] [READ] "dst = the value at key, or nil";
            MapIntHas map_int_has "map.int.has" [dst: DefInt, m: UseMapInt, key: UseInt] [READ] "dst = 1 if m has the key, else 0";
            MapIntSet map_int_set "map.int.set" [m: UseMapInt, key: UseInt, value: UseCell] [ALLOC WRITE TRAP] "inserts or replaces the value at key";
            MapIntRemove map_int_remove "map.int.remove" [m: UseMapInt, key: UseInt] [WRITE] "removes the key where it is present";
            MapStringGet map_string_get "map.string.get" [dst: DefCell, m: UseMapString, key: UseString] [READ] "dst = the value at key, or nil";
            MapStringHas map_string_has "map.string.has" [dst: DefInt, m: UseMapString, key: UseString] [READ] "dst = 1 if m has the key, else 0";
            MapStringSet map_string_set "map.string.set" [m: UseMapString, key: UseString, value: UseCell] [ALLOC WRITE TRAP] "inserts or replaces the value at key";
            MapStringRemove map_string_remove "map.string.remove" [m: UseMapString, key: UseString] [WRITE] "removes the key where it is present";
            MapCellGet map_cell_get "map.cell.get" [dst: DefCell, m: UseMapCell, key: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = the value at key, or nil";
            MapCellHas map_cell_has "map.cell.has" [dst: DefInt, m: UseMapCell, key: UseCell, policy: Policy, feedback: Feedback] [CALL] "dst = 1 if m has the key, else 0";
            MapCellSet map_cell_set "map.cell.set" [m: UseMapCell, key: UseCell, value: UseCell, policy: Policy, feedback: Feedback] [CALL] "inserts or replaces the value at key";
            MapCellRemove map_cell_remove "map.cell.remove" [m: UseMapCell, key: UseCell, policy: Policy, feedback: Feedback] [CALL] "removes the key where it is present";

            // Records: fixed layouts, unboxed fields. A record of a union carries the tag of its variant.
            RecordNew record_new "record.new" [dst: DefCell, record: RecordId] [ALLOC TRAP] "dst = a new record; its fields stand in the window: raw fields in order, then cell fields in order, as parameters of a call would";
            RecordConst record_const "record.const" [dst: DefCell, record: RecordId] [READ] "dst = the record of a type without fields: one object per instance and type";
            RecordIntGet record_int_get "record.int.get" [dst: DefInt, r: UseRecord, field: Field] [READ] "dst = r.field";
            RecordIntSet record_int_set "record.int.set" [r: UseRecord, field: Field, value: UseInt] [WRITE] "r.field = value";
            RecordFloatGet record_float_get "record.float.get" [dst: DefFloat, r: UseRecord, field: Field] [READ] "dst = r.field";
            RecordFloatSet record_float_set "record.float.set" [r: UseRecord, field: Field, value: UseFloat] [WRITE] "r.field = value";
            RecordCellGet record_cell_get "record.cell.get" [dst: DefCell, r: UseRecord, field: Field] [READ] "dst = r.field";
            RecordCellSet record_cell_set "record.cell.set" [r: UseRecord, field: Field, value: UseCell] [WRITE] "r.field = value";
            RecordCopy record_copy "record.copy" [dst: DefCell, r: UseRecord] [ALLOC TRAP] "dst = a new record with the fields of r";
            RecordTag record_tag "record.tag" [dst: DefInt, r: UseUnion] [READ] "dst = the variant tag of r";

            // Closures and captured-variable boxes.
            ClosureNew closure_new "closure.new" [dst: DefCell, callee: FuncId] [ALLOC TRAP] "dst = a closure of the function; its captures stand in the window as cells";
            CaptureGet capture_get "capture.get" [dst: DefCell, index: ImmU16] [READ] "dst = capture index of the closure that runs: the first cell parameter";
            RefIntNew ref_int_new "ref.int.new" [dst: DefRefInt, a: UseInt] [ALLOC TRAP] "dst = a new box that holds a";
            RefIntGet ref_int_get "ref.int.get" [dst: DefInt, r: UseRefInt] [READ] "dst = what the box holds";
            RefIntSet ref_int_set "ref.int.set" [r: UseRefInt, a: UseInt] [WRITE] "the box holds a";
            RefFloatNew ref_float_new "ref.float.new" [dst: DefRefFloat, a: UseFloat] [ALLOC TRAP] "dst = a new box that holds a";
            RefFloatGet ref_float_get "ref.float.get" [dst: DefFloat, r: UseRefFloat] [READ] "dst = what the box holds";
            RefFloatSet ref_float_set "ref.float.set" [r: UseRefFloat, a: UseFloat] [WRITE] "the box holds a";
            RefCellNew ref_cell_new "ref.cell.new" [dst: DefCell, a: UseCell, ty: Type] [ALLOC TRAP] "dst = a new box of the ref.cell type that holds a; the object remembers its type, so that casts are checked";
            RefCellGet ref_cell_get "ref.cell.get" [dst: DefCell, r: UseRefCell] [READ] "dst = what the box holds";
            RefCellSet ref_cell_set "ref.cell.set" [r: UseRefCell, a: UseCell] [WRITE] "the box holds a";

            // Globals.
            GlobalIntGet global_int_get "global.int.get" [dst: DefInt, global: GlobalId] [READ] "dst = global";
            GlobalIntSet global_int_set "global.int.set" [a: UseInt, global: GlobalId] [WRITE] "global = a";
            GlobalFloatGet global_float_get "global.float.get" [dst: DefFloat, global: GlobalId] [READ] "dst = global";
            GlobalFloatSet global_float_set "global.float.set" [a: UseFloat, global: GlobalId] [WRITE] "global = a";
            GlobalCellGet global_cell_get "global.cell.get" [dst: DefCell, global: GlobalId] [READ TRAP] "dst = global; traps uninitialized where it was never set";
            GlobalCellSet global_cell_set "global.cell.set" [a: UseCell, global: GlobalId] [WRITE] "global = a";

            // Tuples: objects of a front-end kind with a variable tail of cells and header bits that the language owns.
            TupleNew tuple_new "tuple.new" [dst: DefCell, count: ImmU16, kind: ImmU16] [ALLOC TRAP] "dst = a tuple of the kind; its count cells stand in the window";
            TupleLen tuple_len "tuple.len" [dst: DefInt, t: UseTuple] [READ] "dst = the number of cells of t";
            TupleGet tuple_get "tuple.get" [dst: DefCell, t: UseTuple, i: UseInt] [READ TRAP] "dst = cell i of t; traps index-out-of-range";
            TupleSet tuple_set "tuple.set" [t: UseTuple, i: UseInt, value: UseCell] [WRITE TRAP] "cell i of t = value; traps index-out-of-range";
            TupleBits tuple_bits "tuple.bits" [dst: DefInt, t: UseTuple] [READ] "dst = the language's header bits of t";
            TupleSetBits tuple_set_bits "tuple.set_bits" [t: UseTuple, bits: ImmU16] [WRITE] "the language's header bits of t |= bits";

            // The trail: an undo list of stores.
            TrailMark trail_mark "trail.mark" [dst: DefInt] [READ] "dst = the length of the trail";
            TrailUndo trail_undo "trail.undo" [mark: UseInt] [WRITE TRAP] "undoes the stores behind the mark, the last first; traps invalid-argument for a mark beyond the end";
            RefCellSetTrailed ref_cell_set_trailed "ref.cell.set_trailed" [r: UseRefCell, a: UseCell] [WRITE TRAP] "the box holds a; what it held goes onto the trail";
            RecordCellSetTrailed record_cell_set_trailed "record.cell.set_trailed" [r: UseRecord, field: Field, value: UseCell] [WRITE TRAP] "r.field = value; what it held goes onto the trail";
            TupleSetTrailed tuple_set_trailed "tuple.set_trailed" [t: UseTuple, i: UseInt, value: UseCell] [WRITE TRAP] "cell i of t = value; what it held goes onto the trail; traps index-out-of-range";
        }
    };
}

/// What an op may do beyond writing its destination. A set of flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Effects(pub u16);

impl Effects {
    /// No effect at all and no dependence on memory: may be moved, merged and dropped.
    pub const PURE: Effects = Effects(0);
    /// Reads memory that others may write.
    pub const READ: Effects = Effects(1);
    /// Writes memory that others may read.
    pub const WRITE: Effects = Effects(2);
    /// Allocates, so it may collect: every cell slot must be valid, and heap objects may have moved after it.
    pub const ALLOC: Effects = Effects(4);
    /// May trap.
    pub const TRAP: Effects = Effects(8);
    /// Runs guest or host code: may do everything.
    pub const CALL: Effects = Effects(16);
    /// May continue at a target operand (or, with a switch operand, at a target of the table).
    pub const BRANCH: Effects = Effects(32);
    /// Charges one unit of the budget. With `BRANCH`: leads to a `loop_header`, and is the only kind that may lead
    /// backwards.
    pub const LOOP: Effects = Effects(64);
    /// Never continues with the next instruction.
    pub const END: Effects = Effects(128);
    /// Leaves the function with a result.
    pub const RETURN: Effects = Effects(256);
    /// With `WRITE`: writes the object of the first operand that is read, and its buffer, alone. A cell that is defined is that object or
    /// a new one.
    pub const OWN: Effects = Effects(512);
    /// The object that is defined is a new one.
    pub const NEW: Effects = Effects(1024);
    /// With `OWN`: the object is a list, which has one more element then, at its end.
    pub const GROW: Effects = Effects(4096);
    /// Stands for nothing in code whose values are in registers: moves, constants, and what only leads on. Else as the other flags say.
    pub const FREE: Effects = Effects(2048);

    /// Whether all flags of `other` are set here.
    pub const fn has(self, other: Effects) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the op has no effect at all and does not depend on memory.
    pub const fn is_pure(self) -> bool {
        self.0 & !Effects::FREE.0 == 0
    }

    /// Whether the op calls and returns what the call gives, in the frame of the caller.
    pub const fn is_tail_call(self) -> bool {
        self.has(Effects(Effects::CALL.0 | Effects::END.0))
    }

    /// Whether the op may run the collector.
    pub const fn collects(self) -> bool {
        self.0 & (Effects::ALLOC.0 | Effects::CALL.0) != 0
    }

    /// Whether the op may raise a trap or an exception.
    pub const fn may_trap(self) -> bool {
        self.0 & (Effects::TRAP.0 | Effects::CALL.0 | Effects::ALLOC.0) != 0
    }
}

/// Whether an operand register is written, read, or both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Written.
    Def,
    /// Read.
    Use,
    /// Read, then written.
    Update,
}

/// Which heap types a cell operand may declare. For definitions: which type the op produces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Constraint {
    /// No cell operand.
    None,
    /// Any cell but `results`; what a definition produces is a rule of the op in the verifier.
    Cell,
    /// Any cell, `results` included; a definition produces `results`.
    Results,
    /// An interned name.
    Name,
    /// A string.
    String,
    /// A list of any storage kind.
    List,
    /// A list of raw ints.
    ListInt,
    /// A list of raw floats.
    ListFloat,
    /// A list of booleans.
    ListBool,
    /// A list of cells.
    ListCell,
    /// A map with any key policy.
    Map,
    /// A map with int keys.
    MapInt,
    /// A map with string keys.
    MapString,
    /// A map with keys by value, by text or by protocol.
    MapCell,
    /// A record of a known layout.
    Record,
    /// A record of a known layout or a member of a union.
    Union,
    /// A closure of a known signature.
    Closure,
    /// A box of a raw int.
    RefInt,
    /// A box of a raw float.
    RefFloat,
    /// A box of a cell.
    RefCell,
    /// A tuple of a front-end kind.
    Tuple,
}

macro_rules! operand_kinds {
    ($($(#[$doc:meta])* $name:ident $width:literal $reg:expr;)*) => {
        /// What an operand is: a register with role, bank and required heap type, or an immediate.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum OperandKind { $($(#[$doc])* $name,)* }
        impl OperandKind {
            /// Every kind.
            pub const ALL: &'static [OperandKind] = &[$(OperandKind::$name),*];
            /// How many 16-bit units it takes in the instruction words: 1 or 2.
            pub const fn units(self) -> usize { match self { $(OperandKind::$name => $width,)* } }
            /// Role, bank and constraint where it is a register.
            pub const fn register(self) -> Option<(Role, Bank, Constraint)> { match self { $(OperandKind::$name => $reg,)* } }
            /// The name in op rows.
            pub const fn name(self) -> &'static str { match self { $(OperandKind::$name => stringify!($name),)* } }
        }
    };
}

operand_kinds! {
    /// Written int.
    DefInt 1 Some((Role::Def, Bank::Int, Constraint::None));
    /// Written float.
    DefFloat 1 Some((Role::Def, Bank::Float, Constraint::None));
    /// Written cell; the type it gets is a rule of the op.
    DefCell 1 Some((Role::Def, Bank::Cell, Constraint::Cell));
    /// Written cell: `results`.
    DefResults 1 Some((Role::Def, Bank::Cell, Constraint::Results));
    /// Written cell: a string.
    DefString 1 Some((Role::Def, Bank::Cell, Constraint::String));
    /// Written cell: a name.
    DefName 1 Some((Role::Def, Bank::Cell, Constraint::Name));
    /// Written cell: a list of raw ints.
    DefListInt 1 Some((Role::Def, Bank::Cell, Constraint::ListInt));
    /// Written cell: a list of raw floats.
    DefListFloat 1 Some((Role::Def, Bank::Cell, Constraint::ListFloat));
    /// Written cell: a list of booleans.
    DefListBool 1 Some((Role::Def, Bank::Cell, Constraint::ListBool));
    /// Written cell: a box of a raw int.
    DefRefInt 1 Some((Role::Def, Bank::Cell, Constraint::RefInt));
    /// Written cell: a box of a raw float.
    DefRefFloat 1 Some((Role::Def, Bank::Cell, Constraint::RefFloat));
    /// Read int.
    UseInt 1 Some((Role::Use, Bank::Int, Constraint::None));
    /// Read float.
    UseFloat 1 Some((Role::Use, Bank::Float, Constraint::None));
    /// Read and written int.
    UpdInt 1 Some((Role::Update, Bank::Int, Constraint::None));
    /// Read cell of any type but `results`.
    UseCell 1 Some((Role::Use, Bank::Cell, Constraint::Cell));
    /// Read cell of any type.
    UseResults 1 Some((Role::Use, Bank::Cell, Constraint::Results));
    /// Read string.
    UseString 1 Some((Role::Use, Bank::Cell, Constraint::String));
    /// Read list.
    UseList 1 Some((Role::Use, Bank::Cell, Constraint::List));
    /// Read list of raw ints.
    UseListInt 1 Some((Role::Use, Bank::Cell, Constraint::ListInt));
    /// Read list of raw floats.
    UseListFloat 1 Some((Role::Use, Bank::Cell, Constraint::ListFloat));
    /// Read list of booleans.
    UseListBool 1 Some((Role::Use, Bank::Cell, Constraint::ListBool));
    /// Read list of cells.
    UseListCell 1 Some((Role::Use, Bank::Cell, Constraint::ListCell));
    /// Read map.
    UseMap 1 Some((Role::Use, Bank::Cell, Constraint::Map));
    /// Read map with int keys.
    UseMapInt 1 Some((Role::Use, Bank::Cell, Constraint::MapInt));
    /// Read map with string keys.
    UseMapString 1 Some((Role::Use, Bank::Cell, Constraint::MapString));
    /// Read map with other keys.
    UseMapCell 1 Some((Role::Use, Bank::Cell, Constraint::MapCell));
    /// Read record of a known layout.
    UseRecord 1 Some((Role::Use, Bank::Cell, Constraint::Record));
    /// Read record of a known layout or of a union.
    UseUnion 1 Some((Role::Use, Bank::Cell, Constraint::Union));
    /// Read closure of a known signature.
    UseClosure 1 Some((Role::Use, Bank::Cell, Constraint::Closure));
    /// Read box of a raw int.
    UseRefInt 1 Some((Role::Use, Bank::Cell, Constraint::RefInt));
    /// Read box of a raw float.
    UseRefFloat 1 Some((Role::Use, Bank::Cell, Constraint::RefFloat));
    /// Read box of a cell.
    UseRefCell 1 Some((Role::Use, Bank::Cell, Constraint::RefCell));
    /// Read tuple.
    UseTuple 1 Some((Role::Use, Bank::Cell, Constraint::Tuple));
    /// A signed 16-bit immediate.
    ImmI16 1 None;
    /// An unsigned 16-bit immediate.
    ImmU16 1 None;
    /// A signed 32-bit immediate.
    ImmI32 2 None;
    /// An unsigned 32-bit immediate.
    ImmU32 2 None;
    /// A branch target, 32 bits.
    Label 2 None;
    /// A branch target, 16 bits; the builder inverts the branch over a jump where it is too far.
    Label16 1 None;
    /// An entry of the function's constant table.
    Const 2 None;
    /// An entry of the function's table of cell constants.
    CellConst 2 None;
    /// A frame slot by its wide number, read.
    Slot 2 None;
    /// A frame slot by its wide number, written.
    SlotDef 2 None;
    /// A switch table of the function.
    Switch 2 None;
    /// A function of the module.
    FuncId 2 None;
    /// A host function of the module.
    HostId 2 None;
    /// A C function of the module.
    CFuncId 2 None;
    /// A string constant of the module.
    StringId 2 None;
    /// An interned name of the module.
    NameId 2 None;
    /// A global of the module.
    GlobalId 2 None;
    /// A record layout of the module.
    RecordId 2 None;
    /// A cell type: the type id shifted left by one, and the nullable flag.
    Type 2 None;
    /// A field of the record that the op's record operand declares.
    Field 1 None;
    /// A watch of the module.
    WatchId 2 None;
    /// A number policy or call policy: see [`crate::types`] and [`crate::module::NumberPolicy`].
    Policy 1 None;
    /// Which values are false: see [`crate::module::TruthMask`].
    Mask 1 None;
    /// A reserved immediate: see [`crate::module::Immediate`].
    Immediate 1 None;
    /// A trap code: see [`crate::module::TrapCode`].
    TrapCode 1 None;
    /// A feedback site of the module.
    Feedback 2 None;
}

/// One operand in a row: its name and kind.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// The name that the doc line uses.
    pub name: &'static str,
    /// What it is.
    pub kind: OperandKind,
}

/// What one row says, with the layout derived from it.
#[derive(Debug)]
pub struct OpInfo {
    /// The op.
    pub op: Op,
    /// The name in the text format.
    pub mnemonic: &'static str,
    /// The operands in order.
    pub operands: &'static [Operand],
    /// What it may do.
    pub effects: Effects,
    /// The meaning, as an equation.
    pub doc: &'static str,
    /// For each operand the 16-bit unit where it starts; unit 0 is the opcode.
    pub layout: [u8; MAX_OPERANDS],
    /// The number of 8-byte words: 1 or 2.
    pub words: u8,
}

/// The largest number of operands of an op.
pub const MAX_OPERANDS: usize = 6;

/// Packs operands into 16-bit units behind the opcode, in order; 32-bit operands start at an even unit. Where a 32-bit
/// operand leaves a unit free, nothing fills it, so the place depends on the row alone.
const fn layout(operands: &[Operand]) -> ([u8; MAX_OPERANDS], u8) {
    assert!(operands.len() <= MAX_OPERANDS, "an op has too many operands");
    let mut places = [0u8; MAX_OPERANDS];
    let mut unit = 1;
    let mut i = 0;
    while i < operands.len() {
        let width = operands[i].kind.units();
        if width == 2 && unit % 2 == 1 {
            unit += 1;
        }
        places[i] = unit as u8;
        unit += width;
        i += 1;
    }
    assert!(unit <= 8, "an op does not fit two words");
    (places, if unit <= 4 { 1 } else { 2 })
}

macro_rules! define_ops {
    ($($variant:ident $method:ident $mnemonic:literal [$($name:ident: $kind:ident),*] [$($effect:ident)*] $doc:literal;)*) => {
        /// An operation. The meaning of each is the doc line of its row.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Op { $(#[doc = $doc] $variant,)* }

        impl Op {
            /// Every op, in the order of their numbers.
            pub const ALL: &'static [Op] = &[$(Op::$variant),*];
        }

        static INFOS: [OpInfo; Op::ALL.len()] = [$({
            const OPERANDS: &[Operand] = &[$(Operand { name: stringify!($name), kind: OperandKind::$kind }),*];
            const LAYOUT: ([u8; MAX_OPERANDS], u8) = layout(OPERANDS);
            OpInfo {
                op: Op::$variant,
                mnemonic: $mnemonic,
                operands: OPERANDS,
                effects: Effects(0 $(| Effects::$effect.0)*),
                doc: $doc,
                layout: LAYOUT.0,
                words: LAYOUT.1,
            }
        }),*];
    };
}
for_each_op!(define_ops);

impl Op {
    /// The row of the op.
    #[inline]
    pub fn info(self) -> &'static OpInfo {
        &INFOS[self as usize]
    }

    /// The op with this number.
    #[inline]
    pub fn from_number(number: u16) -> Option<Op> {
        Op::ALL.get(usize::from(number)).copied()
    }

    /// The op with this mnemonic.
    pub fn from_mnemonic(mnemonic: &str) -> Option<Op> {
        use std::sync::OnceLock;
        static INDEX: OnceLock<std::collections::HashMap<&'static str, Op>> = OnceLock::new();
        INDEX.get_or_init(|| INFOS.iter().map(|i| (i.mnemonic, i.op)).collect()).get(mnemonic).copied()
    }

    /// What the op may do.
    #[inline]
    pub fn effects(self) -> Effects {
        self.info().effects
    }

    /// The number of 8-byte words of an instruction with this op.
    #[inline]
    pub fn words(self) -> usize {
        self.info().words as usize
    }

    /// Whether the op keeps feedback.
    pub fn has_feedback(self) -> bool {
        self.info().operands.iter().any(|o| o.kind == OperandKind::Feedback)
    }
}

/// The reference page of the bytecode, in Markdown: one line per op, generated from the rows.
pub fn reference() -> String {
    use std::fmt::Write;
    let mut page = String::from("# Bytecode reference\n\nGenerated from the op list; do not edit.\n\n");
    page.push_str(
        "Effects: R reads memory, W writes memory (with O: the first operand's alone; with G: a list's, which grows), A allocates (may collect), N what it gives is new, ",
    );
    page.push_str("T may trap, C calls, B branches, L charges the budget, E ends the block, F stands for nothing where values are in registers.\n\n");
    page.push_str("| op | operands | words | effects | meaning |\n|---|---|---|---|---|\n");
    for info in &INFOS {
        let operands: Vec<String> =
            info.operands.iter().map(|o| format!("{}: {}", o.name, o.kind.name())).collect();
        let letters = [
            (Effects::READ, 'R'),
            (Effects::WRITE, 'W'),
            (Effects::OWN, 'O'),
            (Effects::GROW, 'G'),
            (Effects::ALLOC, 'A'),
            (Effects::NEW, 'N'),
            (Effects::TRAP, 'T'),
            (Effects::CALL, 'C'),
            (Effects::BRANCH, 'B'),
            (Effects::LOOP, 'L'),
            (Effects::END, 'E'),
            (Effects::FREE, 'F'),
        ];
        let effects: String = letters.iter().filter(|(e, _)| info.effects.has(*e)).map(|(_, c)| *c).collect();
        let doc = info.doc.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            info.mnemonic,
            operands.join(", "),
            info.words,
            effects,
            doc
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_mnemonics_lead_back_to_the_op() {
        for (i, &op) in Op::ALL.iter().enumerate() {
            assert_eq!(op as usize, i);
            assert_eq!(Op::from_number(i as u16), Some(op));
            assert_eq!(Op::from_mnemonic(op.info().mnemonic), Some(op));
        }
    }

    #[test]
    fn layout_aligns_wide_operands() {
        // dst at unit 1, the 32-bit id at units 2 and 3: one word.
        assert_eq!(Op::CallInt.info().layout[..2], [1, 2]);
        assert_eq!(Op::CallInt.words(), 1);
        // dst, a, b, then policy at 4 and feedback at 6: two words.
        assert_eq!(Op::CellAdd.info().layout[..5], [1, 2, 3, 4, 6]);
        assert_eq!(Op::CellAdd.words(), 2);
    }

    #[test]
    fn only_ops_that_charge_the_budget_are_named_loops() {
        for &op in Op::ALL {
            let info = op.info();
            assert_eq!(info.effects.has(Effects::LOOP), info.mnemonic.contains("loop"), "{}", info.mnemonic);
        }
    }
}
