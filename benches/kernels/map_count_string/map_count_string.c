// Counting in a map with string keys: open addressing, linear probing, at most half full, hashes kept.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A free entry has no key.
struct entry {
  const char *key;
  uint64_t hash;
  int64_t value;
};

struct map {
  struct entry *entries;
  size_t mask;
  size_t length;
};

static struct entry *new_entries(size_t capacity) {
  struct entry *entries = calloc(capacity, sizeof *entries);
  if (entries == NULL) abort();
  return entries;
}

static struct map new_map(void) {
  return (struct map){.entries = new_entries(8), .mask = 7, .length = 0};
}

// FNV-1a.
static uint64_t hash_of(const char *key) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (; *key != '\0'; key++) hash = (hash ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
  return hash;
}

// The entry of a key, or the free one where it belongs.
static struct entry *find(const struct map *map, const char *key, uint64_t hash) {
  size_t i = (size_t)hash & map->mask;
  while (map->entries[i].key != NULL &&
         (map->entries[i].hash != hash || strcmp(map->entries[i].key, key) != 0)) {
    i = (i + 1) & map->mask;
  }
  return &map->entries[i];
}

static void grow(struct map *map) {
  struct entry *old = map->entries;
  size_t capacity = map->mask + 1;
  map->entries = new_entries(capacity * 2);
  map->mask = capacity * 2 - 1;
  for (size_t i = 0; i < capacity; i++) {
    if (old[i].key != NULL) *find(map, old[i].key, old[i].hash) = old[i];
  }
  free(old);
}

static void insert(struct map *map, const char *key, uint64_t hash, int64_t value) {
  if ((map->length + 1) * 2 > map->mask + 1) grow(map);
  *find(map, key, hash) = (struct entry){.key = key, .hash = hash, .value = value};
  map->length++;
}

static char **vocabulary(int64_t n) {
  char **words = malloc((size_t)n * sizeof *words);
  if (words == NULL) abort();
  for (int64_t i = 0; i < n; i++) {
    char buffer[32];
    int length = snprintf(buffer, sizeof buffer, "word-%" PRId64, i * 7919 % 100003);
    words[i] = malloc((size_t)length + 1);
    if (words[i] == NULL) abort();
    memcpy(words[i], buffer, (size_t)length + 1);
  }
  return words;
}

static struct map count(char **words, int64_t size, int64_t n) {
  struct map counts = new_map();
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    const char *word = words[seed % size];
    uint64_t hash = hash_of(word);
    struct entry *entry = find(&counts, word, hash);
    if (entry->key != NULL) {
      entry->value++;
    } else {
      insert(&counts, word, hash, 1);
    }
  }
  return counts;
}

static void run(int64_t n, int64_t size) {
  char **words = vocabulary(size);
  struct map counts = count(words, size, n);
  int64_t sum = 0;
  for (int64_t i = 0; i < size; i++) {
    const struct entry *entry = find(&counts, words[i], hash_of(words[i]));
    if (entry->key != NULL) sum += i * entry->value % 1009;
  }
  printf("%zu\n", counts.length);
  printf("%" PRId64 "\n", sum);
  free(counts.entries);
  for (int64_t i = 0; i < size; i++) free(words[i]);
  free(words);
}

int main(void) {
  run(6000000, 20000);
}
