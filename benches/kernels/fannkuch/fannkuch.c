// Pancake flips over all permutations: short int arrays, index arithmetic, nested loops.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t *numbers(int64_t n) {
  int64_t *xs = malloc((size_t)n * sizeof *xs);
  if (xs == NULL) abort();
  for (int64_t i = 0; i < n; i++) xs[i] = i;
  return xs;
}

static void fannkuch(int64_t n) {
  int64_t *perm = numbers(n);
  int64_t *current = numbers(n);
  int64_t *count = numbers(n);
  int64_t checksum = 0;
  int64_t max_flips = 0;
  bool even = true;
  int64_t r = n;
  while (true) {
    while (r > 1) {
      count[r - 1] = r;
      r--;
    }
    for (int64_t i = 0; i < n; i++) perm[i] = current[i];
    int64_t flips = 0;
    int64_t k = perm[0];
    while (k != 0) {
      int64_t i = 0;
      int64_t j = k;
      while (i < j) {
        int64_t t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
        i++;
        j--;
      }
      flips++;
      k = perm[0];
    }
    if (flips > max_flips) max_flips = flips;
    if (even) {
      checksum += flips;
    } else {
      checksum -= flips;
    }
    even = !even;
    while (true) {
      if (r == n) {
        printf("%" PRId64 "\n", checksum);
        printf("%" PRId64 "\n", max_flips);
        free(perm);
        free(current);
        free(count);
        return;
      }
      int64_t first = current[0];
      for (int64_t i = 0; i < r; i++) current[i] = current[i + 1];
      current[r] = first;
      count[r]--;
      if (count[r] > 0) break;
      r++;
    }
  }
}

int main(void) {
  fannkuch(10);
}
