/* Stencils of the scalar ops: int and float arithmetic, comparisons, branches, constants and moves. */
#include "stencil.h"

/* Between slots and pinned registers. */
D(load_int, v = SLOT(S0))
E(load_float, v = FSLOT(S0))
#define STORE_INT(a_, name)                                                                                            \
    STENCIL(name##__d##a_) {                                                                                           \
        BEGIN SET_SLOT(S0, D##a_);                                                                                     \
        GO(CONT);                                                                                                      \
    }
EACH_D(STORE_INT, store_int)
#define STORE_FLOAT(a_, name)                                                                                          \
    STENCIL(name##__e##a_) {                                                                                           \
        BEGIN SET_FSLOT(S0, E##a_);                                                                                    \
        GO(CONT);                                                                                                      \
    }
EACH_E(STORE_FLOAT, store_float)

/* Moves and constants. */
DI(int_move, v = a)
EX(float_move, v = a)
PLAIN(cell_move, SET_SLOT(S0, SLOT(S1)))
D(int_const, v = immediate())
D(int_zero, v = 0)
D(int_const_wide, v = WIDE(Q0))
E(float_const, int64_t bits = WIDE(Q0); __builtin_memcpy(&v, &bits, 8))
E(float_zero, v = 0.0)
PLAIN(cell_const, SET_SLOT(S0, WIDE(Q0)))
PLAIN(constant, SET_SLOT(S0, AT(int64_t, AT(char *, ctx, CTX_CONSTANTS), SIGNED(S1))))

/* Int arithmetic. */
#define UNSIGNED(op) v = (int64_t)((uint64_t)a op(uint64_t) b)
DII(int_add, UNSIGNED(+))
DII(int_sub, UNSIGNED(-))
DII(int_mul, UNSIGNED(*))
DII(int_and, v = a & b)
DII(int_or, v = a | b)
DII(int_xor, v = a ^ b)
DII(int_shl, v = (int64_t)((uint64_t)a << (b & 63)))
DII(int_shr_s, v = a >> (b & 63))
DII(int_shr_u, v = (int64_t)((uint64_t)a >> (b & 63)))
DII(int_min, v = a < b ? a : b)
DII(int_max, v = a < b ? b : a)
DII(int_add_checked, COLD_IF(__builtin_add_overflow(a, b, &v)))
DII(int_sub_checked, COLD_IF(__builtin_sub_overflow(a, b, &v)))
DII(int_mul_checked, COLD_IF(__builtin_mul_overflow(a, b, &v)))
/* 0 and -1 as divisors go to the slow path. */
DII(int_div, COLD_IF((uint64_t)b + 1 <= 1); v = a / b)
DII(int_rem, COLD_IF((uint64_t)b + 1 <= 1); v = a % b)

DI(int_add_imm, v = a; ADD_HOLE(v))
DI(int_add_imm_checked, int over; v = a; ADD_HOLE_CHECKED(v, over); COLD_IF(over))
DI(int_mul_imm_checked, int over; MUL_HOLE_CHECKED(v, a, over); COLD_IF(over))
DI(int_and_imm, v = a; AND_HOLE(v))
DI(int_div_imm, v = a / immediate())
DI(int_rem_imm, v = a % immediate())
/* By a power of two: what rounds towards zero is added first. */
DI(int_shl_imm, v = a; SHL_HOLE(v))
DI(int_shr_s_imm, v = a; SAR_HOLE(v))
DI(int_div_pow2, int64_t bias = a >> 63; AND_HOLE(bias); v = a + bias; SAR_HOLE(v))
DI(int_rem_pow2, int64_t bias = a >> 63; AND_HOLE(bias); v = a + bias; AND_HOLE(v); v -= bias)
DI(int_neg, v = (int64_t)(0 - (uint64_t)a))
DI(int_neg_checked, COLD_IF(__builtin_sub_overflow((int64_t)0, a, &v)))
DI(int_abs_checked, COLD_IF(a == INT64_MIN); v = a < 0 ? -a : a)
DI(int_extend32, v = (int32_t)a)
DI(bool_not, v = a == 0)

/* Int comparisons as values. */
DII(int_eq, v = a == b)
DII(int_ne, v = a != b)
DII(int_lt, v = a < b)
DII(int_le, v = a <= b)
#define COMPARE(cc, op) COMPARE_HOLE(a, cc, op, yes)
DI(int_eq_imm, int yes; COMPARE("e", ==); v = yes)
DI(int_ne_imm, int yes; COMPARE("ne", !=); v = yes)
DI(int_lt_imm, int yes; COMPARE("l", <); v = yes)
DI(int_le_imm, int yes; COMPARE("le", <=); v = yes)
DI(int_gt_imm, int yes; COMPARE("g", >); v = yes)
DI(int_ge_imm, int yes; COMPARE("ge", >=); v = yes)

/* Int branches. */
I(if_branch, if (a != 0) GO(TAKEN))
I(unless_branch, if (a == 0) GO(TAKEN))
II(int_eq_branch, if (a == b) GO(TAKEN))
II(int_ne_branch, if (a != b) GO(TAKEN))
II(int_lt_branch, if (a < b) GO(TAKEN))
II(int_le_branch, if (a <= b) GO(TAKEN))
I(int_eq_imm_branch, int yes; COMPARE("e", ==); if (yes) GO(TAKEN))
I(int_ne_imm_branch, int yes; COMPARE("ne", !=); if (yes) GO(TAKEN))
I(int_lt_imm_branch, int yes; COMPARE("l", <); if (yes) GO(TAKEN))
I(int_le_imm_branch, int yes; COMPARE("le", <=); if (yes) GO(TAKEN))
I(int_gt_imm_branch, int yes; COMPARE("g", >); if (yes) GO(TAKEN))
I(int_ge_imm_branch, int yes; COMPARE("ge", >=); if (yes) GO(TAKEN))
STENCIL(jump) { BEGIN GO(TAKEN); }

/* Float arithmetic. */
EXX(float_add, v = a + b)
EXX(float_sub, v = a - b)
EXX(float_mul, v = a * b)
EXX(float_div, v = a / b)
EXX(float_div_checked, COLD_IF(b == 0.0); v = a / b)
EXX(float_min, v = b < a ? b : a)
EXX(float_max, v = a < b ? b : a)
EX(float_sqrt, v = __builtin_elementwise_sqrt(a))
#define BITS(x) ({ int64_t bits_; __builtin_memcpy(&bits_, &(x), 8); bits_; })
#define FLOAT(i) ({ int64_t bits_ = (i); double x_; __builtin_memcpy(&x_, &bits_, 8); x_; })
/* Through an int register: a constant in memory would need a relocation. */
#define BARRIER(i) __asm__("" : "+r"(i))
EX(float_neg, int64_t m = INT64_MIN; BARRIER(m); v = FLOAT(BITS(a) ^ m))
EX(float_abs, int64_t m = INT64_MAX; BARRIER(m); v = FLOAT(BITS(a) & m))
EI(float_from_int, v = (double)a)
EI(float_from_bits, v = FLOAT(a))
DX(int_from_bits, v = BITS(a))
/* What does not fit, and the minimum itself, goes to the slow path. */
#ifdef __aarch64__
DX(int_from_float, int64_t m = 0x43E0000000000000; BARRIER(m); COLD_IF(!(__builtin_fabs(a) < FLOAT(m))); v = (int64_t)a)
#else
DX(int_from_float, __asm__("cvttsd2si %1, %0" : "=r"(v) : "x"(a)); COLD_IF(v == INT64_MIN))
#endif

/* Float comparisons as values, of slots alone: rare. */
#define FLOAT_VALUE(name, test) DXX_2(0, 0, 0, name, v = (test)) DXX_2(0, 0, 1, name, v = (test)) DXX_2(0, 0, 2, name, v = (test)) \
    DXX_2(0, 0, 3, name, v = (test)) DXX_2(0, 0, 4, name, v = (test)) DXX_2(0, 0, 5, name, v = (test))
FLOAT_VALUE(float_eq, a == b)
FLOAT_VALUE(float_ne, a != b)
FLOAT_VALUE(float_lt, a < b)
FLOAT_VALUE(float_le, a <= b)

/* Float branches. */
XX(float_eq_branch, if (a == b) GO(TAKEN))
XX(float_ne_branch, if (a != b) GO(TAKEN))
XX(float_lt_branch, if (a < b) GO(TAKEN))
XX(float_le_branch, if (a <= b) GO(TAKEN))
XX(float_not_lt_branch, if (!(a < b)) GO(TAKEN))
XX(float_not_le_branch, if (!(a <= b)) GO(TAKEN))

/* Spilled locals have slots with wide numbers. */
D(load_spilled_int, v = SLOT(S1))
E(load_spilled_float, v = FSLOT(S1))
