// Counting the substrings of a long text: many short strings as keys of a map.

function randomText(n) {
  const letters = "acgt";
  let text = "";
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    text += letters[(seed >> 3) % 4];
  }
  return text;
}

function count(text, length) {
  const counts = new Map();
  for (let i = 0; i + length <= text.length; i++) {
    const piece = text.slice(i, i + length);
    counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return counts;
}

function run(n) {
  const text = randomText(n);
  for (let length = 4; length < 9; length++) {
    const counts = count(text, length);
    let sum = 0;
    for (let i = 0; i < 1000; i++) {
      sum += counts.get(text.slice(i, i + length));
    }
    console.log(counts.size);
    console.log(sum);
  }
}

run(900000);
