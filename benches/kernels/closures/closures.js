// Functions as values: captured constants, captured variables, calls through parameters.

function adder(n) {
  return (x) => x + n;
}

function compose(f, g) {
  return (x) => g(f(x));
}

function counter(step) {
  let count = 0;
  return () => {
    count += step;
    return count;
  };
}

function mapped(xs, f) {
  const out = [];
  for (const x of xs) out.push(f(x));
  return out;
}

function kept(xs, f) {
  const out = [];
  for (const x of xs) {
    if (f(x)) out.push(x);
  }
  return out;
}

function folded(xs, start, f) {
  let acc = start;
  for (const x of xs) acc = f(acc, x);
  return acc;
}

function run(rounds, size) {
  const xs = [];
  for (let i = 0; i < size; i++) xs.push(i);
  const next = counter(3);
  let total = 0;
  for (let round = 0; round < rounds; round++) {
    const shift = compose(adder(round), adder(7));
    const ys = kept(mapped(xs, shift), (x) => x % 3 !== round % 3);
    total = (total + folded(ys, next(), (a, b) => a + b)) % 1000000007;
    for (let i = 0; i < size; i++) {
      total += next() % 7;
    }
  }
  console.log(total);
}

run(12000, 1000);
