// All placements of queens on a board: recursion with bool arrays as sets.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static bool *filled(int64_t n) {
  bool *xs = calloc((size_t)n, sizeof *xs);
  if (xs == NULL) abort();
  return xs;
}

static int64_t place(int64_t row, int64_t n, bool *columns, bool *rising, bool *falling) {
  if (row == n) return 1;
  int64_t found = 0;
  for (int64_t column = 0; column < n; column++) {
    int64_t up = row + column;
    int64_t down = row - column + n - 1;
    if (!columns[column] && !rising[up] && !falling[down]) {
      columns[column] = true;
      rising[up] = true;
      falling[down] = true;
      found += place(row + 1, n, columns, rising, falling);
      columns[column] = false;
      rising[up] = false;
      falling[down] = false;
    }
  }
  return found;
}

static int64_t queens(int64_t n) {
  bool *columns = filled(n);
  bool *rising = filled(2 * n);
  bool *falling = filled(2 * n);
  int64_t found = place(0, n, columns, rising, falling);
  free(columns);
  free(rising);
  free(falling);
  return found;
}

int main(void) {
  for (int64_t n = 4; n < 14; n++) {
    printf("%" PRId64 "\n", queens(n));
  }
}
