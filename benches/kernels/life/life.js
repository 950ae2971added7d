// The game of life on a torus: rows of ints, eight neighbours each.

function soup(width, height) {
  const rows = [];
  let seed = 42;
  for (let y = 0; y < height; y++) {
    const row = [];
    for (let x = 0; x < width; x++) {
      seed = (seed * 16807) % 2147483647;
      row.push(seed % 2);
    }
    rows.push(row);
  }
  return rows;
}

function next(rows) {
  const height = rows.length;
  const width = rows[0].length;
  const out = [];
  for (let y = 0; y < height; y++) {
    const above = rows[(y + height - 1) % height];
    const here = rows[y];
    const below = rows[(y + 1) % height];
    const row = [];
    for (let x = 0; x < width; x++) {
      const left = x === 0 ? width - 1 : x - 1;
      const right = x + 1 === width ? 0 : x + 1;
      const around =
        above[left] + above[x] + above[right] + here[left] + here[right] + below[left] + below[x] + below[right];
      row.push(around === 3 || (around === 2 && here[x] === 1) ? 1 : 0);
    }
    out.push(row);
  }
  return out;
}

function run(size, generations) {
  let rows = soup(size, size);
  for (let generation = 0; generation < generations; generation++) {
    rows = next(rows);
  }
  let alive = 0;
  let sum = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (rows[y][x] === 1) {
        alive++;
        sum = (sum * 31 + y * size + x) % 1000000007;
      }
    }
  }
  console.log(alive);
  console.log(sum);
}

run(200, 1200);
