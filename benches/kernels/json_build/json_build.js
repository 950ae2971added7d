// Writing JSON text: objects, arrays and strings whose quotes need escaping, character by character. Written out, as
// elsewhere: `JSON.stringify` would be C++.

function makeItems(n) {
  const names = ["plain", "two words", 'a "quoted" one', "back\\slash", "a longer name without anything special"];
  const tags = ["new", "old", '"odd"', "large"];
  const out = [];
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    const chosen = [];
    for (let j = 0; j < seed % 4; j++) {
      chosen.push(tags[(seed + j) % 4]);
    }
    out.push({ id: seed, name: names[seed % 5], tags: chosen, active: seed % 3 === 0 });
  }
  return out;
}

function quoted(text) {
  let out = '"';
  for (const c of text) {
    if (c === '"' || c === "\\") out += "\\";
    out += c;
  }
  return out + '"';
}

function itemText(item) {
  let tags = "[";
  let first = true;
  for (const tag of item.tags) {
    if (!first) tags += ",";
    first = false;
    tags += quoted(tag);
  }
  tags += "]";
  return `{"id":${item.id},"name":${quoted(item.name)},"tags":${tags},"active":${item.active}}`;
}

function documentText(items) {
  let text = "[";
  for (let i = 0; i < items.length; i++) {
    if (i > 0) text += ",";
    text += itemText(items[i]);
  }
  return text + "]";
}

function run(n, rounds) {
  const all = makeItems(n);
  let total = 0;
  for (let round = 0; round < rounds; round++) {
    all[round % n].id = round;
    total += documentText(all).length;
  }
  let slashes = 0;
  for (const c of documentText(all)) {
    if (c === "\\") slashes++;
  }
  console.log(total);
  console.log(slashes);
}

run(1000, 1100);
