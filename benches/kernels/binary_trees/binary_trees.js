// Short-lived and long-lived binary trees: allocation and collection.

class Node {
  constructor(left, right) {
    this.left = left;
    this.right = right;
  }
}

function make(depth) {
  if (depth === 0) return new Node(null, null);
  return new Node(make(depth - 1), make(depth - 1));
}

function count(tree) {
  if (tree === null) return 0;
  return 1 + count(tree.left) + count(tree.right);
}

function powerOfTwo(n) {
  let p = 1;
  for (let i = 0; i < n; i++) p *= 2;
  return p;
}

function run(maxDepth) {
  console.log(count(make(maxDepth + 1)));
  const longLived = make(maxDepth);
  for (let depth = 4; depth <= maxDepth; depth += 2) {
    const trees = powerOfTwo(maxDepth - depth + 4);
    let nodes = 0;
    for (let i = 0; i < trees; i++) {
      nodes += count(make(depth));
    }
    console.log(trees);
    console.log(nodes);
  }
  console.log(count(longLived));
}

run(16);
