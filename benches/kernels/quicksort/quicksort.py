# Quicksort in place on a list of pseudo-random ints.


def random_list(n):
    xs = []
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        xs.append(seed)
    return xs


def quicksort(xs, low, high):
    if low >= high:
        return
    pivot = xs[(low + high) // 2]
    i = low
    j = high
    while i <= j:
        while xs[i] < pivot:
            i += 1
        while xs[j] > pivot:
            j -= 1
        if i <= j:
            xs[i], xs[j] = xs[j], xs[i]
            i += 1
            j -= 1
    quicksort(xs, low, j)
    quicksort(xs, i, high)


def checksum(xs):
    total = 0
    for i, x in enumerate(xs):
        if i > 0 and xs[i - 1] > x:
            return -1
        total = (total * 31 + x) % 1000000007
    return total


xs = random_list(2000000)
quicksort(xs, 0, len(xs) - 1)
print(checksum(xs))
