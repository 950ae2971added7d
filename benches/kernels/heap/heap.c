// A priority queue: a binary heap in an array that grows, whose entries are pushed and popped in turn.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct heap {
  int64_t *items;
  size_t size;
  size_t capacity;
};

static void push(struct heap *heap, int64_t item) {
  if (heap->size == heap->capacity) {
    heap->capacity = heap->capacity == 0 ? 8 : heap->capacity * 2;
    heap->items = realloc(heap->items, heap->capacity * sizeof *heap->items);
    if (heap->items == NULL) abort();
  }
  int64_t *items = heap->items;
  size_t at = heap->size++;
  while (at > 0) {
    size_t parent = (at - 1) / 2;
    if (items[parent] <= item) break;
    items[at] = items[parent];
    at = parent;
  }
  items[at] = item;
}

static int64_t pop(struct heap *heap) {
  int64_t *items = heap->items;
  int64_t least = items[0];
  size_t size = --heap->size;
  int64_t item = items[size];
  size_t at = 0;
  size_t child = 1;
  while (child < size) {
    if (child + 1 < size && items[child + 1] < items[child]) child++;
    if (item <= items[child]) break;
    items[at] = items[child];
    at = child;
    child = 2 * at + 1;
  }
  items[at] = item;
  return least;
}

static void run(int64_t n, int64_t turns) {
  struct heap heap = {0};
  int64_t seed = 42;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 16807 % 2147483647;
    push(&heap, seed);
  }
  int64_t sum = 0;
  for (int64_t turn = 0; turn < turns; turn++) {
    int64_t least = pop(&heap);
    sum = (sum * 31 + least) % 1000000007;
    seed = seed * 16807 % 2147483647;
    push(&heap, least + seed % 100000000);
  }
  while (heap.size > 0) sum = (sum * 31 + pop(&heap)) % 1000000007;
  printf("%" PRId64 "\n", sum);
  free(heap.items);
}

int main(void) {
  run(100000, 1500000);
}
