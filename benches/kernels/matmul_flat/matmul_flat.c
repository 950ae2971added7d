// Naive product of two square matrices, each in one array, row after row.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static double *allocate(int64_t n) {
  double *cells = malloc((size_t)(n * n) * sizeof *cells);
  if (cells == NULL) abort();
  return cells;
}

static double *matrix(int64_t n, double seed) {
  double scale = seed / (double)n / (double)n;
  double *cells = allocate(n);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++) {
      cells[i * n + j] = scale * (double)(i - j) * (double)(i + j);
    }
  }
  return cells;
}

static double *multiply(const double *a, const double *b, int64_t n) {
  double *cells = allocate(n);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0.0;
      for (int64_t k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
      cells[i * n + j] = sum;
    }
  }
  return cells;
}

static void run(int64_t n) {
  double *a = matrix(n, 1.0);
  double *b = matrix(n, 2.0);
  double *c = multiply(a, b, n);
  double trace = 0.0;
  for (int64_t i = 0; i < n; i++) trace += c[i * n + i] * (double)(i + 1);
  printf("%" PRId64 "\n", (int64_t)(trace * -1000000.0));
  free(a);
  free(b);
  free(c);
}

int main(void) {
  run(640);
}
