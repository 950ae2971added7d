// All placements of queens on a board: recursion with bool arrays as sets.

function filled(n) {
  const xs = [];
  for (let i = 0; i < n; i++) xs.push(false);
  return xs;
}

function place(row, n, columns, rising, falling) {
  if (row === n) return 1;
  let found = 0;
  for (let column = 0; column < n; column++) {
    const up = row + column;
    const down = row - column + n - 1;
    if (!columns[column] && !rising[up] && !falling[down]) {
      columns[column] = true;
      rising[up] = true;
      falling[down] = true;
      found += place(row + 1, n, columns, rising, falling);
      columns[column] = false;
      rising[up] = false;
      falling[down] = false;
    }
  }
  return found;
}

function queens(n) {
  return place(0, n, filled(n), filled(2 * n), filled(2 * n));
}

for (let n = 4; n < 14; n++) {
  console.log(queens(n));
}
