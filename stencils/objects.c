/* Stencils of ops on objects, globals and cells: the fast paths. What does not fit goes to COLD, where the interpreter's
 * routine or the interpreter itself does the op from its start. */
#include "stencil.h"

#define LEN(l) AT(uint64_t, l, LIST_LEN)
#define BUFFER(l) AT(char *, l, LIST_BUFFER)
#define ELEMENTS(l) (BUFFER(l) + BUFFER_DATA)
#define IS_OBJECT(v) ((uint64_t)(v) - 1 < VALUE_ADDRESS_END - 1)
#define IS_SMALL(v) ((uint64_t)(v) >= VALUE_INT_TAG)
#define SMALL(v) ((int64_t)((uint64_t)(v) << 16) >> 16)
#define BOX_SMALL(i) ((int64_t)(((uint64_t)(i) & 0xFFFFFFFFFFFFull) | VALUE_INT_TAG))
#define IS_FLOAT(v) ((uint64_t)(v) - VALUE_FLOAT_OFFSET <= VALUE_FLOAT_LAST - VALUE_FLOAT_OFFSET)
#define IS_SHORT(v) ((uint64_t)(v) >> 48 == VALUE_SHORT_TAG >> 48)
#define BITS(x) ({ int64_t bits_; __builtin_memcpy(&bits_, &(x), 8); bits_; })
#define FLOAT(i) ({ int64_t bits_ = (i); double x_; __builtin_memcpy(&x_, &bits_, 8); x_; })
#define KIND(object) AT(uint8_t, object, HEADER_KIND)

/* Lists: length, elements. S0 is the list where the op defines nothing in a slot, S1 where it does. */
D(list_len, v = (int64_t)LEN(PTR(S1)))
#define LOAD(type, at) char *l = PTR(S1); COLD_IF((uint64_t)(at) >= LEN(l)); v = AT(type, ELEMENTS(l), (at) * (int64_t)sizeof(type))
/* A position from the end, in the companion that COLD of the plain access leads to. */
#define FROM_END(l, at) COLD_IF(at >= 0); at += (int64_t)LEN(l); COLD_IF((uint64_t)at >= LEN(l))
#define LOAD_REL(type, at) char *l = PTR(S1); FROM_END(l, at); v = AT(type, ELEMENTS(l), (at) * (int64_t)sizeof(type))
#define DLI_1(a_, d_, name, ...)                                                                                       \
    STENCIL(name##__d##d_##_i##a_) {                                                                                   \
        BEGIN int64_t i = I##a_(S2), v;                                                                                \
        __VA_ARGS__;                                                                                                   \
        D##d_ = v;                                                                                                     \
        GO(CONT);                                                                                                      \
    }
#define DLI_0(d_, name, ...) EACH_I(DLI_1, d_, name, __VA_ARGS__)
#define DLI(name, ...) EACH_D(DLI_0, name, __VA_ARGS__)
DLI(list_int_get, LOAD(int64_t, i))
DLI(list_int_get_end, LOAD_REL(int64_t, i))
DLI(list_bool_get, LOAD(uint8_t, i))
DLI(list_bool_get_end, LOAD_REL(uint8_t, i))
EI(list_float_get, LOAD(double, a))
EI(list_float_get_end, LOAD_REL(double, a))
#define LI(name, ...) EACH_I(LI_0, name, __VA_ARGS__)
#define LI_0(a_, name, ...)                                                                                            \
    STENCIL(name##__i##a_) {                                                                                           \
        BEGIN int64_t i = I##a_(S2), v;                                                                                \
        __VA_ARGS__;                                                                                                   \
        SET_SLOT(S0, v);                                                                                               \
        GO(CONT);                                                                                                      \
    }
LI(list_cell_get, LOAD(int64_t, i))
LI(list_cell_get_end, LOAD_REL(int64_t, i))

