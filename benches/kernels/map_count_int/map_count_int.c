// Counting in a map with int keys: open addressing, linear probing, at most half full,
// and multiplication by the golden ratio for a hash.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct entry {
  bool used;
  int64_t key;
  int64_t value;
};

// The capacity is a power of two; `shift` leaves as many bits of a hash.
struct map {
  struct entry *entries;
  size_t capacity;
  size_t length;
  int shift;
};

static struct entry *new_entries(size_t capacity) {
  struct entry *entries = calloc(capacity, sizeof *entries);
  if (entries == NULL) abort();
  return entries;
}

static struct map new_map(void) {
  return (struct map){.entries = new_entries(8), .capacity = 8, .length = 0, .shift = 64 - 3};
}

// The entry of a key, or the free one where it belongs.
static struct entry *find(const struct map *map, int64_t key) {
  size_t i = (size_t)((uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> map->shift);
  while (map->entries[i].used && map->entries[i].key != key) i = (i + 1) & (map->capacity - 1);
  return &map->entries[i];
}

static void grow(struct map *map) {
  struct entry *old = map->entries;
  size_t capacity = map->capacity;
  map->entries = new_entries(capacity * 2);
  map->capacity = capacity * 2;
  map->shift--;
  for (size_t i = 0; i < capacity; i++) {
    if (old[i].used) *find(map, old[i].key) = old[i];
  }
  free(old);
}

static void insert(struct map *map, int64_t key, int64_t value) {
  if ((map->length + 1) * 2 > map->capacity) grow(map);
  *find(map, key) = (struct entry){.used = true, .key = key, .value = value};
  map->length++;
}

static struct map count(int64_t n, int64_t range) {
  struct map counts = new_map();
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    int64_t key = seed % range;
    struct entry *entry = find(&counts, key);
    if (entry->used) {
      entry->value++;
    } else {
      insert(&counts, key, 1);
    }
  }
  return counts;
}

static void run(int64_t n, int64_t range) {
  struct map counts = count(n, range);
  int64_t sum = 0;
  for (int64_t key = 0; key < range; key++) {
    const struct entry *entry = find(&counts, key);
    if (entry->used) sum += key * entry->value % 1009;
  }
  printf("%zu\n", counts.length);
  printf("%" PRId64 "\n", sum);
  free(counts.entries);
}

int main(void) {
  run(20000000, 60000);
}
