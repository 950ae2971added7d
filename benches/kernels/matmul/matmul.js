// Naive product of two square matrices: arrays of arrays of floats.

function matrix(n, seed) {
  const scale = seed / n / n;
  const rows = [];
  for (let i = 0; i < n; i++) {
    const row = [];
    for (let j = 0; j < n; j++) {
      row.push(scale * (i - j) * (i + j));
    }
    rows.push(row);
  }
  return rows;
}

function multiply(a, b) {
  const n = a.length;
  const rows = [];
  for (let i = 0; i < n; i++) {
    const ai = a[i];
    const row = [];
    for (let j = 0; j < n; j++) {
      let sum = 0.0;
      for (let k = 0; k < n; k++) {
        sum += ai[k] * b[k][j];
      }
      row.push(sum);
    }
    rows.push(row);
  }
  return rows;
}

function run(n) {
  const c = multiply(matrix(n, 1.0), matrix(n, 2.0));
  let trace = 0.0;
  for (let i = 0; i < n; i++) {
    trace += c[i][i] * (i + 1);
  }
  console.log(Math.trunc(trace * -1000000.0));
}

run(540);