#define STORE(type, at, value) char *l = PTR(S0); COLD_IF((uint64_t)(at) >= LEN(l)); AT(type, ELEMENTS(l), (at) * (int64_t)sizeof(type)) = (value)
#define STORE_REL(type, at, value) char *l = PTR(S0); FROM_END(l, at); AT(type, ELEMENTS(l), (at) * (int64_t)sizeof(type)) = (value)
II(list_int_set, STORE(int64_t, a, b))
II(list_int_set_end, STORE_REL(int64_t, a, b))
II(list_bool_set, STORE(uint8_t, a, b != 0))
II(list_bool_set_end, STORE_REL(uint8_t, a, b != 0))
IX(list_float_set, STORE(double, a, b))
IX(list_float_set_end, STORE_REL(double, a, b))
/* Cells: where the buffer has the barrier's bit the routine does it all. */
#define STORE_CELL(at)                                                                                                 \
    char *buffer = BUFFER(l);                                                                                          \
    COLD_IF((uint64_t)(at) >= LEN(l));                                                                                 \
    COLD_IF(AT(uint8_t, buffer, HEADER_GC) & GC_BARRIER);                                                              \
    AT(int64_t, buffer + BUFFER_DATA, (at) * 8) = SLOT(S2)
I(list_cell_set, char *l = PTR(S0); STORE_CELL(a))

/* Appending in place while there is room; `append` needs a list that nobody shares, which becomes the result. */
#define PUSH(type, value)                                                                                              \
    char *buffer = BUFFER(l);                                                                                          \
    uint64_t len = LEN(l);                                                                                             \
    COLD_IF(len >= AT(uint64_t, buffer, BUFFER_CAPACITY));                                                             \
    AT(type, buffer + BUFFER_DATA, len * sizeof(type)) = (value);                                                      \
    LEN(l) = len + 1
I(list_int_push, char *l = PTR(S0); PUSH(int64_t, a))
X(list_float_push, char *l = PTR(S0); PUSH(double, a))
I(list_bool_push, char *l = PTR(S0); PUSH(uint8_t, a != 0))
#define UNSHARED COLD_IF(AT(uint16_t, l, HEADER_BITS) & LIST_SHARED)
I(list_int_append, char *l = PTR(S2); UNSHARED; PUSH(int64_t, a); SET_PTR(S0, l))
X(list_float_append, char *l = PTR(S2); UNSHARED; PUSH(double, a); SET_PTR(S0, l))
I(list_bool_append, char *l = PTR(S2); UNSHARED; PUSH(uint8_t, a != 0); SET_PTR(S0, l))
#define PUSH_CELL(value)                                                                                               \
    char *buffer = BUFFER(l);                                                                                          \
    uint64_t len = LEN(l);                                                                                             \
    COLD_IF(len >= AT(uint64_t, buffer, BUFFER_CAPACITY));                                                             \
    COLD_IF(AT(uint8_t, buffer, HEADER_GC) & GC_BARRIER);                                                              \
    AT(int64_t, buffer + BUFFER_DATA, len * 8) = (value);                                                              \
    LEN(l) = len + 1
PLAIN(list_cell_push, char *l = PTR(S0); PUSH_CELL(SLOT(S1)))
PLAIN(list_cell_append, char *l = PTR(S1); UNSHARED; PUSH_CELL(SLOT(S2)); SET_PTR(S0, l))

/* Records, boxes, captures, tuples: the field's offset is a hole. */
D(field_int_get, v = AT(int64_t, PTR(S1), SIGNED(S2)))
E(field_float_get, v = AT(double, PTR(S1), SIGNED(S2)))
PLAIN(field_cell_get, SET_SLOT(S0, AT(int64_t, PTR(S1), SIGNED(S2))))
#define FIELD_INT_SET(a_, name)                                                                                        \
    STENCIL(name##__i##a_) {                                                                                           \
        BEGIN AT(int64_t, PTR(S0), SIGNED(S2)) = I##a_(S1);                                                            \
        GO(CONT);                                                                                                      \
    }
EACH_I(FIELD_INT_SET, field_int_set)
#define FIELD_FLOAT_SET(a_, name)                                                                                      \
    STENCIL(name##__x##a_) {                                                                                           \
        BEGIN AT(double, PTR(S0), SIGNED(S2)) = X##a_(S1);                                                             \
        GO(CONT);                                                                                                      \
    }
