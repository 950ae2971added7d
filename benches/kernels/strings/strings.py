# Taking texts apart and putting them together: split, substring, search, case, join.


def sentence(n):
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
    parts = []
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        parts.append(words[seed % 9] + str(seed % 10))
    return " ".join(parts)


def run(rounds, size):
    text = sentence(size)
    total = 0
    for round_ in range(rounds):
        out = []
        for word in text.split(" "):
            head = word[:1]
            tail = word[1:]
            if tail.find("o") >= 0:
                out.append(head.upper() + tail)
            else:
                out.append(tail + head)
        line = "-".join(out)
        total += len(line)
        at = round_ * 37 % len(line)
        if line[at] == "-":
            total += 1
    print(total)


run(5000, 1000)
