// Points of the Mandelbrot set: float arithmetic in a loop with an early exit.

function escapesAfter(cr, ci, limit) {
  let zr = 0.0;
  let zi = 0.0;
  let n = 0;
  while (n < limit) {
    const zr2 = zr * zr;
    const zi2 = zi * zi;
    if (zr2 + zi2 > 4.0) return n;
    zi = 2.0 * zr * zi + ci;
    zr = zr2 - zi2 + cr;
    n++;
  }
  return limit;
}

function run(size, limit) {
  let inside = 0;
  let steps = 0;
  for (let y = 0; y < size; y++) {
    const ci = (2.0 * y) / size - 1.0;
    for (let x = 0; x < size; x++) {
      const cr = (3.0 * x) / size - 2.0;
      const n = escapesAfter(cr, ci, limit);
      steps += n;
      if (n === limit) inside++;
    }
  }
  console.log(inside);
  console.log(steps);
}

run(700, 400);