EACH_X(FIELD_FLOAT_SET, field_float_set)
PLAIN(field_cell_set, char *o = PTR(S0); COLD_IF(AT(uint8_t, o, HEADER_GC) & GC_BARRIER); AT(int64_t, o, SIGNED(S2)) = SLOT(S1))
D(field_u16_get, v = AT(uint16_t, PTR(S1), SIGNED(S2)))
D(field_u32_get, v = AT(uint32_t, PTR(S1), SIGNED(S2)))
PLAIN(tuple_set_bits, AT(uint16_t, PTR(S0), HEADER_BITS) |= (uint16_t)immediate())
#define TUPLE_LEN(t) AT(uint32_t, t, TUPLE_LENGTH)
LI(tuple_get, char *t = PTR(S1); COLD_IF((uint64_t)i >= TUPLE_LEN(t)); v = AT(int64_t, t + TUPLE_CELLS, i * 8))
PLAIN(list_share, int64_t v = SLOT(S0); if (IS_OBJECT(v) && (uint8_t)(KIND(v) - KIND_LIST_FIRST) <= KIND_LIST_LAST - KIND_LIST_FIRST)
    AT(uint16_t, v, HEADER_BITS) |= LIST_SHARED)

/* Allocation: Q0 is the header, the fields come from two runs of the window, cells at S1 and raw words at S2. Where a
 * collection is due, which the end of the room tells too, or the room is used up, COLD. */
#define ALLOCATE(object, size)                                                                                         \
    char *object = AT(char *, ctx, HEAP_TOP);                                                                          \
    COLD_IF((uint64_t)object + (size) > AT(uint64_t, ctx, HEAP_END));                                                  \
    AT(char *, ctx, HEAP_TOP) = object + (size)
#define RECORD_1(r_, c_, name)                                                                                         \
    STENCIL(name##__c##c_##_r##r_) {                                                                                   \
        BEGIN ALLOCATE(o, (c_ + r_) == 0 ? 16 : 8 + 8 * (c_ + r_));                                                    \
        AT(int64_t, o, 0) = WIDE(Q0);                                                                                  \
        _Pragma("unroll") for (int i = 0; i < c_; i++) AT(int64_t, o, 8 + 8 * i) =                                     \
            SLOT_AT(S1, 8 * i);                                                                                        \
        _Pragma("unroll") for (int i = 0; i < r_; i++) AT(int64_t, o, 8 + 8 * c_ + 8 * i) =                            \
            SLOT_AT(S2, 8 * i);                                                                                        \
        SET_PTR(S0, o);                                                                                                \
        GO(CONT);                                                                                                      \
    }
#define RECORD_0(c_, name)                                                                                             \
    RECORD_1(0, c_, name) RECORD_1(1, c_, name) RECORD_1(2, c_, name) RECORD_1(3, c_, name) RECORD_1(4, c_, name)
RECORD_0(0, allocate) RECORD_0(1, allocate) RECORD_0(2, allocate) RECORD_0(3, allocate) RECORD_0(4, allocate)

/* Maps with int keys: the entry where the map expects it; see the runtime's map/ints.rs. */
#define GUESS                                                                                                          \
    char *m = PTR(S1);                                                                                                 \
    uint64_t e = (uint64_t)key - (uint64_t)AT(int64_t, m, MAP_BASE);                                                   \
    COLD_IF(e >= AT(uint32_t, m, MAP_USED));                                                                           \
    int64_t *entry = (int64_t *)(AT(char *, m, MAP_ENTRIES) + BUFFER_DATA + 16 * e);                                   \
    COLD_IF(entry[0] != key || entry[1] == (int64_t)VALUE_TOMBSTONE)
#define MAP_KEY_1(a_, name, ...)                                                                                       \
    STENCIL(name##__i##a_) {                                                                                           \
        BEGIN int64_t key = I##a_(S2);                                                                                 \
        GUESS;                                                                                                         \
        __VA_ARGS__;                                                                                                   \
        GO(CONT);                                                                                                      \
    }
#define MAP_KEY(name, ...) EACH_I(MAP_KEY_1, name, __VA_ARGS__)
MAP_KEY(map_int_get, SET_SLOT(S0, entry[1]))
/* Only objects need a barrier: what is stored at S0 is none. */
MAP_KEY(map_int_set, int64_t v = SLOT(S0); COLD_IF(IS_OBJECT(v)); entry[1] = v)
#define MAP_HAS(a_, name)                                                                                              \
    STENCIL(name##__i##a_) {                                                                                           \
        BEGIN int64_t key = I##a_(S2);                                                                                 \
        char *m = PTR(S1);                                                                                             \
        uint64_t e = (uint64_t)key - (uint64_t)AT(int64_t, m, MAP_BASE);                                               \
        int64_t found = 0;                                                                                             \
        if (e < AT(uint32_t, m, MAP_USED)) {                                                                           \
            int64_t *entry = (int64_t *)(AT(char *, m, MAP_ENTRIES) + BUFFER_DATA + 16 * e);                           \
            found = entry[0] == key && entry[1] != (int64_t)VALUE_TOMBSTONE;                                           \
        }                                                                                                              \
        COLD_IF(!found && !(AT(uint16_t, m, HEADER_BITS) & MAP_DENSE));                                                \
        SET_SLOT(S0, found);                                                                                           \
        GO(CONT);                                                                                                      \
    }
