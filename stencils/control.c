/* Control: calls, returns, and the stubs between machine code and Rust. In assembly, since they break the convention of the
 * stencils on purpose: a guest call keeps context, frame and budget in their registers, which C would save and restore.
 *
 * Behind a function's code the patcher lays LIT_CODE (the address of its bytecode), a LIT_CALL for each call (return pc and
 * link: the header of the callee's frame), and thunks through which its instructions reach routines (THUNK) and leave to the
 * interpreter (EXIT).
 *
 * The result of a call comes back in rax. The native stack holds return addresses only; it may be given up at any time by
 * going to `leave`, since guest frames say everything. */
#include "layout.h"

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x
#define ASM(name, ...) __attribute__((naked, preserve_none)) void name(void) { __asm__(__VA_ARGS__); }

#define BUDGET TEXT(CTX_BUDGET) "(%r12)"
#define LEAVE(status) "movl $" TEXT(status) ", %eax\njmp STUB_LEAVE\n"

/* The budget: one unit, then on, or where a branch leads. In assembly, since C would not use the flags of the subtraction. */
ASM(charge, "decq %r14\njs COLD\njmp CONT\n")
ASM(charge_jump, "decq %r14\njns TAKEN\njmp COLD\n")

/* Behind COLD, which refills the budget and comes back, nothing is in scratch registers. */
/* A call: S1 size of the caller's frame, S2 where the callee's header stands seen from the caller's frame, LIT_CALL the
 * header's two words, U0 the callee's number, S4 its entry in the table. Header and arguments are written before the frame
 * pointer moves: the same base and displacement at a store and, in the next frame, at a load made calls slower by a sixth on
 * Zen 5. */
#define CHECKS                                                                                                         \
    "leaq S1(%r13), %rax\n"                                                                                            \
    "cmpq " TEXT(CTX_STACK_LIMIT) "(%r12), %rax\n"                                                                     \
    "ja EXIT_HERE\n"                                                                                                   \
    "decq %r14\n"                                                                                                      \
    "js COLD\n"
ASM(call_static, CHECKS
    "movq LIT_CALL(%rip), %rcx\n"
    "movq %rcx, S2(%r13)\n"
    "movq LIT_CALL+8(%rip), %rcx\n"
    "movq %rcx, S2+8(%r13)\n"
    "movq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\n"
    "addq $S1, %r13\n"
    "movl $U0, %eax\n"
    "call *S4(%rcx)\n"
    "subq $S1, %r13\n"
    "jmp CONT\n")
/* An argument that is a sum: S0 + S3 goes to the window at S1. */
ASM(add_to_window, "movq S0(%r13), %rax\naddq $S3, %rax\njo COLD\nmovq %rax, S1(%r13)\njmp CONT\n")
/* What the call's result goes to: S0. */
ASM(result, "movq %rax, S0(%r13)\njmp CONT\n")

/* A closure: S0 its slot; S2 is not known, so the header is found through the table. The closure becomes the first cell. */
ASM(call_closure, CHECKS
    "movq S0(%r13), %rdx\n"
    "addq $S1, %r13\n"
    "movl " TEXT(HEADER_META) "(%rdx), %eax\n"
    "movq %rax, %rcx\n"
    "shlq $" TEXT(FUNCTION_SHIFT) ", %rcx\n"
    "addq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\n"
    "movl " TEXT(FUNCTION_HEADER) "(%rcx), %ebx\n"
    "addq %r13, %rbx\n"
    "movq %rdx, 16(%rbx)\n"
    "movq LIT_CALL(%rip), %rdx\n"
    "movq %rdx, (%rbx)\n"
    "movq LIT_CALL+8(%rip), %rdx\n"
    "movq %rdx, 8(%rbx)\n"
    "call *" TEXT(FUNCTION_NATIVE) "(%rcx)\n"
    "subq $S1, %r13\n"
    "jmp CONT\n")

/* A dynamic call of the function that the site saw first, where boxed arguments need no conversion: S0 the callee's slot, S1
 * the size of the frame, S2 where the result goes, S4 the site's place in the table of feedback, U0 the number
 * of arguments plus one. The closure goes in front of the arguments, which move up. COLD, where nothing has changed, for
 * everything else: other callees, a collection that is due, no room, no budget. */
