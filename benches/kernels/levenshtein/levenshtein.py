# Edit distance of two texts: characters of strings, two rows of ints.


def random_text(n, start):
    letters = "abcdefgh"
    seed = start
    text = []
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        text.append(letters[seed % 8])
    return "".join(text)


def distance(s, t):
    n = len(t)
    previous = list(range(n + 1))
    current = [0] * (n + 1)
    for i, c in enumerate(s):
        current[0] = i + 1
        for j in range(n):
            best = previous[j]
            if c != t[j]:
                best += 1
            deleted = previous[j + 1] + 1
            if deleted < best:
                best = deleted
            inserted = current[j] + 1
            if inserted < best:
                best = inserted
            current[j + 1] = best
        previous, current = current, previous
    return previous[n]


print(distance(random_text(12000, 1), random_text(12800, 2)))
