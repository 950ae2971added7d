// Quicksort in place on an array of pseudo-random ints.

function randomList(n) {
  const xs = [];
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    xs.push(seed);
  }
  return xs;
}

function quicksort(xs, low, high) {
  if (low >= high) return;
  const pivot = xs[(low + high) >> 1];
  let i = low;
  let j = high;
  while (i <= j) {
    while (xs[i] < pivot) i++;
    while (xs[j] > pivot) j--;
    if (i <= j) {
      const t = xs[i];
      xs[i] = xs[j];
      xs[j] = t;
      i++;
      j--;
    }
  }
  quicksort(xs, low, j);
  quicksort(xs, i, high);
}

function checksum(xs) {
  let sum = 0;
  for (let i = 0; i < xs.length; i++) {
    if (i > 0 && xs[i - 1] > xs[i]) return -1;
    sum = (sum * 31 + xs[i]) % 1000000007;
  }
  return sum;
}

const xs = randomList(2000000);
quicksort(xs, 0, xs.length - 1);
console.log(checksum(xs));
