// Runs a kernel's C program again and again in one process and prints what each iteration took, in nanoseconds: the control
// of `cargo xtask warmup`. Both files are compiled with -Dmain=kernel_main, so that this one calls the other's `main`.
// What the kernel prints goes nowhere.
#define _POSIX_C_SOURCE 200809L
#undef main

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int kernel_main(void);

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void list(FILE *out, const char *name, const int64_t *times, long n) {
  fprintf(out, "\"%s\":[", name);
  for (long i = 0; i < n; i++) {
    fprintf(out, i == 0 ? "%" PRId64 : ",%" PRId64, times[i]);
  }
  fputs("]", out);
}

int main(int argc, char **argv) {
  long n = argc == 2 ? atol(argv[1]) : 0;
  int64_t *cpu = calloc((size_t)n + 1, sizeof *cpu);
  int64_t *wall = calloc((size_t)n + 1, sizeof *wall);
  FILE *out = fdopen(dup(STDOUT_FILENO), "w");
  if (n <= 0 || cpu == NULL || wall == NULL || out == NULL || freopen("/dev/null", "w", stdout) == NULL) {
    return 1;
  }
  for (long i = 0; i < n; i++) {
    int64_t wall_start = now(CLOCK_MONOTONIC);
    int64_t cpu_start = now(CLOCK_THREAD_CPUTIME_ID);
    kernel_main();
    cpu[i] = now(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
    wall[i] = now(CLOCK_MONOTONIC) - wall_start;
  }
  fputs("{", out);
  list(out, "cpu", cpu, n);
  fputs(",", out);
  list(out, "wall", wall, n);
  fputs("}\n", out);
  return fclose(out) == 0 ? 0 : 1;
}
