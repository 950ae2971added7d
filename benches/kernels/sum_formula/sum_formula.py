# A numeric loop whose result has a closed form: sums of squares plus a constant.


def squares(n, c):
    total = 0
    for i in range(n):
        total += i * i + c
    return total


def run(rounds, n):
    total = 0
    for round_ in range(rounds):
        total = (total + squares(n - round_ % 100, round_)) % 1000000007
    print(total)


run(3000, 100000)
