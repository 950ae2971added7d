// A priority queue: a binary heap in an array, whose entries are pushed and popped in turn.

class Heap {
  constructor() {
    this.items = [];
  }

  push(item) {
    const items = this.items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent] <= item) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }

  pop() {
    const items = this.items;
    const least = items[0];
    const item = items.pop();
    const size = items.length;
    if (size === 0) return least;
    let at = 0;
    let child = 1;
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
}

function run(n, turns) {
  const heap = new Heap();
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    heap.push(seed);
  }
  let sum = 0;
  for (let turn = 0; turn < turns; turn++) {
    const least = heap.pop();
    sum = (sum * 31 + least) % 1000000007;
    seed = (seed * 16807) % 2147483647;
    heap.push(least + (seed % 100000000));
  }
  while (heap.items.length > 0) sum = (sum * 31 + heap.pop()) % 1000000007;
  console.log(sum);
}

run(100000, 1500000);