EACH_I(MAP_HAS, map_int_has)

/* Maps with string keys: the entry that was found last. */
#define LAST                                                                                                           \
    char *m = PTR(S1);                                                                                                 \
    uint64_t e = AT(uint64_t, m, MAP_BASE);                                                                            \
    COLD_IF(e >= AT(uint32_t, m, MAP_USED));                                                                           \
    int64_t *entry = (int64_t *)(AT(char *, m, MAP_ENTRIES) + BUFFER_DATA + 16 * e);                                   \
    COLD_IF(entry[0] != SLOT(S2))
PLAIN(map_string_get, LAST; SET_SLOT(S0, entry[1]))
PLAIN(map_string_set, LAST; int64_t v = SLOT(S0); COLD_IF(IS_OBJECT(v)); entry[1] = v)

/* Strings: length and characters of ASCII ones. */
D(string_len, int64_t s = SLOT(S1); if (IS_OBJECT(s)) v = AT(uint32_t, s, HEADER_META); else {
    COLD_IF(s & 0x8080808080); v = s >> 40 & 7; })
#define STRING_GET(a_, name)                                                                                           \
    STENCIL(name##__i##a_) {                                                                                           \
        BEGIN int64_t i = I##a_(S2), s = SLOT(S1);                                                                     \
        COLD_IF(!IS_OBJECT(s));                                                                                        \
        uint32_t len = AT(uint32_t, s, STRING_LEN);                                                                    \
        COLD_IF(AT(uint32_t, s, HEADER_META) != len);                                                                  \
        COLD_IF((uint64_t)i >= len);                                                                                   \
        char *data = (char *)s + STRING_PAYLOAD;                                                                       \
        if (AT(uint16_t, s, HEADER_BITS) & STRING_BUFFERED) data = AT(char *, data, 0) + STRING_BUFFER_DATA;           \
        SET_SLOT(S0, (int64_t)(VALUE_SHORT_TAG | 1ull << 40 | (uint8_t)data[i]));                                      \
        GO(CONT);                                                                                                      \
    }
EACH_I(STRING_GET, string_get)

/* Appending a short string to an extensible one that has room; making one ordinary. The hash's place holds the room. */
PLAIN(string_append, int64_t s = SLOT(S1); int64_t b = SLOT(S2); COLD_IF(!IS_OBJECT(s)); COLD_IF(!IS_SHORT(b));
    uint16_t bits = AT(uint16_t, s, HEADER_BITS); COLD_IF(!(bits & STRING_EXTENSIBLE));
    uint32_t len = AT(uint32_t, s, STRING_LEN); uint32_t more = b >> 40 & 7;
    COLD_IF(b & 0x8080808080); COLD_IF(len + more > AT(uint32_t, s, STRING_HASH));
    char *data = (char *)s + STRING_PAYLOAD; if (bits & STRING_BUFFERED) data = AT(char *, data, 0) + STRING_BUFFER_DATA;
    AT(uint64_t, data, len) = (uint64_t)b & 0xFFFFFFFFFF; AT(uint32_t, s, STRING_LEN) = len + more;
    AT(uint32_t, s, HEADER_META) += more; SET_SLOT(S0, s))
PLAIN(string_share, int64_t s = SLOT(S1); if (IS_OBJECT(s)) {
    uint16_t bits = AT(uint16_t, s, HEADER_BITS);
    if (bits & STRING_EXTENSIBLE) {
        AT(uint16_t, s, HEADER_BITS) = bits & ~STRING_EXTENSIBLE; AT(uint32_t, s, STRING_HASH) = 0;
        if (bits & STRING_BUFFERED) AT(uint32_t, AT(char *, s, STRING_PAYLOAD), STRING_BUFFER_USED) = AT(uint32_t, s, STRING_LEN);
    } } SET_SLOT(S0, s))

