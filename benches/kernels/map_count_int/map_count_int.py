# Counting in a dictionary with int keys.


def count(n, limit):
    counts = {}
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        key = seed % limit
        counts[key] = counts.get(key, 0) + 1
    return counts


def run(n, limit):
    counts = count(n, limit)
    total = 0
    for key in range(limit):
        if key in counts:
            total += key * counts[key] % 1009
    print(len(counts))
    print(total)


run(20000000, 60000)
