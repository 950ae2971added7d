// Sieve of Eratosthenes: an array of bools that grows by appending, then strided stores.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct list {
  bool *items;
  size_t length;
  size_t capacity;
};

static void append(struct list *xs, bool x) {
  if (xs->length == xs->capacity) {
    xs->capacity = xs->capacity == 0 ? 8 : xs->capacity * 2;
    xs->items = realloc(xs->items, xs->capacity * sizeof *xs->items);
    if (xs->items == NULL) abort();
  }
  xs->items[xs->length++] = x;
}

static int64_t prime_sum(int64_t limit) {
  struct list composite = {0};
  for (int64_t i = 0; i <= limit; i++) {
    append(&composite, false);
  }
  int64_t sum = 0;
  for (int64_t i = 2; i <= limit; i++) {
    if (!composite.items[i]) {
      sum += i;
      for (int64_t j = i * i; j <= limit; j += i) {
        composite.items[j] = true;
      }
    }
  }
  free(composite.items);
  return sum;
}

int main(void) {
  int64_t total = 0;
  for (int64_t round = 0; round < 70; round++) {
    total += prime_sum(1000000 + round);
  }
  printf("%" PRId64 "\n", total);
}
