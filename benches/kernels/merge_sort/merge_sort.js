// Merge sort that makes new arrays: slices, appends, short-lived arrays of every length.

function randomList(n) {
  const xs = [];
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    xs.push(seed);
  }
  return xs;
}

function merge(a, b) {
  const out = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] <= b[j]) {
      out.push(a[i++]);
    } else {
      out.push(b[j++]);
    }
  }
  while (i < a.length) out.push(a[i++]);
  while (j < b.length) out.push(b[j++]);
  return out;
}

function sorted(xs) {
  const n = xs.length;
  if (n < 2) return xs;
  const half = n >> 1;
  return merge(sorted(xs.slice(0, half)), sorted(xs.slice(half)));
}

function checksum(xs) {
  let sum = 0;
  for (const x of xs) sum = (sum * 31 + x) % 1000000007;
  return sum;
}

console.log(checksum(sorted(randomList(1300000))));
