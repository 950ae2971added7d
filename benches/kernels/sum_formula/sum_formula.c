// A numeric loop whose result has a closed form: sums of squares plus a constant.

#include <inttypes.h>
#include <stdio.h>

static int64_t squares(int64_t n, int64_t c) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i++) {
    sum += i * i + c;
  }
  return sum;
}

static void run(int64_t rounds, int64_t n) {
  int64_t total = 0;
  for (int64_t round = 0; round < rounds; round++) {
    total = (total + squares(n - round % 100, round)) % 1000000007;
  }
  printf("%" PRId64 "\n", total);
}

int main(void) {
  run(3000, 100000);
}
