// Counting in a map with int keys.

function count(n, range) {
  const counts = new Map();
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    const key = seed % range;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function run(n, range) {
  const counts = count(n, range);
  let sum = 0;
  for (let key = 0; key < range; key++) {
    const c = counts.get(key);
    if (c !== undefined) sum += (key * c) % 1009;
  }
  console.log(counts.size);
  console.log(sum);
}

run(20000000, 60000);
