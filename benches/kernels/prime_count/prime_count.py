# Primes counted by trial division: remainders by a variable.


def is_prime(n):
    if n < 4:
        return n > 1
    if n % 2 == 0 or n % 3 == 0:
        return False
    d = 5
    while d * d <= n:
        if n % d == 0 or n % (d + 2) == 0:
            return False
        d += 6
    return True


def run(limit):
    count = 0
    total = 0
    for n in range(limit):
        if is_prime(n):
            count += 1
            total += n
    print(count)
    print(total)


run(2500000)