/* Globals. */
#define GLOBAL AT(int64_t, AT(char *, ctx, CTX_GLOBALS), SIGNED(S2))
#define FGLOBAL AT(double, AT(char *, ctx, CTX_GLOBALS), SIGNED(S2))
D(global_int_get, v = GLOBAL)
E(global_float_get, v = FGLOBAL)
PLAIN(global_cell_get, int64_t v = GLOBAL; COLD_IF(v == 0); SET_SLOT(S0, v))
I(global_int_set, GLOBAL = a)
X(global_float_set, FGLOBAL = a)
PLAIN(watch_branch, if (AT(uint32_t, AT(char *, ctx, CTX_WATCHES), SIGNED(S2)) != 0) GO(TAKEN))

/* Boxing. */
I(box_int, COLD_IF((a << 16) >> 16 != a); SET_SLOT(S0, BOX_SMALL(a)))
I(box_bool, SET_SLOT(S0, VALUE_FALSE + (a != 0)))
X(box_float, int64_t bits = BITS(a); COLD_IF(a != a); SET_SLOT(S0, (int64_t)((uint64_t)bits + VALUE_FLOAT_OFFSET)))
D(unbox_int, int64_t c = SLOT(S1); COLD_IF(!IS_SMALL(c)); v = SMALL(c))
D(unbox_bool, int64_t c = SLOT(S1) - VALUE_FALSE; COLD_IF((uint64_t)c > 1); v = c)
E(unbox_float, int64_t c = SLOT(S1); COLD_IF(!IS_FLOAT(c)); v = FLOAT((int64_t)((uint64_t)c - VALUE_FLOAT_OFFSET)))
E(unbox_number, int64_t c = SLOT(S1); if (IS_FLOAT(c)) v = FLOAT((int64_t)((uint64_t)c - VALUE_FLOAT_OFFSET)); else {
    COLD_IF(!IS_SMALL(c)); v = (double)SMALL(c); })

/* Cells: arithmetic and comparison of small ints and floats. S4 is the byte offset of the feedback site. The policy is known
 * where code is made, so variants differ by it: _p promotes mixed numbers. */
#define FEEDBACK AT(char *, ctx, CTX_FEEDBACK)
#define SAW(left, right) { uint32_t *site = &AT(uint32_t, FEEDBACK, SIGNED(S4)); *site |= (left) | (right) << 16; }
#define INT_BIT (1u << KIND_INT)
#define FLOAT_BIT (1u << KIND_FLOAT)
#define TO_FLOAT(c) FLOAT((int64_t)((uint64_t)(c) - VALUE_FLOAT_OFFSET))
#define FROM_FLOAT(x) { double r_ = (x); COLD_IF(r_ != r_); SET_SLOT(S0, (int64_t)((uint64_t)BITS(r_) + VALUE_FLOAT_OFFSET)); }
#define ARITHMETIC(overflow, op, a, b)                                                                                 \
    if (__builtin_expect(IS_SMALL(a) && IS_SMALL(b), 1)) {                                                             \
        int64_t v;                                                                                                     \
        COLD_IF(overflow(SMALL(a), SMALL(b), &v));                                                                     \
        COLD_IF((v << 16) >> 16 != v);                                                                                 \
        SAW(INT_BIT, INT_BIT)                                                                                          \
        SET_SLOT(S0, BOX_SMALL(v));                                                                                    \
        GO(CONT);                                                                                                      \
    }
#define MIXED(op, a, b, then)                                                                                          \
    double x, y;                                                                                                       \
    uint32_t left = FLOAT_BIT, right = FLOAT_BIT;                                                                      \
    if (IS_FLOAT(a)) x = TO_FLOAT(a); else { COLD_IF(!IS_SMALL(a)); x = (double)SMALL(a); left = INT_BIT; }            \
    if (IS_FLOAT(b)) y = TO_FLOAT(b); else { COLD_IF(!IS_SMALL(b)); y = (double)SMALL(b); right = INT_BIT; }           \
    then
#define FLOATS(op, a, b, then)                                                                                         \
    COLD_IF(!IS_FLOAT(a) || !IS_FLOAT(b));                                                                             \
    uint32_t left = FLOAT_BIT, right = FLOAT_BIT;                                                                      \
    double x = TO_FLOAT(a), y = TO_FLOAT(b);                                                                           \
    then
