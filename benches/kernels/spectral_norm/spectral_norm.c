// Spectral norm of an infinite matrix given by a formula: ints into doubles, calls in loops.

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double a(int64_t i, int64_t j) {
  return 1.0 / (double)((i + j) * (i + j + 1) / 2 + i + 1);
}

static void multiply(const double *v, double *out, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
      sum += a(i, j) * v[j];
    }
    out[i] = sum;
  }
}

static void multiply_transposed(const double *v, double *out, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
      sum += a(j, i) * v[j];
    }
    out[i] = sum;
  }
}

static double *filled(int64_t n, double value) {
  double *xs = malloc((size_t)n * sizeof *xs);
  if (xs == NULL) abort();
  for (int64_t i = 0; i < n; i++) xs[i] = value;
  return xs;
}

static void run(int64_t n) {
  double *u = filled(n, 1.0);
  double *v = filled(n, 0.0);
  double *t = filled(n, 0.0);
  for (int64_t round = 0; round < 10; round++) {
    multiply(u, t, n);
    multiply_transposed(t, v, n);
    multiply(v, t, n);
    multiply_transposed(t, u, n);
  }
  double vbv = 0.0;
  double vv = 0.0;
  for (int64_t i = 0; i < n; i++) {
    vbv += u[i] * v[i];
    vv += v[i] * v[i];
  }
  printf("%" PRId64 "\n", (int64_t)(sqrt(vbv / vv) * 1000000000.0));
  free(u);
  free(v);
  free(t);
}

int main(void) {
  run(1600);
}
