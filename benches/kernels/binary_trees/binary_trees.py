# Short-lived and long-lived binary trees: allocation and collection.


class Node:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left = left
        self.right = right


def make(depth):
    if depth == 0:
        return Node(None, None)
    return Node(make(depth - 1), make(depth - 1))


def count(tree):
    if tree is None:
        return 0
    return 1 + count(tree.left) + count(tree.right)


def run(max_depth):
    print(count(make(max_depth + 1)))
    long_lived = make(max_depth)
    for depth in range(4, max_depth + 1, 2):
        trees = 2 ** (max_depth - depth + 4)
        nodes = 0
        for _ in range(trees):
            nodes += count(make(depth))
        print(trees)
        print(nodes)
    print(count(long_lived))


run(16)