#define CELL_ARITHMETIC(name, overflow, op)                                                                            \
    PLAIN(name, int64_t a = SLOT(S1), b = SLOT(S2); ARITHMETIC(overflow, op, a, b)                                     \
        FLOATS(op, a, b, FROM_FLOAT(x op y) SAW(left, right)))                                                         \
    PLAIN(name##_p, int64_t a = SLOT(S1), b = SLOT(S2); ARITHMETIC(overflow, op, a, b)                                 \
        MIXED(op, a, b, FROM_FLOAT(x op y) SAW(left, right)))
CELL_ARITHMETIC(cell_add, __builtin_add_overflow, +)
CELL_ARITHMETIC(cell_sub, __builtin_sub_overflow, -)
CELL_ARITHMETIC(cell_mul, __builtin_mul_overflow, *)
/* Quotients: zero is the routine's, and so are remainders of floats. */
#define QUOTIENT(op, a, b)                                                                                             \
    if (__builtin_expect(IS_SMALL(a) && IS_SMALL(b), 1)) {                                                             \
        COLD_IF(SMALL(b) == 0);                                                                                        \
        int64_t v = SMALL(a) op SMALL(b);                                                                              \
        COLD_IF((v << 16) >> 16 != v);                                                                                 \
        SAW(INT_BIT, INT_BIT)                                                                                          \
        SET_SLOT(S0, BOX_SMALL(v));                                                                                    \
        GO(CONT);                                                                                                      \
    }
PLAIN(cell_div, int64_t a = SLOT(S1), b = SLOT(S2); QUOTIENT(/, a, b)
    FLOATS(/, a, b, COLD_IF(y == 0.0); FROM_FLOAT(x / y) SAW(left, right)))
PLAIN(cell_div_p, int64_t a = SLOT(S1), b = SLOT(S2); QUOTIENT(/, a, b)
    MIXED(/, a, b, COLD_IF(y == 0.0); FROM_FLOAT(x / y) SAW(left, right)))
PLAIN(cell_rem, int64_t a = SLOT(S1), b = SLOT(S2); COLD_IF(!IS_SMALL(a) || !IS_SMALL(b)); QUOTIENT(%, a, b) GO(COLD))
#define CELL_COMPARE(name, op)                                                                                         \
    PLAIN(name, int64_t a = SLOT(S1), b = SLOT(S2); if (__builtin_expect(IS_SMALL(a) && IS_SMALL(b), 1)) {             \
        SAW(INT_BIT, INT_BIT) SET_SLOT(S0, SMALL(a) op SMALL(b)); GO(CONT); }                                          \
        FLOATS(op, a, b, SET_SLOT(S0, x op y); SAW(left, right)))                                                      \
    PLAIN(name##_p, int64_t a = SLOT(S1), b = SLOT(S2); if (__builtin_expect(IS_SMALL(a) && IS_SMALL(b), 1)) {         \
        SAW(INT_BIT, INT_BIT) SET_SLOT(S0, SMALL(a) op SMALL(b)); GO(CONT); }                                          \
        MIXED(op, a, b, SET_SLOT(S0, x op y); SAW(left, right)))
CELL_COMPARE(cell_lt, <)
CELL_COMPARE(cell_le, <=)
#define CELL_EQUAL(name, op)                                                                                           \
    PLAIN(name, int64_t a = SLOT(S1), b = SLOT(S2); COLD_IF(!IS_SMALL(a) || !IS_SMALL(b));                             \
        SAW(INT_BIT, INT_BIT) SET_SLOT(S0, a op b))
CELL_EQUAL(cell_eq, ==)
CELL_EQUAL(cell_ne, !=)

/* A cell that is returned: no result and several are noted at the caller's site. */
PLAIN(check_results, COLD_IF((uint64_t)SLOT(S1) - VALUE_NONE <= VALUE_MANY - VALUE_NONE))

/* Elements of lists by small positions, and fields of records of the shape that the site saw first: see the runtime's
 * feedback.rs for the numbers of kinds of fields. */
