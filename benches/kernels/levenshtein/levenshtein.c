// Edit distance of two texts: characters of strings, two rows of ints.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t size) {
  void *p = malloc(size);
  if (p == NULL) abort();
  return p;
}

static char *random_text(int64_t n, int64_t start) {
  const char *letters = "abcdefgh";
  int64_t seed = start;
  char *text = allocate((size_t)n + 1);
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    text[i] = letters[seed % 8];
  }
  text[n] = '\0';
  return text;
}

static int64_t distance(const char *s, const char *t) {
  int64_t m = (int64_t)strlen(s);
  int64_t n = (int64_t)strlen(t);
  int64_t *previous = allocate((size_t)(n + 1) * sizeof *previous);
  int64_t *current = allocate((size_t)(n + 1) * sizeof *current);
  for (int64_t j = 0; j <= n; j++) {
    previous[j] = j;
    current[j] = 0;
  }
  for (int64_t i = 0; i < m; i++) {
    current[0] = i + 1;
    char c = s[i];
    for (int64_t j = 0; j < n; j++) {
      int64_t best = previous[j];
      if (c != t[j]) best++;
      int64_t deleted = previous[j + 1] + 1;
      if (deleted < best) best = deleted;
      int64_t inserted = current[j] + 1;
      if (inserted < best) best = inserted;
      current[j + 1] = best;
    }
    int64_t *swap = previous;
    previous = current;
    current = swap;
  }
  int64_t result = previous[n];
  free(previous);
  free(current);
  return result;
}

int main(void) {
  char *s = random_text(12000, 1), *t = random_text(12800, 2);
  printf("%" PRId64 "\n", distance(s, t));
  free(s);
  free(t);
}