#define CELL_CALL(arguments, move)                                                                                     \
    ASM(cell_call__n##arguments,                                                                                       \
        "movq S0(%r13), %rdx\n"                                                                                        \
        "leaq -1(%rdx), %rax\n"                                                                                        \
        "shrq $48, %rax\n"                                                                                             \
        "jne COLD\n"                                                                                                   \
        "cmpb $" TEXT(KIND_CLOSURE) ", " TEXT(HEADER_KIND) "(%rdx)\n"                                                  \
        "jne COLD\n"                                                                                                   \
        "movl " TEXT(HEADER_META) "(%rdx), %eax\n"                                                                     \
        "movq " TEXT(CTX_FEEDBACK) "(%r12), %rcx\n"                                                                    \
        "cmpl %eax, S4+" TEXT(FEEDBACK_IDS) "(%rcx)\n"                                                                 \
        "jne COLD\n"                                                                                                   \
        "movq %rax, %rcx\n"                                                                                            \
        "shlq $" TEXT(FUNCTION_SHIFT) ", %rcx\n"                                                                       \
        "addq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\n"                                                                   \
        "cmpl $U0, " TEXT(FUNCTION_SIMPLE) "(%rcx)\n"                                                                  \
        "jne COLD\n"                                                                                                   \
        "cmpb $0, " TEXT(HEAP_REQUESTED) "(%r12)\n"                                                                    \
        "jne COLD\n"                                                                                                   \
        "leaq S1(%r13), %rbx\n"                                                                                        \
        "movl " TEXT(FUNCTION_LINK) "+4(%rcx), %r10d\n"                                                                 \
        "addq %rbx, %r10\n"                                                                                            \
        "cmpq " TEXT(CTX_STACK_LIMIT) "(%r12), %r10\n"                                                                 \
        "ja COLD\n"                                                                                                    \
        "testq %r14, %r14\n"                                                                                           \
        "jle COLD\n"                                                                                                   \
        "decq %r14\n" move                                                                                             \
        "movq %rdx, 16(%rbx)\n"                                                                                        \
        "movq LIT_CALL(%rip), %rdx\n"                                                                                  \
        "movq %rdx, (%rbx)\n"                                                                                          \
        "movq LIT_CALL+8(%rip), %rdx\n"                                                                                \
        "movq %rdx, 8(%rbx)\n"                                                                                         \
        "movq %rbx, %r13\n"                                                                                            \
        "call *" TEXT(FUNCTION_NATIVE) "(%rcx)\n"                                                                      \
        "subq $S1, %r13\n"                                                                                             \
        "movq %rax, S2(%r13)\n"                                                                                        \
        "jmp CONT\n")
#define MOVE(from, to) "movq " #from "(%rbx), %r10\nmovq %r10, " #to "(%rbx)\n"
CELL_CALL(0, "")
CELL_CALL(1, MOVE(16, 24))
CELL_CALL(2, MOVE(24, 32) MOVE(16, 24))
CELL_CALL(3, MOVE(32, 40) MOVE(24, 32) MOVE(16, 24))

/* A routine: U0 distance of the instruction from the function's first word in bytes, U1 the routine's place in the table. */
ASM(routine, "movl $U0, %eax\nmovl $U1, %ebx\ncall THUNK\njmp CONT\n")
/* A routine that may push a frame, which is then called from here: S1 the size of the frame, S0 where the result goes. */
#define PUSHED(store)                                                                                                  \
    "movl $U0, %eax\nmovl $U1, %ebx\ncall THUNK\ntestl %eax, %eax\nje CONT\n"                                          \
    "movq " TEXT(CTX_FP) "(%r12), %r13\n"                                                                              \
    "movq " TEXT(CTX_ENTRY) "(%r12), %rcx\n"                                                                           \
    "movl " TEXT(FUNCTION_LINK) "(%rcx), %eax\n"                                                                       \
    "call *" TEXT(FUNCTION_NATIVE) "(%rcx)\n"                                                                          \
    "subq $S1, %r13\n" store "jmp CONT\n"