PLAIN(cell_index_get, int64_t o = SLOT(S1), k = SLOT(S2); COLD_IF(!IS_OBJECT(o) || !IS_SMALL(k));
    uint8_t kind = KIND(o) - KIND_LIST_FIRST; COLD_IF(kind > KIND_LIST_LAST - KIND_LIST_FIRST);
    int64_t i = SMALL(k); COLD_IF((uint64_t)i >= LEN(o));
    if (kind == 3) SET_SLOT(S0, AT(int64_t, ELEMENTS(o), i * 8));
    else if (kind == 0) { int64_t w = AT(int64_t, ELEMENTS(o), i * 8); COLD_IF((w << 16) >> 16 != w); SET_SLOT(S0, BOX_SMALL(w)); }
    else { COLD_IF(kind != 1); FROM_FLOAT(AT(double, ELEMENTS(o), i * 8)) }
    SAW(1u << KIND_LIST, INT_BIT))
PLAIN(cell_field_get, int64_t o = SLOT(S1); COLD_IF(!IS_OBJECT(o)); COLD_IF(KIND(o) != KIND_RECORD);
    char *site = FEEDBACK + SIGNED(S4); COLD_IF(AT(uint32_t, site, FEEDBACK_IDS) != AT(uint32_t, o, HEADER_META));
    uint32_t field = AT(uint32_t, site, FEEDBACK_SLOTS); int64_t w = AT(int64_t, o, RECORD_FIELDS + 8 * (field & 0xFFFF));
    uint32_t kind = field >> 16;
    if (kind == 0 || kind == 4) SET_SLOT(S0, w);
    else if (kind == 1) { COLD_IF((w << 16) >> 16 != w); SET_SLOT(S0, BOX_SMALL(w)); }
    else { COLD_IF(kind != 3); FROM_FLOAT(FLOAT(w)) })

/* With the policy that plain kinds differ: inline values of all kinds. */
#define KIND_BIT(v)                                                                                                    \
    (IS_SMALL(v)    ? INT_BIT                                                                                          \
     : IS_FLOAT(v)  ? FLOAT_BIT                                                                                        \
     : IS_SHORT(v)  ? 1u << KIND_TEXT                                                                                  \
     : (uint64_t)(v) >> 48 == VALUE_NAME_TAG >> 48 ? 1u << KIND_NAME                                                   \
     : (uint64_t)(v) == VALUE_NIL ? 1u << KIND_NIL_VALUE                                                               \
                    : 1u << KIND_BOOL)
#define CELL_EQUAL_KINDS(name, yes, no)                                                                                \
    PLAIN(name, int64_t a = SLOT(S1), b = SLOT(S2); if (__builtin_expect(IS_SMALL(a) && IS_SMALL(b), 1)) {             \
        SAW(INT_BIT, INT_BIT) SET_SLOT(S0, a == b ? yes : no); GO(CONT); }                                             \
        COLD_IF((uint64_t)a < VALUE_ADDRESS_END || (uint64_t)b < VALUE_ADDRESS_END);                                   \
        uint32_t left = KIND_BIT(a), right = KIND_BIT(b);                                                              \
        int same = a == b;                                                                                             \
        if ((left | right) & FLOAT_BIT) {                                                                              \
            COLD_IF((left | right) & INT_BIT);                                                                         \
            same = left == right && TO_FLOAT(a) == TO_FLOAT(b);                                                        \
        }                                                                                                              \
        SAW(left, right) SET_SLOT(S0, same ? yes : no))
CELL_EQUAL_KINDS(cell_eq_k, 1, 0)
CELL_EQUAL_KINDS(cell_ne_k, 0, 1)

