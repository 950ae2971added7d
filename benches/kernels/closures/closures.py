# Functions as values: captured constants, captured variables, calls through parameters.


def adder(n):
    return lambda x: x + n


def compose(f, g):
    return lambda x: g(f(x))


def counter(step):
    count = 0

    def next_count():
        nonlocal count
        count += step
        return count

    return next_count


def mapped(xs, f):
    return [f(x) for x in xs]


def kept(xs, f):
    return [x for x in xs if f(x)]


def folded(xs, start, f):
    acc = start
    for x in xs:
        acc = f(acc, x)
    return acc


def run(rounds, size):
    xs = list(range(size))
    next_count = counter(3)
    total = 0
    for round_ in range(rounds):
        shift = compose(adder(round_), adder(7))
        ys = kept(mapped(xs, shift), lambda x: x % 3 != round_ % 3)
        total = (total + folded(ys, next_count(), lambda a, b: a + b)) % 1000000007
        for _ in range(size):
            total += next_count() % 7
    print(total)


run(12000, 1000)
