// The start below a limit with the longest Collatz sequence: an int loop with branches.

#include <inttypes.h>
#include <stdio.h>

static int64_t steps(int64_t start) {
  int64_t n = start;
  int64_t count = 0;
  while (n != 1) {
    if (n % 2 == 0) {
      n = n / 2;
    } else {
      n = 3 * n + 1;
    }
    count++;
  }
  return count;
}

static void run(int64_t limit) {
  int64_t best = 0;
  int64_t longest = 0;
  for (int64_t start = 1; start < limit; start++) {
    int64_t count = steps(start);
    if (count > longest) {
      longest = count;
      best = start;
    }
  }
  printf("%" PRId64 "\n", best);
  printf("%" PRId64 "\n", longest);
}

int main(void) {
  run(1000000);
}
