// Calls of small functions, which call still smaller ones.

function clamp(x, low, high) {
  if (x < low) return low;
  if (x > high) return high;
  return x;
}

function mix(a, b) {
  return (a * 31 + b) % 65521;
}

function distance(a, b) {
  if (a < b) return b - a;
  return a - b;
}

function step(x, i) {
  const y = mix(x, i);
  return clamp(distance(x, y) + mix(y, 7), 100, 120000);
}

function run(n) {
  let x = 1;
  let total = 0;
  for (let i = 0; i < n; i++) {
    x = step(x, i);
    total += clamp(x, 1000, 100000);
  }
  console.log(x);
  console.log(total);
}

run(15000000);
