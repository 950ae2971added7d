# Evaluating expression trees: six classes with a method. Values are remainders of a prime.

PRIME = 10007


class Number:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def evaluate(self, variables):
        return self.value


class Variable:
    __slots__ = ("index",)

    def __init__(self, index):
        self.index = index

    def evaluate(self, variables):
        return variables[self.index]


class Negate:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner

    def evaluate(self, variables):
        return (PRIME - self.inner.evaluate(variables)) % PRIME


class Binary:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left = left
        self.right = right


class Add(Binary):
    __slots__ = ()

    def evaluate(self, variables):
        return (self.left.evaluate(variables) + self.right.evaluate(variables)) % PRIME


class Subtract(Binary):
    __slots__ = ()

    def evaluate(self, variables):
        return (self.left.evaluate(variables) + PRIME - self.right.evaluate(variables)) % PRIME


class Multiply(Binary):
    __slots__ = ()

    def evaluate(self, variables):
        return self.left.evaluate(variables) * self.right.evaluate(variables) % PRIME


class Random:
    def __init__(self, seed):
        self.seed = seed

    def draw(self, n):
        self.seed = self.seed * 16807 % 2147483647
        return self.seed % n


def build(depth, random):
    if depth == 0:
        if random.draw(2) == 0:
            return Number(random.draw(PRIME))
        return Variable(random.draw(3))
    kind = random.draw(7)
    if kind == 0:
        return Negate(build(depth - 1, random))
    left = build(depth - 1, random)
    right = build(depth - 1, random)
    if kind < 3:
        return Add(left, right)
    if kind < 5:
        return Subtract(left, right)
    return Multiply(left, right)


def run(depth, rounds):
    e = build(depth, Random(42))
    total = 0
    for round_ in range(rounds):
        total += e.evaluate([round_ % PRIME, round_ * 7 % PRIME, 1])
    print(total)


run(12, 8000)
