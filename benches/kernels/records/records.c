// Particles in a box: int, double and bool fields of structs, read and written in loops.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct particle {
  double x;
  double y;
  double vx;
  double vy;
  int64_t bounces;
  bool awake;
};

static struct particle *particles(int64_t n) {
  struct particle *out = malloc((size_t)n * sizeof *out);
  if (out == NULL) abort();
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    struct particle *p = &out[i];
    seed = seed * 16807 % 2147483647;
    p->x = (double)(seed % 1000);
    seed = seed * 16807 % 2147483647;
    p->y = (double)(seed % 1000);
    seed = seed * 16807 % 2147483647;
    p->vx = (double)(seed % 65 - 32) / 8.0;
    seed = seed * 16807 % 2147483647;
    p->vy = (double)(seed % 65 - 32) / 8.0;
    p->bounces = 0;
    p->awake = i % 10 != 0;
  }
  return out;
}

static void step(struct particle *ps, int64_t n, double size) {
  for (int64_t i = 0; i < n; i++) {
    struct particle *p = &ps[i];
    if (p->awake) {
      p->x += p->vx;
      p->y += p->vy;
      if (p->x < 0.0 || p->x > size) {
        p->vx = 0.0 - p->vx;
        p->bounces++;
      }
      if (p->y < 0.0 || p->y > size) {
        p->vy = 0.0 - p->vy;
        p->bounces++;
      }
    }
  }
}

static void run(int64_t n, int64_t steps) {
  struct particle *ps = particles(n);
  for (int64_t i = 0; i < steps; i++) step(ps, n, 1000.0);
  int64_t bounces = 0;
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) {
    bounces += ps[i].bounces;
    sum += ps[i].x * 8.0 + ps[i].y;
  }
  printf("%" PRId64 "\n", bounces);
  printf("%" PRId64 "\n", (int64_t)sum);
  free(ps);
}

int main(void) {
  run(1000, 100000);
}
