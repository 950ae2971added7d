// Spectral norm of an infinite matrix given by a formula: ints into floats, calls in loops.

function a(i, j) {
  return 1.0 / (((i + j) * (i + j + 1)) / 2 + i + 1);
}

function multiply(v, out) {
  const n = v.length;
  for (let i = 0; i < n; i++) {
    let sum = 0.0;
    for (let j = 0; j < n; j++) {
      sum += a(i, j) * v[j];
    }
    out[i] = sum;
  }
}

function multiplyTransposed(v, out) {
  const n = v.length;
  for (let i = 0; i < n; i++) {
    let sum = 0.0;
    for (let j = 0; j < n; j++) {
      sum += a(j, i) * v[j];
    }
    out[i] = sum;
  }
}

function filled(n, value) {
  const xs = [];
  for (let i = 0; i < n; i++) xs.push(value);
  return xs;
}

function run(n) {
  const u = filled(n, 1.0);
  const v = filled(n, 0.0);
  const t = filled(n, 0.0);
  for (let round = 0; round < 10; round++) {
    multiply(u, t);
    multiplyTransposed(t, v);
    multiply(v, t);
    multiplyTransposed(t, u);
  }
  let vbv = 0.0;
  let vv = 0.0;
  for (let i = 0; i < n; i++) {
    vbv += u[i] * v[i];
    vv += v[i] * v[i];
  }
  console.log(Math.trunc(Math.sqrt(vbv / vv) * 1000000000.0));
}

run(1600);
