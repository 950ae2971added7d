/*
 * What every stencil is written against: the calling convention that keeps the machine state in registers, the holes that
 * the patcher fills, and the places in objects that machine code touches (layout.h, generated from the runtime's list).
 *
 * A stencil is a function that ends in a tail call to CONT, the code of the next instruction, which the patcher places right
 * behind, so the jump disappears. TAKEN is the target of a branch, COLD what happens where the fast path does not apply. All
 * stencils and their continuations have the same parameters, so the state never moves:
 *
 *   r12 context, r13 frame, r14 budget, r15 rdi rsi r8 r9 r11 pinned ints (r0 to r5), xmm0 to xmm7 pinned floats.
 *
 * rdx and rcx are parameters that nobody uses (u0, u1), so that divisions and shifts find them free; rax, rbx, r10 and
 * xmm8 to xmm15 are scratch.
 *
 * Operands: index 0 is the frame slot of a hole, 1 and up are pinned registers. Slot holes: S0 destination, S1 and S2
 * operands. Signed holes are only used where the instruction sign-extends them; the extractor rejects the rest.
 */
#include <stdint.h>

#include "layout.h"

typedef uint64_t result_t;

#define CC __attribute__((preserve_none))
#define PARAMS                                                                                                         \
    char *ctx, char *fp, int64_t budget, int64_t r0, int64_t r1, int64_t r2, int64_t p0, int64_t p1, int64_t r3,       \
        int64_t r4, int64_t r5, double x0, double x1, double x2, double x3, double x4, double x5, double x6, double x7
#define PASS ctx, fp, budget, r0, r1, r2, u0, u1, r3, r4, r5, x0, x1, x2, x3, x4, x5, x6, x7

extern CC result_t CONT(PARAMS);
extern CC result_t TAKEN(PARAMS);
extern CC result_t COLD(PARAMS);

/* Holes: signed 32 bits, unsigned 32 bits, 64 bits (as large data), 8 bits (in asm only). */
extern char S0, S1, S2, S3, S4, S5;
extern char U0, U1;
extern char Q0[1 << 24];

#define STENCIL(name) CC result_t name(PARAMS)
#define BEGIN                                                                                                          \
    int64_t u0, u1;                                                                                                    \
    (void)p0;                                                                                                          \
    (void)p1;
#define GO(where) __attribute__((musttail)) return where(PASS)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD_IF(x)                                                                                                     \
    if (UNLIKELY(x))                                                                                                   \
    GO(COLD)

#define AT(type, base, offset) (*(type *)((char *)(base) + (intptr_t)(offset)))
#ifdef __aarch64__
/*
 * The operands of holes are written out: the immediate of a load or store reaches 32 KB of frame, values are put together
 * from pieces of 16 bits. What is in which register: x20 context, x21 frame, x22 budget, x23 x24 x25 x28 x0 x1 pinned ints,
 * d0 to d7 pinned floats; x26 and x27 are the unused ones. All others are scratch, d8 to d15 among them, but for x18, x19,
 * x29, x30 and sp, which stencils leave alone.
 */
