// Values whose type is known only at run time: mixed numbers and strings.

function mixed(n) {
  const out = [];
  for (let i = 0; i < n; i++) {
    if (i % 5 === 0) {
      out.push("item");
    } else if (i % 3 === 0) {
      out.push(i / 4.0);
    } else {
      out.push(i);
    }
  }
  return out;
}

function smaller(a, b) {
  if (b < a) return b;
  return a;
}

function blend(a, b) {
  return a * 3 + b * 2 - 1;
}

function run(n, rounds) {
  const xs = mixed(n);
  let total = 0;
  let items = 0;
  for (let round = 0; round < rounds; round++) {
    let last = round;
    for (const x of xs) {
      if (x === "item") {
        items++;
      } else {
        total += smaller(blend(x, last), 5000);
        last = x;
      }
    }
  }
  console.log(items);
  console.log(Math.trunc(total));
}

run(1000, 60000);
