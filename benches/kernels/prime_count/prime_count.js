// Primes counted by trial division: remainders by a variable.

function isPrime(n) {
  if (n < 4) return n > 1;
  if (n % 2 === 0 || n % 3 === 0) return false;
  for (let d = 5; d * d <= n; d += 6) {
    if (n % d === 0 || n % (d + 2) === 0) return false;
  }
  return true;
}

function run(limit) {
  let count = 0;
  let sum = 0;
  for (let n = 0; n < limit; n++) {
    if (isPrime(n)) {
      count++;
      sum += n;
    }
  }
  console.log(count);
  console.log(sum);
}

run(2500000);
