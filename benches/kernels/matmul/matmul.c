// Naive product of two square matrices: arrays of rows of doubles.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void *allocate(size_t size) {
  void *p = malloc(size);
  if (p == NULL) abort();
  return p;
}

static double **empty(int64_t n) {
  double **rows = allocate((size_t)n * sizeof *rows);
  for (int64_t i = 0; i < n; i++) rows[i] = allocate((size_t)n * sizeof *rows[i]);
  return rows;
}

static void drop(double **rows, int64_t n) {
  for (int64_t i = 0; i < n; i++) free(rows[i]);
  free(rows);
}

static double **matrix(int64_t n, double seed) {
  double scale = seed / (double)n / (double)n;
  double **rows = empty(n);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++) {
      rows[i][j] = scale * (double)(i - j) * (double)(i + j);
    }
  }
  return rows;
}

static double **multiply(double **a, double **b, int64_t n) {
  double **rows = empty(n);
  for (int64_t i = 0; i < n; i++) {
    const double *ai = a[i];
    for (int64_t j = 0; j < n; j++) {
      double sum = 0.0;
      for (int64_t k = 0; k < n; k++) {
        sum += ai[k] * b[k][j];
      }
      rows[i][j] = sum;
    }
  }
  return rows;
}

static void run(int64_t n) {
  double **a = matrix(n, 1.0);
  double **b = matrix(n, 2.0);
  double **c = multiply(a, b, n);
  double trace = 0.0;
  for (int64_t i = 0; i < n; i++) {
    trace += c[i][i] * (double)(i + 1);
  }
  printf("%" PRId64 "\n", (int64_t)(trace * -1000000.0));
  drop(a, n);
  drop(b, n);
  drop(c, n);
}

int main(void) {
  run(540);
}