ASM(routine_call, PUSHED("movq %rax, S0(%r13)\n"))
ASM(routine_call_void, PUSHED(""))
/* A routine that gives this frame to a function, which is jumped to: it returns to where this one would have. Where that is the
 * driver, the driver is told. */
ASM(routine_tail,
    "movl $U0, %eax\nmovl $U1, %ebx\ncall THUNK\n"
    "movq " TEXT(CTX_NATIVE_BASE) "(%r12), %rdx\n"
    "subq $8, %rdx\n"
    "movq " TEXT(CTX_ENTRY) "(%r12), %rcx\n"
    "movl " TEXT(FUNCTION_LINK) "(%rcx), %eax\n"
    "cmpq %rdx, %rsp\n"
    "jne 1f\n"
    "movl %eax, " TEXT(CTX_ENTERED) "(%r12)\n"
    "1: jmp *" TEXT(FUNCTION_NATIVE) "(%rcx)\n")
/* A routine that may answer that the instruction's branch is taken. */
ASM(routine_branch, "movl $U0, %eax\nmovl $U1, %ebx\ncall THUNK\ntestl %eax, %eax\njne TAKEN\njmp CONT\n")
/* To the interpreter, at an instruction. */
ASM(side_exit, "movl $U0, %eax\njmp EXIT\n")
/* A switch: the routine leaves where to go in the context, which the driver follows. */
ASM(routine_leave, "movl $U0, %eax\nmovl $U1, %ebx\ncall THUNK\nmovl $" TEXT(STATUS_RELOAD) ", %eax\njmp STUB_LEAVE\n")

/* Behind each function: U0 is the function's number times the size of an entry. */
ASM(thunk, "movq LIT_CODE(%rip), %rdx\naddq %rax, %rdx\nmovl $U0, %ecx\naddq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\njmp STUB_ROUTINE\n")
ASM(exit_thunk, "movq LIT_CODE(%rip), %rdx\naddq %rax, %rdx\nmovl $U0, %ecx\naddq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\njmp STUB_EXIT\n")
/* The slow half of returns: rax the result. */
ASM(return_thunk, "movl $U0, %ecx\naddq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\njmp STUB_RETURN\n")

/* Returns: S1 the header's place in the frame. The result's bits are in rax; where there is none, nil. */
#define RETURN(load)                                                                                                   \
    load "testb $7, S1(%r13)\n"                                                                                        \
    "jne RETURN_COLD\n"                                                                                                \
    "ret\n"
ASM(return_slot, RETURN("movq S0(%r13), %rax\n"))
ASM(return_sum, "movq S0(%r13), %rax\naddq S2(%r13), %rax\njo COLD\n" RETURN(""))
ASM(return_int__d0, RETURN("movq %r15, %rax\n"))
ASM(return_int__d1, RETURN("movq %rdi, %rax\n"))
ASM(return_int__d2, RETURN("movq %rsi, %rax\n"))
ASM(return_int__d3, RETURN("movq %r8, %rax\n"))
ASM(return_int__d4, RETURN("movq %r9, %rax\n"))
ASM(return_int__d5, RETURN("movq %r11, %rax\n"))
ASM(return_float__e0, RETURN("movq %xmm0, %rax\n"))
ASM(return_float__e1, RETURN("movq %xmm1, %rax\n"))
ASM(return_float__e2, RETURN("movq %xmm2, %rax\n"))
ASM(return_float__e3, RETURN("movq %xmm3, %rax\n"))
ASM(return_float__e4, RETURN("movq %xmm4, %rax\n"))
ASM(return_float__e5, RETURN("movq %xmm5, %rax\n"))
ASM(return_float__e6, RETURN("movq %xmm6, %rax\n"))
ASM(return_float__e7, RETURN("movq %xmm7, %rax\n"))
ASM(return_void, RETURN("movabsq $" TEXT(VALUE_NIL) ", %rax\n"))

/* ---- Once for each code memory ---- */

