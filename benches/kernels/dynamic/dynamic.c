// Values whose type is known only at run time: mixed numbers and strings in a tagged union.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct value {
  enum { INT, FLOAT, STRING } kind;
  union {
    int64_t i;
    double f;
    const char *s;
  };
} value;

static value of_int(int64_t i) {
  return (value){.kind = INT, .i = i};
}

static value of_float(double f) {
  return (value){.kind = FLOAT, .f = f};
}

static value of_string(const char *s) {
  return (value){.kind = STRING, .s = s};
}

static double number(value v) {
  switch (v.kind) {
    case INT: return (double)v.i;
    case FLOAT: return v.f;
    default: abort();
  }
}

static value add(value a, value b) {
  if (a.kind == INT && b.kind == INT) return of_int(a.i + b.i);
  return of_float(number(a) + number(b));
}

static value sub(value a, value b) {
  if (a.kind == INT && b.kind == INT) return of_int(a.i - b.i);
  return of_float(number(a) - number(b));
}

static value mul(value a, value b) {
  if (a.kind == INT && b.kind == INT) return of_int(a.i * b.i);
  return of_float(number(a) * number(b));
}

static bool less(value a, value b) {
  if (a.kind == INT && b.kind == INT) return a.i < b.i;
  if (a.kind == STRING && b.kind == STRING) return strcmp(a.s, b.s) < 0;
  return number(a) < number(b);
}

static bool equal(value a, value b) {
  if (a.kind == INT && b.kind == INT) return a.i == b.i;
  if (a.kind == STRING || b.kind == STRING) return a.kind == b.kind && strcmp(a.s, b.s) == 0;
  return number(a) == number(b);
}

static value *mixed(int64_t n) {
  value *out = malloc((size_t)n * sizeof *out);
  if (out == NULL) abort();
  for (int64_t i = 0; i < n; i++) {
    if (i % 5 == 0) {
      out[i] = of_string("item");
    } else if (i % 3 == 0) {
      out[i] = of_float((double)i / 4.0);
    } else {
      out[i] = of_int(i);
    }
  }
  return out;
}

static value smaller(value a, value b) {
  if (less(b, a)) return b;
  return a;
}

static value blend(value a, value b) {
  return sub(add(mul(a, of_int(3)), mul(b, of_int(2))), of_int(1));
}

static void run(int64_t n, int64_t rounds) {
  value *xs = mixed(n);
  value total = of_int(0);
  int64_t items = 0;
  for (int64_t round = 0; round < rounds; round++) {
    value last = of_int(round);
    for (int64_t i = 0; i < n; i++) {
      value x = xs[i];
      if (equal(x, of_string("item"))) {
        items++;
      } else {
        total = add(total, smaller(blend(x, last), of_int(5000)));
        last = x;
      }
    }
  }
  printf("%" PRId64 "\n", items);
  printf("%" PRId64 "\n", total.kind == INT ? total.i : (int64_t)number(total));
  free(xs);
}

int main(void) {
  run(1000, 60000);
}
