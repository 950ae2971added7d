# Counting the substrings of a long text: many short strings as keys of a dictionary.


def random_text(n):
    letters = "acgt"
    parts = []
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        parts.append(letters[seed // 8 % 4])
    return "".join(parts)


def count(text, length):
    counts = {}
    for i in range(len(text) - length + 1):
        piece = text[i : i + length]
        counts[piece] = counts.get(piece, 0) + 1
    return counts


def run(n):
    text = random_text(n)
    for length in range(4, 9):
        counts = count(text, length)
        total = 0
        for i in range(1000):
            total += counts[text[i : i + length]]
        print(len(counts))
        print(total)


run(900000)
