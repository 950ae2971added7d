// Quicksort in place on an array of pseudo-random ints.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t *random_list(int64_t n) {
  int64_t *xs = malloc((size_t)n * sizeof *xs);
  if (xs == NULL) abort();
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    xs[i] = seed;
  }
  return xs;
}

static void quicksort(int64_t *xs, int64_t low, int64_t high) {
  if (low >= high) return;
  int64_t pivot = xs[(low + high) / 2];
  int64_t i = low;
  int64_t j = high;
  while (i <= j) {
    while (xs[i] < pivot) i++;
    while (xs[j] > pivot) j--;
    if (i <= j) {
      int64_t t = xs[i];
      xs[i] = xs[j];
      xs[j] = t;
      i++;
      j--;
    }
  }
  quicksort(xs, low, j);
  quicksort(xs, i, high);
}

static int64_t checksum(const int64_t *xs, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i > 0 && xs[i - 1] > xs[i]) return -1;
    sum = (sum * 31 + xs[i]) % 1000000007;
  }
  return sum;
}

int main(void) {
  int64_t n = 2000000;
  int64_t *xs = random_list(n);
  quicksort(xs, 0, n - 1);
  printf("%" PRId64 "\n", checksum(xs, n));
  free(xs);
}
