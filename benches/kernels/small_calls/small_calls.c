// Calls of small functions, which call still smaller ones.

#include <inttypes.h>
#include <stdio.h>

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
  if (x < low) return low;
  if (x > high) return high;
  return x;
}

static int64_t mix(int64_t a, int64_t b) {
  return (a * 31 + b) % 65521;
}

static int64_t distance(int64_t a, int64_t b) {
  if (a < b) return b - a;
  return a - b;
}

static int64_t step(int64_t x, int64_t i) {
  int64_t y = mix(x, i);
  return clamp(distance(x, y) + mix(y, 7), 100, 120000);
}

static void run(int64_t n) {
  int64_t x = 1;
  int64_t total = 0;
  for (int64_t i = 0; i < n; i++) {
    x = step(x, i);
    total += clamp(x, 1000, 100000);
  }
  printf("%" PRId64 "\n%" PRId64 "\n", x, total);
}

int main(void) {
  run(15000000);
}
