// Taking texts apart and putting them together: split, search, case, join.
// Words are slices of the text; every changed word is a string of its own.

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct string {
  char *bytes;
  size_t length;
};

struct list {
  struct string *items;
  size_t length;
  size_t capacity;
};

static void *allocate(size_t size) {
  void *p = malloc(size);
  if (p == NULL) abort();
  return p;
}

static void append(struct list *xs, struct string x) {
  if (xs->length == xs->capacity) {
    xs->capacity = xs->capacity == 0 ? 8 : xs->capacity * 2;
    xs->items = realloc(xs->items, xs->capacity * sizeof *xs->items);
    if (xs->items == NULL) abort();
  }
  xs->items[xs->length++] = x;
}

static struct string join(const struct list *parts, char separator) {
  size_t length = parts->length == 0 ? 0 : parts->length - 1;
  for (size_t i = 0; i < parts->length; i++) length += parts->items[i].length;
  struct string text = {allocate(length + 1), length};
  char *at = text.bytes;
  for (size_t i = 0; i < parts->length; i++) {
    if (i > 0) *at++ = separator;
    memcpy(at, parts->items[i].bytes, parts->items[i].length);
    at += parts->items[i].length;
  }
  *at = '\0';
  return text;
}

static struct list split(struct string text, char separator) {
  struct list words = {0};
  char *at = text.bytes;
  char *end = text.bytes + text.length;
  char *found;
  while ((found = memchr(at, separator, (size_t)(end - at))) != NULL) {
    append(&words, (struct string){at, (size_t)(found - at)});
    at = found + 1;
  }
  append(&words, (struct string){at, (size_t)(end - at)});
  return words;
}

static void drop_strings(struct list *xs) {
  for (size_t i = 0; i < xs->length; i++) free(xs->items[i].bytes);
  free(xs->items);
}

static struct string sentence(int64_t n) {
  const char *words[] = {"the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"};
  struct list parts = {0};
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    char buffer[32];
    int length = snprintf(buffer, sizeof buffer, "%s%" PRId64, words[seed % 9], seed % 10);
    struct string part = {allocate((size_t)length), (size_t)length};
    memcpy(part.bytes, buffer, part.length);
    append(&parts, part);
  }
  struct string text = join(&parts, ' ');
  drop_strings(&parts);
  return text;
}

static void run(int64_t rounds, int64_t size) {
  struct string text = sentence(size);
  int64_t total = 0;
  for (int64_t round = 0; round < rounds; round++) {
    struct list out = {0};
    struct list words = split(text, ' ');
    for (size_t i = 0; i < words.length; i++) {
      struct string word = words.items[i];
      char head = word.bytes[0];
      struct string tail = {word.bytes + 1, word.length - 1};
      struct string changed = {allocate(word.length), word.length};
      if (memchr(tail.bytes, 'o', tail.length) != NULL) {
        changed.bytes[0] = (char)toupper((unsigned char)head);
        memcpy(changed.bytes + 1, tail.bytes, tail.length);
      } else {
        memcpy(changed.bytes, tail.bytes, tail.length);
        changed.bytes[tail.length] = head;
      }
      append(&out, changed);
    }
    struct string line = join(&out, '-');
    total += (int64_t)line.length;
    int64_t at = round * 37 % (int64_t)line.length;
    if (line.bytes[at] == '-') {
      total++;
    }
    free(line.bytes);
    free(words.items);
    drop_strings(&out);
  }
  printf("%" PRId64 "\n", total);
  free(text.bytes);
}

int main(void) {
  run(5000, 1000);
}
