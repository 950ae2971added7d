// Strings built piece by piece: words, separators and numbers.

const words = ["alpha", "be", "gamma-ray", "d", "epsilon", "zeta", "eta", "th"];

function build(pieces) {
  let text = "";
  for (let i = 0; i < pieces; i++) {
    text += words[i % 8];
    text += ",";
    if (i % 16 === 0) {
      text += String(i);
    }
  }
  return text;
}

let total = 0;
for (let round = 0; round < 150; round++) {
  const text = build(80000 + round);
  total += text.length;
  if (text.slice(-6, -1) === "gamma") {
    total++;
  }
}
console.log(total);