/* Immediates: S2 is not used where the value is a hole of 64 bits. */
PLAIN(is_branch, if (SLOT(S1) == WIDE(Q0)) GO(TAKEN))
PLAIN(is_hole_branch, if (SLOT(S1) == 0) GO(TAKEN))
PLAIN(is_not_branch, if (SLOT(S1) != WIDE(Q0)) GO(TAKEN))
PLAIN(is_not_hole_branch, if (SLOT(S1) != 0) GO(TAKEN))
/* Truth of true, false and nil; other values go to the slow path. The masks say whether false and nil are false: S2, S3. */
PLAIN(truthy_branch, int64_t v = SLOT(S1); if (v == VALUE_TRUE) GO(TAKEN); COLD_IF(v != VALUE_FALSE))
PLAIN(falsy_branch, int64_t v = SLOT(S1); if (v == VALUE_FALSE) GO(TAKEN); COLD_IF(v != VALUE_TRUE))
/* What only the routine can tell. */
STENCIL(always_cold) { BEGIN if (UNLIKELY(SLOT(S1) != VALUE_TRUE || SLOT(S1) == VALUE_TRUE)) GO(COLD); GO(TAKEN); }
/* Strings: equal bits are equal strings; two objects have to be compared. */
#define STRINGS int64_t a = SLOT(S1), b = SLOT(S2); int same = a == b; COLD_IF(!same && IS_OBJECT(a) && IS_OBJECT(b))
PLAIN(string_eq_branch, STRINGS; if (same) GO(TAKEN))
PLAIN(string_ne_branch, STRINGS; if (!same) GO(TAKEN))
PLAIN(string_eq, STRINGS; SET_SLOT(S0, same))
PLAIN(string_ne, STRINGS; SET_SLOT(S0, !same))
/* Types, by what their cells are told by: S2 is the kind, or the first shape with how many follow it in S3, or the code of a list's
 * elements. With _n nil is one. A cast that these do not allow is the routine's, as are types that are told in other ways. */
#define OF_KIND(c) (IS_OBJECT(c) && (int64_t)KIND(c) == NUMBER(S2))
#define OF_SHAPES(c)                                                                                                   \
    (IS_OBJECT(c) && KIND(c) == KIND_RECORD && (uint64_t)AT(uint32_t, c, HEADER_META) - (uint64_t)NUMBER(S2) <= (uint64_t)NUMBER(S3))
#define OF_STRING(c) (IS_SHORT(c) || (IS_OBJECT(c) && KIND(c) == KIND_STRING))
#define OF_INT(c) (IS_SMALL(c) || (IS_OBJECT(c) && KIND(c) == KIND_WIDE_INT))
#define OF_BOOL(c) ((uint64_t)(c) - VALUE_FALSE <= 1)
#define OF_ELEMENTS(c) (IS_OBJECT(c) && KIND(c) == KIND_LIST_LAST && (int64_t)AT(uint32_t, c, HEADER_META) == NUMBER(S2))
#define CAST(name, is)                                                                                                 \
    PLAIN(cast_##name, int64_t c = SLOT(S1); COLD_IF(!is(c)); SET_SLOT(S0, c))                                         \
    PLAIN(cast_##name##_n, int64_t c = SLOT(S1); COLD_IF((uint64_t)c != VALUE_NIL && !is(c)); SET_SLOT(S0, c))
CAST(kind, OF_KIND)
CAST(shapes, OF_SHAPES)
CAST(string, OF_STRING)
CAST(elements, OF_ELEMENTS)
CAST(int, OF_INT)
CAST(float, IS_FLOAT)
CAST(bool, OF_BOOL)
/* What is of the type or nil. */
PLAIN(cast_present, int64_t c = SLOT(S1); COLD_IF((uint64_t)c == VALUE_NIL); SET_SLOT(S0, c))
#define TEST(name, is)                                                                                                 \
    D(test_##name, int64_t c = SLOT(S1); v = is(c))                                                                    \
    D(test_##name##_n, int64_t c = SLOT(S1); v = (uint64_t)c == VALUE_NIL || is(c))
TEST(kind, OF_KIND)
TEST(shapes, OF_SHAPES)
TEST(string, OF_STRING)
TEST(int, OF_INT)
TEST(float, IS_FLOAT)
TEST(bool, OF_BOOL)
/* A list whose header says something else may be of the type all the same. */
#define TEST_ELEMENTS(name, nil)                                                                                       \
    D(name, int64_t c = SLOT(S1); int list = IS_OBJECT(c) && KIND(c) == KIND_LIST_LAST;                                \
      COLD_IF(list && (int64_t)AT(uint32_t, c, HEADER_META) != NUMBER(S2)); v = list || nil)
TEST_ELEMENTS(test_elements, 0)
TEST_ELEMENTS(test_elements_n, (uint64_t)c == VALUE_NIL)

/* Clearing cells: two at a time. */
PLAIN(clear_1, SET_SLOT(S0, 0))
PLAIN(clear_2, CLEAR_2(S0, 0))
PLAIN(clear_4, CLEAR_2(S0, 0); CLEAR_2(S0, 16))
