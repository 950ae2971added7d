// Counting the substrings of a long text: a hash table with open addressing, linear probing, at most half full, hashes
// kept. The keys are copies, since a table that owns its keys is what the others have.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A free entry has no key.
struct entry {
  char *key;
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

static void release(struct map *map) {
  for (size_t i = 0; i <= map->mask; i++) free(map->entries[i].key);
  free(map->entries);
}

// FNV-1a.
static uint64_t hash_of(const char *key, size_t length) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)key[i]) * UINT64_C(0x100000001b3);
  return hash;
}

// The entry of a key, or the free one where it belongs.
static struct entry *find(const struct map *map, const char *key, size_t length, uint64_t hash) {
  size_t i = (size_t)hash & map->mask;
  while (map->entries[i].key != NULL &&
         (map->entries[i].hash != hash || strncmp(map->entries[i].key, key, length) != 0 ||
          map->entries[i].key[length] != '\0')) {
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
    if (old[i].key != NULL) *find(map, old[i].key, strlen(old[i].key), old[i].hash) = old[i];
  }
  free(old);
}

static void insert(struct map *map, const char *key, size_t length, uint64_t hash, int64_t value) {
  if ((map->length + 1) * 2 > map->mask + 1) grow(map);
  char *copy = malloc(length + 1);
  if (copy == NULL) abort();
  memcpy(copy, key, length);
  copy[length] = '\0';
  *find(map, key, length, hash) = (struct entry){.key = copy, .hash = hash, .value = value};
  map->length++;
}

static char *random_text(size_t n) {
  static const char letters[] = "acgt";
  char *text = malloc(n + 1);
  if (text == NULL) abort();
  int64_t seed = 42;
  for (size_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    text[i] = letters[seed / 8 % 4];
  }
  text[n] = '\0';
  return text;
}

static struct map count(const char *text, size_t n, size_t length) {
  struct map counts = new_map();
  for (size_t i = 0; i + length <= n; i++) {
    uint64_t hash = hash_of(text + i, length);
    struct entry *entry = find(&counts, text + i, length, hash);
    if (entry->key != NULL) {
      entry->value++;
    } else {
      insert(&counts, text + i, length, hash, 1);
    }
  }
  return counts;
}

static void run(size_t n) {
  char *text = random_text(n);
  for (size_t length = 4; length < 9; length++) {
    struct map counts = count(text, n, length);
    int64_t sum = 0;
    for (size_t i = 0; i < 1000; i++) {
      sum += find(&counts, text + i, length, hash_of(text + i, length))->value;
    }
    printf("%zu\n%" PRId64 "\n", counts.length, sum);
    release(&counts);
  }
  free(text);
}

int main(void) {
  run(900000);
}
