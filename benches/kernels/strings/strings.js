// Taking texts apart and putting them together: split, substring, search, case, join.

function sentence(n) {
  const words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"];
  const parts = [];
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    parts.push(words[seed % 9] + String(seed % 10));
  }
  return parts.join(" ");
}

function run(rounds, size) {
  const text = sentence(size);
  let total = 0;
  for (let round = 0; round < rounds; round++) {
    const out = [];
    for (const word of text.split(" ")) {
      const head = word.slice(0, 1);
      const tail = word.slice(1);
      if (tail.indexOf("o") >= 0) {
        out.push(head.toUpperCase() + tail);
      } else {
        out.push(tail + head);
      }
    }
    const line = out.join("-");
    total += line.length;
    const at = (round * 37) % line.length;
    if (line[at] === "-") {
      total++;
    }
  }
  console.log(total);
}

run(5000, 1000);
