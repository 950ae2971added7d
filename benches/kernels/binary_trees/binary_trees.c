// Short-lived and long-lived binary trees: allocation and collection.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// A leaf is a null pointer.
struct tree {
  struct tree *left;
  struct tree *right;
};

static struct tree *make(int64_t depth) {
  struct tree *tree = malloc(sizeof *tree);
  if (tree == NULL) abort();
  if (depth == 0) {
    tree->left = NULL;
    tree->right = NULL;
  } else {
    tree->left = make(depth - 1);
    tree->right = make(depth - 1);
  }
  return tree;
}

static void drop(struct tree *tree) {
  if (tree == NULL) return;
  drop(tree->left);
  drop(tree->right);
  free(tree);
}

static int64_t count(const struct tree *tree) {
  if (tree == NULL) return 0;
  return 1 + count(tree->left) + count(tree->right);
}

static int64_t power_of_two(int64_t n) {
  int64_t p = 1;
  for (int64_t i = 0; i < n; i++) p *= 2;
  return p;
}

static void run(int64_t max_depth) {
  struct tree *stretch = make(max_depth + 1);
  printf("%" PRId64 "\n", count(stretch));
  drop(stretch);
  struct tree *long_lived = make(max_depth);
  for (int64_t depth = 4; depth <= max_depth; depth += 2) {
    int64_t trees = power_of_two(max_depth - depth + 4);
    int64_t nodes = 0;
    for (int64_t i = 0; i < trees; i++) {
      struct tree *tree = make(depth);
      nodes += count(tree);
      drop(tree);
    }
    printf("%" PRId64 "\n", trees);
    printf("%" PRId64 "\n", nodes);
  }
  printf("%" PRId64 "\n", count(long_lived));
  drop(long_lived);
}

int main(void) {
  run(16);
}
