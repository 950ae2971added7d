// Counting in a map with string keys.

function vocabulary(n) {
  const words = [];
  for (let i = 0; i < n; i++) {
    words.push("word-" + String((i * 7919) % 100003));
  }
  return words;
}

function count(words, n) {
  const counts = new Map();
  let seed = 42;
  const size = words.length;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    const word = words[seed % size];
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

function run(n, size) {
  const words = vocabulary(size);
  const counts = count(words, n);
  let sum = 0;
  for (let i = 0; i < size; i++) {
    const c = counts.get(words[i]);
    if (c !== undefined) sum += (i * c) % 1009;
  }
  console.log(counts.size);
  console.log(sum);
}

run(6000000, 20000);
