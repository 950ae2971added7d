# Merge sort that makes new lists: slices, appends, short-lived lists of every length.


def random_list(n):
    xs = []
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        xs.append(seed)
    return xs


def merge(a, b):
    out = []
    i = 0
    j = 0
    while i < len(a) and j < len(b):
        if a[i] <= b[j]:
            out.append(a[i])
            i += 1
        else:
            out.append(b[j])
            j += 1
    out.extend(a[i:])
    out.extend(b[j:])
    return out


def merge_sorted(xs):
    n = len(xs)
    if n < 2:
        return xs
    return merge(merge_sorted(xs[: n // 2]), merge_sorted(xs[n // 2 :]))


def checksum(xs):
    total = 0
    for x in xs:
        total = (total * 31 + x) % 1000000007
    return total


print(checksum(merge_sorted(random_list(1300000))))
