// A numeric loop whose result has a closed form: sums of squares plus a constant.

function squares(n, c) {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    sum += i * i + c;
  }
  return sum;
}

function run(rounds, n) {
  let total = 0;
  for (let round = 0; round < rounds; round++) {
    total = (total + squares(n - (round % 100), round)) % 1000000007;
  }
  console.log(total);
}

run(3000, 100000);
