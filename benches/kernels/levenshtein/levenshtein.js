// Edit distance of two texts: characters of strings, two rows of ints.

function randomText(n, start) {
  const letters = "abcdefgh";
  let seed = start;
  let text = "";
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    text += letters[seed % 8];
  }
  return text;
}

function distance(s, t) {
  const m = s.length;
  const n = t.length;
  let previous = [];
  let current = [];
  for (let j = 0; j <= n; j++) {
    previous.push(j);
    current.push(0);
  }
  for (let i = 0; i < m; i++) {
    current[0] = i + 1;
    const c = s[i];
    for (let j = 0; j < n; j++) {
      let best = previous[j];
      if (c !== t[j]) best++;
      const deleted = previous[j + 1] + 1;
      if (deleted < best) best = deleted;
      const inserted = current[j] + 1;
      if (inserted < best) best = inserted;
      current[j + 1] = best;
    }
    [previous, current] = [current, previous];
  }
  return previous[n];
}

console.log(distance(randomText(12000, 1), randomText(12800, 2)));
