// Primes counted by trial division: remainders by a variable.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static bool is_prime(int64_t n) {
  if (n < 4) return n > 1;
  if (n % 2 == 0 || n % 3 == 0) return false;
  for (int64_t d = 5; d * d <= n; d += 6) {
    if (n % d == 0 || n % (d + 2) == 0) return false;
  }
  return true;
}

static void run(int64_t limit) {
  int64_t count = 0;
  int64_t sum = 0;
  for (int64_t n = 0; n < limit; n++) {
    if (is_prime(n)) {
      count++;
      sum += n;
    }
  }
  printf("%" PRId64 "\n%" PRId64 "\n", count, sum);
}

int main(void) {
  run(2500000);
}