/* From Rust: (context, frame, target) -> status. The base of the native stack is kept in the context, the old one saved. */
ASM(stub_enter,
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rdi, %r12\n"
    "movq %rsi, %r13\n"
    "pushq " TEXT(CTX_NATIVE_BASE) "(%r12)\n"
    "movq %rsp, " TEXT(CTX_NATIVE_BASE) "(%r12)\n"
    "movq " BUDGET ", %r14\n"
    "call *%rdx\n"
    /* The frame that was entered returned. */
    "movq %rax, " TEXT(CTX_RESULT) "(%r12)\n"
    LEAVE(STATUS_RETURNED))
/* With a status in eax: gives the native stack up and returns to Rust. */
ASM(stub_leave,
    "movq %r14, " BUDGET "\n"
    "movq " TEXT(CTX_NATIVE_BASE) "(%r12), %rsp\n"
    "popq " TEXT(CTX_NATIVE_BASE) "(%r12)\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\n"
    "ret\n")
/* A routine: rdx pc, rcx entry, ebx place in the table. Comes back where it may go on. */
ASM(stub_routine,
    "movq %r14, " BUDGET "\n"
    "movq %rsp, %rbp\n"
    "andq $-16, %rsp\n"
    "movq %r12, %rdi\n"
    "movq %r13, %rsi\n"
    "movq " TEXT(CTX_ROUTINES) "(%r12), %rax\n"
    "call *(%rax,%rbx)\n"
    "movq %rbp, %rsp\n"
    "movq " BUDGET ", %r14\n"
    "testl %eax, %eax\n"
    "jne 1f\n"
    "ret\n"
    "1: cmpl $" TEXT(STATUS_BRANCH) ", %eax\n"
    "je 2f\n"
    "cmpl $" TEXT(STATUS_CALL) ", %eax\n"
    "jne STUB_LEAVE\n"
    "2: ret\n")
/* To the interpreter: rdx pc, rcx entry. */
ASM(stub_exit,
    "movq %rdx, " TEXT(CTX_PC) "(%r12)\n"
    "movq %rcx, " TEXT(CTX_ENTRY) "(%r12)\n"
    "movq %r13, " TEXT(CTX_FP) "(%r12)\n"
    LEAVE(STATUS_INTERPRET))
/* The entry of functions without code: eax the number. The header says that the return leaves the interpreter, unless it has flags that make
 * it do so anyway: with SPECIAL, the other would mean a call of two words. */
ASM(stub_uncompiled,
    "shlq $" TEXT(FUNCTION_SHIFT) ", %rax\n"
    "addq " TEXT(CTX_FUNCTIONS) "(%r12), %rax\n"
    "movl " TEXT(FUNCTION_HEADER) "(%rax), %ecx\n"
    "testb $7, (%r13,%rcx)\n"
    "jne 1f\n"
    "orq $2, (%r13,%rcx)\n"
    "1:\n"
    "movq " TEXT(FUNCTION_START) "(%rax), %rdx\n"
    "movq %rdx, " TEXT(CTX_PC) "(%r12)\n"
    "movq %rax, " TEXT(CTX_ENTRY) "(%r12)\n"
    "movq %r13, " TEXT(CTX_FP) "(%r12)\n"
    LEAVE(STATUS_RELOAD))
/* A return with flags: rcx entry, rax result. The routine clears the collector's mark; any other flag leaves. */
ASM(stub_return,
    "pushq %rax\n"
    "movq %r14, " BUDGET "\n"
    "movq %rsp, %rbp\n"
    "andq $-16, %rsp\n"
    "movq %r12, %rdi\n"
    "movq %r13, %rsi\n"
    "movq %rcx, %rdx\n"
    "movq %rax, %rcx\n"
    "movq " TEXT(CTX_ROUTINES) "(%r12), %rax\n"
    "call *" TEXT(ROUTINE_RETURN) "(%rax)\n"
    "movq %rbp, %rsp\n"
    "testl %eax, %eax\n"
    "jne STUB_LEAVE\n"
    "popq %rax\n"
    "movq " TEXT(CTX_RESULT) "(%r12), %rax\n"
    "ret\n")

