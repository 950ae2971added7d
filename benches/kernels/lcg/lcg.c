// A numeric loop without a closed form: pseudo-random numbers, each made from the one before.

#include <inttypes.h>
#include <stdio.h>

static void run(int64_t n) {
  int64_t seed = 42;
  int64_t odd = 0;
  int64_t falls = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t next = seed * 16807 % 2147483647;
    if (next % 2 == 1) odd++;
    if (next < seed) falls++;
    seed = next;
  }
  printf("%" PRId64 "\n%" PRId64 "\n%" PRId64 "\n", odd, falls, seed);
}

int main(void) {
  run(30000000);
}