#define FRAME "r"(fp), "m"(*(char(*)[32768])fp)
#define SLOT_AT(hole, offset)                                                                                          \
    ({                                                                                                                 \
        int64_t slot_;                                                                                                 \
        __asm__("ldr %0, [%1, :lo12:" #hole "+%c3]" : "=r"(slot_) : FRAME, "i"(offset));                               \
        slot_;                                                                                                         \
    })
#define SLOT(hole) SLOT_AT(hole, 0)
#define FSLOT(hole)                                                                                                    \
    ({                                                                                                                 \
        double slot_;                                                                                                  \
        __asm__("ldr %d0, [%1, :lo12:" #hole "]" : "=w"(slot_) : FRAME);                                               \
        slot_;                                                                                                         \
    })
#define PTR(hole) ((char *)SLOT(hole))
#define SET_SLOT_AT(hole, offset, value)                                                                               \
    ({                                                                                                                 \
        int64_t set_ = (value);                                                                                        \
        __asm__ volatile("str %x0, [%1, :lo12:" #hole "+%c2]" : : "rZ"(set_), "r"(fp), "i"(offset) : "memory");        \
    })
#define SET_SLOT(hole, value) SET_SLOT_AT(hole, 0, value)
#define SET_FSLOT(hole, value)                                                                                         \
    ({                                                                                                                 \
        double set_ = (value);                                                                                         \
        __asm__ volatile("str %d0, [%1, :lo12:" #hole "]" : : "w"(set_), "r"(fp) : "memory");                          \
    })
#define SET_PTR(hole, value) SET_SLOT(hole, (int64_t)(value))
#define CLEAR_2(hole, offset)                                                                                          \
    SET_SLOT_AT(hole, offset, 0);                                                                                      \
    SET_SLOT_AT(hole, offset + 8, 0)
/* The patcher makes the first instruction a `movn` where the number is negative. */
#define SIGNED(hole)                                                                                                   \
    ({                                                                                                                 \
        int64_t hole_;                                                                                                 \
        __asm__("movz %0, #:abs_g1_s:" #hole "\n\tmovk %0, #:abs_g0_nc:" #hole : "=r"(hole_));                         \
        hole_;                                                                                                         \
    })
#define WIDE(hole)                                                                                                     \
    ({                                                                                                                 \
        int64_t hole_;                                                                                                 \
        __asm__("movz %0, #:abs_g0_nc:" #hole "\n\tmovk %0, #:abs_g1_nc:" #hole "\n\tmovk %0, #:abs_g2_nc:" #hole      \
                "\n\tmovk %0, #:abs_g3:" #hole                                                                         \
                : "=r"(hole_));                                                                                        \
        hole_;                                                                                                         \
    })
/* A count below 64. */
#define COUNT(hole)                                                                                                    \
    ({                                                                                                                 \
        int64_t hole_;                                                                                                 \
        __asm__("movz %0, #:abs_g0:" #hole : "=r"(hole_));                                                             \
        hole_ & 63;                                                                                                    \
    })

#define NUMBER(hole) SIGNED(hole)
static inline __attribute__((always_inline)) int64_t immediate(void) {
    return NUMBER(S2);
}
#define ADD_HOLE(v) v = (int64_t)((uint64_t)(v) + (uint64_t)immediate())
#define ADD_HOLE_CHECKED(v, over) over = __builtin_add_overflow(v, immediate(), &v)
#define MUL_HOLE_CHECKED(v, a, over) over = __builtin_mul_overflow(a, immediate(), &v)
#define AND_HOLE(v) v &= immediate()
#define SHL_HOLE(v) v = (int64_t)((uint64_t)(v) << COUNT(B0))
#define SAR_HOLE(v) v >>= COUNT(B0)
#define COMPARE_HOLE(a, cc, op, yes) yes = (a)op immediate()
#else
#define SLOT_AT(hole, offset) AT(int64_t, fp, (intptr_t)&hole + (offset))
#define SLOT(hole) AT(int64_t, fp, &hole)
#define FSLOT(hole) AT(double, fp, &hole)
#define PTR(hole) AT(char *, fp, &hole)
#define SET_SLOT(hole, value) SLOT(hole) = (value)
#define SET_FSLOT(hole, value) FSLOT(hole) = (value)
#define SET_PTR(hole, value) PTR(hole) = (value)
typedef int64_t pair_t __attribute__((vector_size(16), aligned(8)));
#define CLEAR_2(hole, offset) AT(pair_t, fp, (intptr_t)&hole + (offset)) = (pair_t){0, 0}
#define SIGNED(hole) ((int64_t)(intptr_t)&hole)
#define WIDE(hole) ((int64_t)(intptr_t)&hole)

/* A hole as a value: `mov $hole, %eax` would zero-extend it. */
#define NUMBER(hole)                                                                                                   \
    ({                                                                                                                 \
        int64_t hole_;                                                                                                 \
        __asm__("movq $" #hole ", %0" : "=r"(hole_));                                                                  \
        hole_;                                                                                                         \
    })
static inline __attribute__((always_inline)) int64_t immediate(void) {
    return NUMBER(S2);
}
/* Immediates in asm, since the compiler may put the hole into a register, zero-extended. */
#define ADD_HOLE(v) __asm__("addq $S2, %0" : "+r"(v))
#define ADD_HOLE_CHECKED(v, over) __asm__("addq $S2, %0" : "+r"(v), "=@cco"(over))
#define MUL_HOLE_CHECKED(v, a, over) __asm__("imulq $S2, %2, %0" : "=r"(v), "=@cco"(over) : "r"(a))
#define AND_HOLE(v) __asm__("andq $S2, %0" : "+r"(v))
/* The shift count is a hole of 8 bits. */
#define SHL_HOLE(v) __asm__("shlq $B0, %0" : "+r"(v))
#define SAR_HOLE(v) __asm__("sarq $B0, %0" : "+r"(v))
#define COMPARE_HOLE(a, cc, op, yes) __asm__("cmpq $S2, %1" : "=@cc" cc(yes) : "r"(a))
#endif

/* Int operands: a slot or a pinned register. */
#define I0(h) SLOT(h)
#define I1(h) r0
#define I2(h) r1
#define I3(h) r2
#define I4(h) r3
#define I5(h) r4
#define I6(h) r5
/* Int destinations: pinned registers. */
#define D0 r0
#define D1 r1
#define D2 r2
#define D3 r3
#define D4 r4
#define D5 r5
/* Float operands. */
#define X0(h) FSLOT(h)
#define X1(h) x0
#define X2(h) x1
#define X3(h) x2
#define X4(h) x3
#define X5(h) x4
#define X6(h) x5
#define X7(h) x6
#define X8(h) x7
/* Float destinations. */
#define E0 x0
#define E1 x1
#define E2 x2
#define E3 x3
#define E4 x4
#define E5 x5
#define E6 x6
#define E7 x7

/* All variants of an operand. Each level of nesting needs a macro of its own. */
#define EACH_D(M, ...)                                                                                                 \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__)
#define EACH_I(M, ...)                                                                                                 \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__)        \
    M(6, __VA_ARGS__)
#define EACH_I2(M, ...)                                                                                                \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__)        \
    M(6, __VA_ARGS__)
#define EACH_E(M, ...)                                                                                                 \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__)        \
    M(6, __VA_ARGS__) M(7, __VA_ARGS__)
#define EACH_X(M, ...)                                                                                                 \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__)        \
    M(6, __VA_ARGS__) M(7, __VA_ARGS__) M(8, __VA_ARGS__)
#define EACH_X2(M, ...)                                                                                                \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__)        \
    M(6, __VA_ARGS__) M(7, __VA_ARGS__) M(8, __VA_ARGS__)

/* An op of one shape: the body sets v from a and b, and may go to COLD or TAKEN. */
#define DII_2(b_, a_, d_, name, ...)                                                                                   \
    STENCIL(name##__d##d_##_i##a_##_i##b_) {                                                                           \
        BEGIN int64_t a = I##a_(S1), b = I##b_(S2), v;                                                                 \
        __VA_ARGS__;                                                                                                   \
        D##d_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define DII_1(a_, d_, name, ...) EACH_I2(DII_2, a_, d_, name, __VA_ARGS__)
#define DII_0(d_, name, ...) EACH_I(DII_1, d_, name, __VA_ARGS__)
#define DII(name, ...) EACH_D(DII_0, name, __VA_ARGS__)

#define DI_1(a_, d_, name, ...)                                                                                        \
    STENCIL(name##__d##d_##_i##a_) {                                                                                   \
        BEGIN int64_t a = I##a_(S1), v;                                                                                \
        __VA_ARGS__;                                                                                                   \
        D##d_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define DI_0(d_, name, ...) EACH_I(DI_1, d_, name, __VA_ARGS__)
#define DI(name, ...) EACH_D(DI_0, name, __VA_ARGS__)

#define D_0(d_, name, ...)                                                                                             \
    STENCIL(name##__d##d_) {                                                                                           \
        BEGIN int64_t v;                                                                                               \
        __VA_ARGS__;                                                                                                   \
        D##d_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define D(name, ...) EACH_D(D_0, name, __VA_ARGS__)

#define II_1(b_, a_, name, ...)                                                                                        \
    STENCIL(name##__i##a_##_i##b_) {                                                                                   \
        BEGIN int64_t a = I##a_(S1), b = I##b_(S2);                                                                    \
        __VA_ARGS__;                                                                                                   \
        GO(CONT);                                                                                                      \
    }
#define II_0(a_, name, ...) EACH_I2(II_1, a_, name, __VA_ARGS__)
#define II(name, ...) EACH_I(II_0, name, __VA_ARGS__)

#define I_0(a_, name, ...)                                                                                             \
    STENCIL(name##__i##a_) {                                                                                           \
        BEGIN int64_t a = I##a_(S1);                                                                                   \
        __VA_ARGS__;                                                                                                   \
        GO(CONT);                                                                                                      \
    }
#define I(name, ...) EACH_I(I_0, name, __VA_ARGS__)

#define EXX_2(b_, a_, e_, name, ...)                                                                                   \
    STENCIL(name##__e##e_##_x##a_##_x##b_) {                                                                           \
        BEGIN double a = X##a_(S1), b = X##b_(S2), v;                                                                  \
        __VA_ARGS__;                                                                                                   \
        E##e_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define EXX_1(a_, e_, name, ...) EACH_X2(EXX_2, a_, e_, name, __VA_ARGS__)
#define EXX_0(e_, name, ...) EACH_X(EXX_1, e_, name, __VA_ARGS__)
#define EXX(name, ...) EACH_E(EXX_0, name, __VA_ARGS__)

#define EX_1(a_, e_, name, ...)                                                                                        \
    STENCIL(name##__e##e_##_x##a_) {                                                                                   \
        BEGIN double a = X##a_(S1), v;                                                                                 \
        __VA_ARGS__;                                                                                                   \
        E##e_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define EX_0(e_, name, ...) EACH_X(EX_1, e_, name, __VA_ARGS__)
#define EX(name, ...) EACH_E(EX_0, name, __VA_ARGS__)

#define E_0(e_, name, ...)                                                                                             \
    STENCIL(name##__e##e_) {                                                                                           \
        BEGIN double v;                                                                                                \
        __VA_ARGS__;                                                                                                   \
        E##e_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define E(name, ...) EACH_E(E_0, name, __VA_ARGS__)

#define EI_1(a_, e_, name, ...)                                                                                        \
    STENCIL(name##__e##e_##_i##a_) {                                                                                   \
        BEGIN int64_t a = I##a_(S2);                                                                                   \
        double v;                                                                                                      \
        __VA_ARGS__;                                                                                                   \
        E##e_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define EI_0(e_, name, ...) EACH_I(EI_1, e_, name, __VA_ARGS__)
#define EI(name, ...) EACH_E(EI_0, name, __VA_ARGS__)

#define DX_1(a_, d_, name, ...)                                                                                        \
    STENCIL(name##__d##d_##_x##a_) {                                                                                   \
        BEGIN double a = X##a_(S1);                                                                                    \
        int64_t v;                                                                                                     \
        __VA_ARGS__;                                                                                                   \
        D##d_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define DX_0(d_, name, ...) EACH_X(DX_1, d_, name, __VA_ARGS__)
#define DX(name, ...) EACH_D(DX_0, name, __VA_ARGS__)

#define DXX_2(b_, a_, d_, name, ...)                                                                                   \
    STENCIL(name##__d##d_##_x##a_##_x##b_) {                                                                           \
        BEGIN double a = X##a_(S1), b = X##b_(S2);                                                                     \
        int64_t v;                                                                                                     \
        __VA_ARGS__;                                                                                                   \
        D##d_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }

#define XX_1(b_, a_, name, ...)                                                                                        \
    STENCIL(name##__x##a_##_x##b_) {                                                                                   \
        BEGIN double a = X##a_(S1), b = X##b_(S2);                                                                     \
        __VA_ARGS__;                                                                                                   \
        GO(CONT);                                                                                                      \
    }
#define XX_0(a_, name, ...) EACH_X2(XX_1, a_, name, __VA_ARGS__)
#define XX(name, ...) EACH_X(XX_0, name, __VA_ARGS__)

#define X_0(a_, name, ...)                                                                                             \
    STENCIL(name##__x##a_) {                                                                                           \
        BEGIN double a = X##a_(S1);                                                                                    \
        __VA_ARGS__;                                                                                                   \
        GO(CONT);                                                                                                      \
    }
#define X(name, ...) EACH_X(X_0, name, __VA_ARGS__)

#define IX_1(b_, a_, name, ...)                                                                                        \
    STENCIL(name##__i##a_##_x##b_) {                                                                                   \
        BEGIN int64_t a = I##a_(S1);                                                                                   \
        double b = X##b_(S2);                                                                                          \
        __VA_ARGS__;                                                                                                   \
        GO(CONT);                                                                                                      \
    }
#define IX_0(a_, name, ...) EACH_X(IX_1, a_, name, __VA_ARGS__)
#define IX(name, ...) EACH_I(IX_0, name, __VA_ARGS__)

/* An op of slots alone. */
#define PLAIN(name, ...)                                                                                               \
    STENCIL(name) {                                                                                                    \
        BEGIN __VA_ARGS__;                                                                                             \
        GO(CONT);                                                                                                      \
    }
