# The start below a limit with the longest Collatz sequence: an int loop with branches.


def steps(start):
    n = start
    count = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        count += 1
    return count


def run(limit):
    best = 0
    longest = 0
    for start in range(1, limit):
        count = steps(start)
        if count > longest:
            longest = count
            best = start
    print(best)
    print(longest)


run(1000000)
