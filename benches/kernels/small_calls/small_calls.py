# Calls of small functions, which call still smaller ones.


def clamp(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x


def mix(a, b):
    return (a * 31 + b) % 65521


def distance(a, b):
    if a < b:
        return b - a
    return a - b


def step(x, i):
    y = mix(x, i)
    return clamp(distance(x, y) + mix(y, 7), 100, 120000)


def run(n):
    x = 1
    total = 0
    for i in range(n):
        x = step(x, i)
        total += clamp(x, 1000, 100000)
    print(x)
    print(total)


run(15000000)
