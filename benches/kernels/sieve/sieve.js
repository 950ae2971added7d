// Sieve of Eratosthenes: an array of bools that grows by pushing, then strided stores.

function primeSum(limit) {
  const composite = [];
  for (let i = 0; i <= limit; i++) {
    composite.push(false);
  }
  let sum = 0;
  for (let i = 2; i <= limit; i++) {
    if (!composite[i]) {
      sum += i;
      for (let j = i * i; j <= limit; j += i) {
        composite[j] = true;
      }
    }
  }
  return sum;
}

let total = 0;
for (let round = 0; round < 70; round++) {
  total += primeSum(1000000 + round);
}
console.log(total);
