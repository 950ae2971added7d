// Merge sort that makes new arrays.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t *allocate(size_t n) {
  int64_t *xs = malloc(n * sizeof *xs);
  if (xs == NULL) abort();
  return xs;
}

static int64_t *random_array(size_t n) {
  int64_t *xs = allocate(n);
  int64_t seed = 42;
  for (size_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    xs[i] = seed;
  }
  return xs;
}

static int64_t *merge(const int64_t *a, size_t m, const int64_t *b, size_t n) {
  int64_t *out = allocate(m + n);
  size_t i = 0;
  size_t j = 0;
  size_t k = 0;
  while (i < m && j < n) {
    if (a[i] <= b[j]) {
      out[k++] = a[i++];
    } else {
      out[k++] = b[j++];
    }
  }
  memcpy(out + k, a + i, (m - i) * sizeof *out);
  memcpy(out + k + (m - i), b + j, (n - j) * sizeof *out);
  return out;
}

static int64_t *sorted(const int64_t *xs, size_t n) {
  if (n < 2) {
    int64_t *out = allocate(1);
    out[0] = xs[0];
    return out;
  }
  size_t half = n / 2;
  int64_t *a = sorted(xs, half);
  int64_t *b = sorted(xs + half, n - half);
  int64_t *out = merge(a, half, b, n - half);
  free(a);
  free(b);
  return out;
}

static int64_t checksum(const int64_t *xs, size_t n) {
  int64_t sum = 0;
  for (size_t i = 0; i < n; i++) sum = (sum * 31 + xs[i]) % 1000000007;
  return sum;
}

int main(void) {
  size_t n = 1300000;
  int64_t *xs = random_array(n);
  int64_t *ys = sorted(xs, n);
  printf("%" PRId64 "\n", checksum(ys, n));
  free(xs);
  free(ys);
}
