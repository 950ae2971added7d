// Evaluating expression trees: objects of six kinds and a recursive `switch`. Values are remainders of a prime.

const prime = 10007;

let seed = 42;

function draw(n) {
  seed = (seed * 16807) % 2147483647;
  return seed % n;
}

function build(depth) {
  if (depth === 0) {
    if (draw(2) === 0) return { kind: "number", value: draw(prime) };
    return { kind: "variable", index: draw(3) };
  }
  const kind = draw(7);
  if (kind === 0) return { kind: "negate", inner: build(depth - 1) };
  const left = build(depth - 1);
  const right = build(depth - 1);
  if (kind < 3) return { kind: "add", left, right };
  if (kind < 5) return { kind: "subtract", left, right };
  return { kind: "multiply", left, right };
}

function evaluate(e, variables) {
  switch (e.kind) {
    case "number":
      return e.value;
    case "variable":
      return variables[e.index];
    case "negate":
      return (prime - evaluate(e.inner, variables)) % prime;
    case "add":
      return (evaluate(e.left, variables) + evaluate(e.right, variables)) % prime;
    case "subtract":
      return (evaluate(e.left, variables) + prime - evaluate(e.right, variables)) % prime;
    default:
      return (evaluate(e.left, variables) * evaluate(e.right, variables)) % prime;
  }
}

function run(depth, rounds) {
  const e = build(depth);
  let total = 0;
  for (let round = 0; round < rounds; round++) {
    total += evaluate(e, [round % prime, (round * 7) % prime, 1]);
  }
  console.log(total);
}

run(12, 8000);
