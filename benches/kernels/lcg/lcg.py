# A numeric loop without a closed form: pseudo-random numbers, each made from the one before.


def run(n):
    seed = 42
    odd = 0
    falls = 0
    for _ in range(n):
        next_seed = seed * 16807 % 2147483647
        if next_seed % 2 == 1:
            odd += 1
        if next_seed < seed:
            falls += 1
        seed = next_seed
    print(odd)
    print(falls)
    print(seed)


run(30000000)
