// Points of the Mandelbrot set: float arithmetic in a loop with an early exit.

#include <inttypes.h>
#include <stdio.h>

static int64_t escapes_after(double cr, double ci, int64_t limit) {
  double zr = 0.0;
  double zi = 0.0;
  int64_t n = 0;
  while (n < limit) {
    double zr2 = zr * zr;
    double zi2 = zi * zi;
    if (zr2 + zi2 > 4.0) return n;
    zi = 2.0 * zr * zi + ci;
    zr = zr2 - zi2 + cr;
    n++;
  }
  return limit;
}

static void run(int64_t size, int64_t limit) {
  int64_t inside = 0;
  int64_t steps = 0;
  for (int64_t y = 0; y < size; y++) {
    double ci = 2.0 * (double)y / (double)size - 1.0;
    for (int64_t x = 0; x < size; x++) {
      double cr = 3.0 * (double)x / (double)size - 2.0;
      int64_t n = escapes_after(cr, ci, limit);
      steps += n;
      if (n == limit) inside++;
    }
  }
  printf("%" PRId64 "\n", inside);
  printf("%" PRId64 "\n", steps);
}

int main(void) {
  run(700, 400);
}
