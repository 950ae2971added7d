// The game of life on a torus: rows of ints, eight neighbours each.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t **allocate(int64_t width, int64_t height) {
  int64_t **rows = malloc((size_t)height * sizeof *rows);
  if (rows == NULL) abort();
  for (int64_t y = 0; y < height; y++) {
    rows[y] = malloc((size_t)width * sizeof *rows[y]);
    if (rows[y] == NULL) abort();
  }
  return rows;
}

static void release(int64_t **rows, int64_t height) {
  for (int64_t y = 0; y < height; y++) free(rows[y]);
  free(rows);
}

static int64_t **soup(int64_t width, int64_t height) {
  int64_t **rows = allocate(width, height);
  int64_t seed = 42;
  for (int64_t y = 0; y < height; y++) {
    for (int64_t x = 0; x < width; x++) {
      seed = seed * 16807 % 2147483647;
      rows[y][x] = seed % 2;
    }
  }
  return rows;
}

static int64_t **next(int64_t **rows, int64_t width, int64_t height) {
  int64_t **out = allocate(width, height);
  for (int64_t y = 0; y < height; y++) {
    const int64_t *above = rows[(y + height - 1) % height];
    const int64_t *here = rows[y];
    const int64_t *below = rows[(y + 1) % height];
    for (int64_t x = 0; x < width; x++) {
      int64_t left = x == 0 ? width - 1 : x - 1;
      int64_t right = x + 1 == width ? 0 : x + 1;
      int64_t around = above[left] + above[x] + above[right] + here[left] + here[right] + below[left] + below[x] +
                       below[right];
      out[y][x] = around == 3 || (around == 2 && here[x] == 1);
    }
  }
  return out;
}

static void run(int64_t size, int64_t generations) {
  int64_t **rows = soup(size, size);
  for (int64_t generation = 0; generation < generations; generation++) {
    int64_t **out = next(rows, size, size);
    release(rows, size);
    rows = out;
  }
  int64_t alive = 0;
  int64_t sum = 0;
  for (int64_t y = 0; y < size; y++) {
    for (int64_t x = 0; x < size; x++) {
      if (rows[y][x] == 1) {
        alive++;
        sum = (sum * 31 + y * size + x) % 1000000007;
      }
    }
  }
  printf("%" PRId64 "\n%" PRId64 "\n", alive, sum);
  release(rows, size);
}

int main(void) {
  run(200, 1200);
}
