// Evaluating expression trees: a tagged union and a recursive `switch`. Values are remainders of a prime.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct expr {
  enum { NUMBER, VARIABLE, NEGATE, ADD, SUBTRACT, MULTIPLY } kind;
  union {
    int64_t value;
    int64_t index;
    const struct expr *inner;
    struct {
      const struct expr *left;
      const struct expr *right;
    };
  };
} expr;

enum { PRIME = 10007 };

static int64_t draw(int64_t *seed, int64_t n) {
  *seed = *seed * 16807 % 2147483647;
  return *seed % n;
}

static expr *allocate(expr e) {
  expr *p = malloc(sizeof *p);
  if (p == NULL) abort();
  *p = e;
  return p;
}

static expr *build(int64_t depth, int64_t *seed) {
  if (depth == 0) {
    if (draw(seed, 2) == 0) return allocate((expr){.kind = NUMBER, .value = draw(seed, PRIME)});
    return allocate((expr){.kind = VARIABLE, .index = draw(seed, 3)});
  }
  int64_t kind = draw(seed, 7);
  if (kind == 0) return allocate((expr){.kind = NEGATE, .inner = build(depth - 1, seed)});
  const expr *left = build(depth - 1, seed);
  const expr *right = build(depth - 1, seed);
  if (kind < 3) return allocate((expr){.kind = ADD, .left = left, .right = right});
  if (kind < 5) return allocate((expr){.kind = SUBTRACT, .left = left, .right = right});
  return allocate((expr){.kind = MULTIPLY, .left = left, .right = right});
}

static int64_t evaluate(const expr *e, const int64_t *variables) {
  switch (e->kind) {
    case NUMBER: return e->value;
    case VARIABLE: return variables[e->index];
    case NEGATE: return (PRIME - evaluate(e->inner, variables)) % PRIME;
    case ADD: return (evaluate(e->left, variables) + evaluate(e->right, variables)) % PRIME;
    case SUBTRACT: return (evaluate(e->left, variables) + PRIME - evaluate(e->right, variables)) % PRIME;
    case MULTIPLY: return evaluate(e->left, variables) * evaluate(e->right, variables) % PRIME;
  }
  abort();
}

static void run(int64_t depth, int64_t rounds) {
  int64_t seed = 42;
  const expr *e = build(depth, &seed);
  int64_t total = 0;
  for (int64_t round = 0; round < rounds; round++) {
    const int64_t variables[] = {round % PRIME, round * 7 % PRIME, 1};
    total += evaluate(e, variables);
  }
  // The tree lives until the end.
  printf("%" PRId64 "\n", total);
}

int main(void) {
  run(12, 8000);
}
