# Sieve of Eratosthenes: a list of bools that grows by append, then strided stores.


def prime_sum(limit):
    composite = []
    for _ in range(limit + 1):
        composite.append(False)
    total = 0
    for i in range(2, limit + 1):
        if not composite[i]:
            total += i
            for j in range(i * i, limit + 1, i):
                composite[j] = True
    return total


total = 0
for round_ in range(70):
    total += prime_sum(1000000 + round_)
print(total)
