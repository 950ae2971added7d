// Naive product of two square matrices, each in one array, row after row.

function matrix(n, seed) {
  const scale = seed / n / n;
  const cells = [];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      cells.push(scale * (i - j) * (i + j));
    }
  }
  return cells;
}

function multiply(a, b, n) {
  const cells = [];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0.0;
      for (let k = 0; k < n; k++) {
        sum += a[i * n + k] * b[k * n + j];
      }
      cells.push(sum);
    }
  }
  return cells;
}

function run(n) {
  const c = multiply(matrix(n, 1.0), matrix(n, 2.0), n);
  let trace = 0.0;
  for (let i = 0; i < n; i++) {
    trace += c[i * n + i] * (i + 1);
  }
  console.log(Math.trunc(trace * -1000000.0));
}

run(640);
