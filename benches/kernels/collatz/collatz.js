// The start below a limit with the longest Collatz sequence: an int loop with branches.

function steps(start) {
  let n = start;
  let count = 0;
  while (n !== 1) {
    if (n % 2 === 0) {
      n = n / 2;
    } else {
      n = 3 * n + 1;
    }
    count++;
  }
  return count;
}

function run(limit) {
  let best = 0;
  let longest = 0;
  for (let start = 1; start < limit; start++) {
    const count = steps(start);
    if (count > longest) {
      longest = count;
      best = start;
    }
  }
  console.log(best);
  console.log(longest);
}

run(1000000);
