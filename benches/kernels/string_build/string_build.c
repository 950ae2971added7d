// Strings built piece by piece: words, separators and numbers, in a buffer that grows.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
  char *bytes;
  size_t length;
  size_t capacity;
};

static void append(struct buffer *buffer, const char *text) {
  size_t length = strlen(text);
  if (buffer->length + length > buffer->capacity) {
    buffer->capacity = (buffer->length + length) * 2;
    buffer->bytes = realloc(buffer->bytes, buffer->capacity);
    if (buffer->bytes == NULL) abort();
  }
  memcpy(buffer->bytes + buffer->length, text, length);
  buffer->length += length;
}

static const char *words[] = {"alpha", "be", "gamma-ray", "d", "epsilon", "zeta", "eta", "th"};

static struct buffer build(int64_t pieces) {
  struct buffer text = {0};
  for (int64_t i = 0; i < pieces; i++) {
    append(&text, words[i % 8]);
    append(&text, ",");
    if (i % 16 == 0) {
      char digits[24];
      snprintf(digits, sizeof digits, "%" PRId64, i);
      append(&text, digits);
    }
  }
  return text;
}

int main(void) {
  int64_t total = 0;
  for (int64_t round = 0; round < 150; round++) {
    struct buffer text = build(80000 + round);
    total += (int64_t)text.length;
    if (memcmp(text.bytes + text.length - 6, "gamma", 5) == 0) {
      total++;
    }
    free(text.bytes);
  }
  printf("%" PRId64 "\n", total);
}
