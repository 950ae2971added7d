// Pancake flips over all permutations: short int arrays, index arithmetic, nested loops.

function numbers(n) {
  const xs = [];
  for (let i = 0; i < n; i++) xs.push(i);
  return xs;
}

function fannkuch(n) {
  const perm = numbers(n);
  const current = numbers(n);
  const count = numbers(n);
  let checksum = 0;
  let maxFlips = 0;
  let even = true;
  let r = n;
  while (true) {
    while (r > 1) {
      count[r - 1] = r;
      r--;
    }
    for (let i = 0; i < n; i++) perm[i] = current[i];
    let flips = 0;
    let k = perm[0];
    while (k !== 0) {
      let i = 0;
      let j = k;
      while (i < j) {
        const t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
        i++;
        j--;
      }
      flips++;
      k = perm[0];
    }
    if (flips > maxFlips) maxFlips = flips;
    if (even) {
      checksum += flips;
    } else {
      checksum -= flips;
    }
    even = !even;
    while (true) {
      if (r === n) {
        console.log(checksum);
        console.log(maxFlips);
        return;
      }
      const first = current[0];
      for (let i = 0; i < r; i++) current[i] = current[i + 1];
      current[r] = first;
      count[r]--;
      if (count[r] > 0) break;
      r++;
    }
  }
}

fannkuch(10);