/* ---- Optimized code, which has the System V convention: rdi rsi rdx rcx r8 in, rax rdx out ---- */

#define SAVE "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
#define RESTORE "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\n"
/* The stubs have the budget in r15, as optimized code has it: nobody hands it over. */
/* Calls native code: context, the callee's frame, its number -> the result's bits. What SAVE pushes last is the budget. */
ASM(stub_opt_call,
    SAVE
    "movq %rdi, %r12\n"
    "movq %rsi, %r13\n"
    "movq %r15, %r14\n"
    "movl %edx, %eax\n"
    "movq %rax, %rcx\n"
    "shlq $" TEXT(FUNCTION_SHIFT) ", %rcx\n"
    "addq " TEXT(CTX_FUNCTIONS) "(%r12), %rcx\n"
    "call *" TEXT(FUNCTION_NATIVE) "(%rcx)\n"
    "movq %r14, (%rsp)\n" RESTORE "ret\n")
/* Leaves: context, status. */
ASM(stub_opt_leave,
    "movq %rdi, %r12\n"
    "movq %r15, %r14\n"
    "movl %esi, %eax\n"
    "jmp STUB_LEAVE\n")
/* Leaves at an exit: context, frame, the exit. */
ASM(stub_opt_exit,
    "movq %rdi, %r12\n"
    "movq %r15, %r14\n"
    "movq %rsi, " TEXT(CTX_FP) "(%r12)\n"
    "movq %rdx, " TEXT(CTX_RESULT) "(%r12)\n"
    LEAVE(STATUS_DEOPT))
/* The same with context and frame at the start of the caller's native frame, behind the return address: the exit. */
ASM(stub_opt_exit_at,
    "movq %rdi, %rax\n"
    "movq 8(%rsp), %r12\n"
    "movq %r15, %r14\n"
    "movq 16(%rsp), %rcx\n"
    "movq %rcx, " TEXT(CTX_FP) "(%r12)\n"
    "movq %rax, " TEXT(CTX_RESULT) "(%r12)\n"
    LEAVE(STATUS_DEOPT))
/* Slow paths that keep every register, so that nothing is spilled where they are not taken. Where a function answers with a status,
 * they hand the budget over through the context, in r15 as it is, and leave where the status is not 0. */
#define KEEP                                                                                                           \
    "pushq %rax\npushq %rcx\npushq %rdx\npushq %rsi\npushq %rdi\npushq %r8\npushq %r9\npushq %r10\npushq %r11\n"              \
    "subq $256, %rsp\n"                                                                                                \
    "movups %xmm0, (%rsp)\nmovups %xmm1, 16(%rsp)\nmovups %xmm2, 32(%rsp)\nmovups %xmm3, 48(%rsp)\n"                    \
    "movups %xmm4, 64(%rsp)\nmovups %xmm5, 80(%rsp)\nmovups %xmm6, 96(%rsp)\nmovups %xmm7, 112(%rsp)\n"                 \
    "movups %xmm8, 128(%rsp)\nmovups %xmm9, 144(%rsp)\nmovups %xmm10, 160(%rsp)\nmovups %xmm11, 176(%rsp)\n"            \
    "movups %xmm12, 192(%rsp)\nmovups %xmm13, 208(%rsp)\nmovups %xmm14, 224(%rsp)\nmovups %xmm15, 240(%rsp)\n"
#define UNKEEP                                                                                                         \
    "movups (%rsp), %xmm0\nmovups 16(%rsp), %xmm1\nmovups 32(%rsp), %xmm2\nmovups 48(%rsp), %xmm3\n"                    \
    "movups 64(%rsp), %xmm4\nmovups 80(%rsp), %xmm5\nmovups 96(%rsp), %xmm6\nmovups 112(%rsp), %xmm7\n"                 \
    "movups 128(%rsp), %xmm8\nmovups 144(%rsp), %xmm9\nmovups 160(%rsp), %xmm10\nmovups 176(%rsp), %xmm11\n"            \
    "movups 192(%rsp), %xmm12\nmovups 208(%rsp), %xmm13\nmovups 224(%rsp), %xmm14\nmovups 240(%rsp), %xmm15\n"          \
    "addq $256, %rsp\n"                                                                                                \
    "popq %r11\npopq %r10\npopq %r9\npopq %r8\npopq %rdi\npopq %rsi\npopq %rdx\npopq %rcx\npopq %rax\n"
