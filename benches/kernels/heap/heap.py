# A priority queue: a binary heap in a list, whose entries are pushed and popped in turn. Written out, as elsewhere:
# `heapq` would be C.


def push(items, item):
    at = len(items)
    items.append(item)
    while at > 0:
        parent = (at - 1) // 2
        if items[parent] <= item:
            break
        items[at] = items[parent]
        at = parent
    items[at] = item


def pop(items):
    least = items[0]
    item = items.pop()
    size = len(items)
    if size == 0:
        return least
    at = 0
    child = 1
    while child < size:
        if child + 1 < size and items[child + 1] < items[child]:
            child += 1
        if item <= items[child]:
            break
        items[at] = items[child]
        at = child
        child = 2 * at + 1
    items[at] = item
    return least


def run(n, turns):
    items = []
    seed = 42
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        push(items, seed)
    total = 0
    for _ in range(turns):
        least = pop(items)
        total = (total * 31 + least) % 1000000007
        seed = seed * 16807 % 2147483647
        push(items, least + seed % 100000000)
    while items:
        total = (total * 31 + pop(items)) % 1000000007
    print(total)


run(100000, 1500000)
