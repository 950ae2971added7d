// Writing JSON text: structs, arrays and strings whose quotes need escaping, into a buffer that grows.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
  int64_t id;
  const char *name;
  const char *tags[3];
  int64_t tag_count;
  bool active;
};

struct buffer {
  char *bytes;
  size_t length;
  size_t capacity;
};

static void reserve(struct buffer *buffer, size_t more) {
  if (buffer->length + more > buffer->capacity) {
    buffer->capacity = (buffer->length + more) * 2;
    buffer->bytes = realloc(buffer->bytes, buffer->capacity);
    if (buffer->bytes == NULL) abort();
  }
}

static void put(struct buffer *buffer, char c) {
  reserve(buffer, 1);
  buffer->bytes[buffer->length++] = c;
}

static void append(struct buffer *buffer, const char *text) {
  size_t length = strlen(text);
  reserve(buffer, length);
  memcpy(buffer->bytes + buffer->length, text, length);
  buffer->length += length;
}

static void append_int(struct buffer *buffer, int64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRId64, value);
  append(buffer, digits);
}

static void append_quoted(struct buffer *buffer, const char *text) {
  put(buffer, '"');
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\') put(buffer, '\\');
    put(buffer, *text);
  }
  put(buffer, '"');
}

static struct item *make_items(int64_t n) {
  static const char *names[] = {"plain", "two words", "a \"quoted\" one", "back\\slash",
                                "a longer name without anything special"};
  static const char *tags[] = {"new", "old", "\"odd\"", "large"};
  struct item *out = malloc((size_t)n * sizeof *out);
  if (out == NULL) abort();
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    struct item item = {.id = seed, .name = names[seed % 5], .tag_count = seed % 4, .active = seed % 3 == 0};
    for (int64_t j = 0; j < item.tag_count; j++) item.tags[j] = tags[(seed + j) % 4];
    out[i] = item;
  }
  return out;
}

static void append_item(struct buffer *buffer, const struct item *item) {
  append(buffer, "{\"id\":");
  append_int(buffer, item->id);
  append(buffer, ",\"name\":");
  append_quoted(buffer, item->name);
  append(buffer, ",\"tags\":[");
  for (int64_t i = 0; i < item->tag_count; i++) {
    if (i > 0) put(buffer, ',');
    append_quoted(buffer, item->tags[i]);
  }
  append(buffer, "],\"active\":");
  append(buffer, item->active ? "true" : "false");
  put(buffer, '}');
}

static struct buffer document(const struct item *items, int64_t n) {
  struct buffer text = {0};
  put(&text, '[');
  for (int64_t i = 0; i < n; i++) {
    if (i > 0) put(&text, ',');
    append_item(&text, &items[i]);
  }
  put(&text, ']');
  return text;
}

static void run(int64_t n, int64_t rounds) {
  struct item *all = make_items(n);
  int64_t total = 0;
  for (int64_t round = 0; round < rounds; round++) {
    all[round % n].id = round;
    struct buffer text = document(all, n);
    total += (int64_t)text.length;
    free(text.bytes);
  }
  int64_t slashes = 0;
  struct buffer text = document(all, n);
  for (size_t i = 0; i < text.length; i++) {
    if (text.bytes[i] == '\\') slashes++;
  }
  free(text.bytes);
  printf("%" PRId64 "\n%" PRId64 "\n", total, slashes);
  free(all);
}

int main(void) {
  run(1000, 1100);
}
