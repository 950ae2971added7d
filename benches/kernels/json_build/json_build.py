# Writing JSON text: objects, lists and strings whose quotes need escaping, character by character. Written out, as
# elsewhere: `json` would be C.


class Item:
    __slots__ = ("id", "name", "tags", "active")

    def __init__(self, id_, name, tags, active):
        self.id = id_
        self.name = name
        self.tags = tags
        self.active = active


def make_items(n):
    names = ["plain", "two words", 'a "quoted" one', "back\\slash", "a longer name without anything special"]
    tags = ["new", "old", '"odd"', "large"]
    out = []
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        chosen = [tags[(seed + j) % 4] for j in range(seed % 4)]
        out.append(Item(seed, names[seed % 5], chosen, seed % 3 == 0))
    return out


def quoted(text):
    parts = ['"']
    for c in text:
        if c == '"' or c == "\\":
            parts.append("\\")
        parts.append(c)
    parts.append('"')
    return "".join(parts)


def item_text(item):
    tags = ",".join([quoted(tag) for tag in item.tags])
    active = "true" if item.active else "false"
    return f'{{"id":{item.id},"name":{quoted(item.name)},"tags":[{tags}],"active":{active}}}'


def document(items):
    return "[" + ",".join([item_text(item) for item in items]) + "]"


def run(n, rounds):
    items = make_items(n)
    total = 0
    for round_ in range(rounds):
        items[round_ % n].id = round_
        total += len(document(items))
    slashes = 0
    for c in document(items):
        if c == "\\":
            slashes += 1
    print(total)
    print(slashes)


run(1000, 1100)