/* Calls what stands in the table of routines: context, two arguments, where it stands there (in bytes), a third argument. */
#define CALL_TABLE "addq " TEXT(CTX_ROUTINES) "(%rdi), %rcx\nmovq %rcx, %rax\nmovq %r8, %rcx\ncall *(%rax)\n"
/* Calls an instruction's routine: context, frame, the instruction's function (upper half) and word, its frame's distance in slots (all
 * but 16 bits) and the routine's number. */
#define CALL_ROUTINE                                                                                                   \
    "movq %rcx, %rax\nshrq $16, %rax\nleaq (%rsi,%rax,8), %rsi\n"                                                      \
    "movzwl %cx, %eax\nmovq " TEXT(CTX_ROUTINES) "(%rdi), %rcx\nmovq (%rcx,%rax,8), %rax\n"                            \
    "movq %rdx, %rcx\nshrq $32, %rcx\nshlq $" TEXT(FUNCTION_SHIFT) ", %rcx\n"                                          \
    "addq " TEXT(CTX_FUNCTIONS) "(%rdi), %rcx\n"                                                                       \
    "movl %edx, %edx\nshlq $3, %rdx\naddq " TEXT(FUNCTION_CODE) "(%rcx), %rdx\ncall *%rax\n"
/* What answers with a status, with its arguments in registers. */
#define ANSWERS(CALL)                                                                                                  \
    KEEP                                                                                                               \
    "movq %r15, " TEXT(CTX_BUDGET) "(%rdi)\n" CALL                                                                     \
    "testl %eax, %eax\n"                                                                                               \
    "jne 1f\n" UNKEEP                                                                                                  \
    "movq " TEXT(CTX_BUDGET) "(%rdi), %r15\n"                                                                          \
    "ret\n"                                                                                                            \
    "1: movq 288(%rsp), %r12\n"                                                                                        \
    "movq " BUDGET ", %r14\n"                                                                                          \
    "jmp STUB_LEAVE\n"
ASM(stub_opt_poll, ANSWERS(CALL_TABLE))
ASM(stub_opt_run, ANSWERS(CALL_ROUTINE))
ASM(stub_opt_quiet, KEEP CALL_TABLE UNKEEP "ret\n")
/* The same with context, frame and up to four arguments at the start of the caller's native frame, behind the return address: arguments
 * in registers would keep a loop from having values there. */
#define ANSWERS_AT(CALL)                                                                                               \
    KEEP                                                                                                               \
    "movq 336(%rsp), %rdi\nmovq 344(%rsp), %rsi\nmovq 352(%rsp), %rdx\nmovq 360(%rsp), %rcx\n"                          \
    "movq %r15, " TEXT(CTX_BUDGET) "(%rdi)\n" CALL                                                                     \
    "testl %eax, %eax\n"                                                                                               \
    "jne 1f\n" UNKEEP                                                                                                  \
    "movq 8(%rsp), %r15\n"                                                                                             \
    "movq " TEXT(CTX_BUDGET) "(%r15), %r15\n"                                                                          \
    "ret\n"                                                                                                            \
    "1: movq 336(%rsp), %r12\n"                                                                                        \
    "movq " BUDGET ", %r14\n"                                                                                          \
    "jmp STUB_LEAVE\n"
ASM(stub_opt_poll_at, ANSWERS_AT(CALL_TABLE))
ASM(stub_opt_run_at, ANSWERS_AT(CALL_ROUTINE))
ASM(stub_opt_quiet_at,
    KEEP
    "movq 336(%rsp), %rdi\nmovq 352(%rsp), %rsi\nmovq 360(%rsp), %rdx\nmovq 368(%rsp), %rcx\nmovq 376(%rsp), %r8\n"
    CALL_TABLE UNKEEP "ret\n")
