// Functions as values: captured constants, captured variables, calls through parameters.
// A closure is a function pointer at the head of what it captures.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct int_to_int {
  int64_t (*call)(struct int_to_int *self, int64_t x);
} int_to_int;

typedef struct int_to_bool {
  bool (*call)(struct int_to_bool *self, int64_t x);
} int_to_bool;

typedef struct ints_to_int {
  int64_t (*call)(struct ints_to_int *self, int64_t a, int64_t b);
} ints_to_int;

typedef struct to_int {
  int64_t (*call)(struct to_int *self);
} to_int;

static void *allocate(size_t size) {
  void *p = malloc(size);
  if (p == NULL) abort();
  return p;
}

struct adder {
  int_to_int head;
  int64_t n;
};

static int64_t call_adder(int_to_int *self, int64_t x) {
  return x + ((struct adder *)self)->n;
}

static int_to_int *adder(int64_t n) {
  struct adder *closure = allocate(sizeof *closure);
  closure->head.call = call_adder;
  closure->n = n;
  return &closure->head;
}

struct composed {
  int_to_int head;
  int_to_int *f;
  int_to_int *g;
};

static int64_t call_composed(int_to_int *self, int64_t x) {
  struct composed *closure = (struct composed *)self;
  return closure->g->call(closure->g, closure->f->call(closure->f, x));
}

static int_to_int *compose(int_to_int *f, int_to_int *g) {
  struct composed *closure = allocate(sizeof *closure);
  closure->head.call = call_composed;
  closure->f = f;
  closure->g = g;
  return &closure->head;
}

struct counter {
  to_int head;
  int64_t step;
  int64_t count;
};

static int64_t call_counter(to_int *self) {
  struct counter *closure = (struct counter *)self;
  closure->count += closure->step;
  return closure->count;
}

static to_int *counter(int64_t step) {
  struct counter *closure = allocate(sizeof *closure);
  closure->head.call = call_counter;
  closure->step = step;
  closure->count = 0;
  return &closure->head;
}

struct not_remainder {
  int_to_bool head;
  int64_t round;
};

static bool call_not_remainder(int_to_bool *self, int64_t x) {
  return x % 3 != ((struct not_remainder *)self)->round % 3;
}

static int_to_bool *not_remainder(int64_t round) {
  struct not_remainder *closure = allocate(sizeof *closure);
  closure->head.call = call_not_remainder;
  closure->round = round;
  return &closure->head;
}

static int64_t call_sum(ints_to_int *self, int64_t a, int64_t b) {
  (void)self;
  return a + b;
}

typedef struct list {
  int64_t *items;
  size_t length;
  size_t capacity;
} list;

static void append(list *xs, int64_t x) {
  if (xs->length == xs->capacity) {
    xs->capacity = xs->capacity == 0 ? 8 : xs->capacity * 2;
    xs->items = realloc(xs->items, xs->capacity * sizeof *xs->items);
    if (xs->items == NULL) abort();
  }
  xs->items[xs->length++] = x;
}

static list mapped(const list *xs, int_to_int *f) {
  list out = {0};
  for (size_t i = 0; i < xs->length; i++) append(&out, f->call(f, xs->items[i]));
  return out;
}

static list kept(const list *xs, int_to_bool *f) {
  list out = {0};
  for (size_t i = 0; i < xs->length; i++) {
    if (f->call(f, xs->items[i])) append(&out, xs->items[i]);
  }
  return out;
}

static int64_t folded(const list *xs, int64_t start, ints_to_int *f) {
  int64_t acc = start;
  for (size_t i = 0; i < xs->length; i++) acc = f->call(f, acc, xs->items[i]);
  return acc;
}

static void run(int64_t rounds, int64_t size) {
  list xs = {0};
  for (int64_t i = 0; i < size; i++) append(&xs, i);
  to_int *next = counter(3);
  ints_to_int sum = {call_sum};
  int64_t total = 0;
  for (int64_t round = 0; round < rounds; round++) {
    int_to_int *first = adder(round);
    int_to_int *second = adder(7);
    int_to_int *shift = compose(first, second);
    int_to_bool *keep = not_remainder(round);
    list shifted = mapped(&xs, shift);
    list ys = kept(&shifted, keep);
    total = (total + folded(&ys, next->call(next), &sum)) % 1000000007;
    for (int64_t i = 0; i < size; i++) {
      total += next->call(next) % 7;
    }
    free(shifted.items);
    free(ys.items);
    free(keep);
    free(shift);
    free(second);
    free(first);
  }
  printf("%" PRId64 "\n", total);
  free(next);
  free(xs.items);
}

int main(void) {
  run(12000, 1000);
}
