// Takeuchi's function: calls whose arguments are calls.

#include <inttypes.h>
#include <stdio.h>

static int64_t tak(int64_t x, int64_t y, int64_t z) {
  if (y >= x) return z;
  return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

int main(void) {
  int64_t total = 0;
  for (int64_t round = 0; round < 12; round++) {
    total += tak(24 + round % 3, 16, 8 - round % 2);
  }
  printf("%" PRId64 "\n", total);
}
