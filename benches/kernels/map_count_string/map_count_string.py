# Counting in a dictionary with string keys.


def vocabulary(n):
    return ["word-" + str(i * 7919 % 100003) for i in range(n)]


def count(words, n):
    counts = {}
    seed = 42
    size = len(words)
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        word = words[seed % size]
        counts[word] = counts.get(word, 0) + 1
    return counts


def run(n, size):
    words = vocabulary(size)
    counts = count(words, n)
    total = 0
    for i, word in enumerate(words):
        if word in counts:
            total += i * counts[word] % 1009
    print(len(counts))
    print(total)


run(6000000, 20000)
