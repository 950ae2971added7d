// A numeric loop without a closed form: pseudo-random numbers, each made from the one before.

function run(n) {
  let seed = 42;
  let odd = 0;
  let falls = 0;
  for (let i = 0; i < n; i++) {
    const next = (seed * 16807) % 2147483647;
    if (next % 2 === 1) odd++;
    if (next < seed) falls++;
    seed = next;
  }
  console.log(odd);
  console.log(falls);
  console.log(seed);
}

run(30000000);
