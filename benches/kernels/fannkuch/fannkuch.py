# Pancake flips over all permutations: short int lists, index arithmetic, nested loops.


def fannkuch(n):
    perm = list(range(n))
    current = list(range(n))
    count = list(range(n))
    checksum = 0
    max_flips = 0
    even = True
    r = n
    while True:
        while r > 1:
            count[r - 1] = r
            r -= 1
        for i in range(n):
            perm[i] = current[i]
        flips = 0
        k = perm[0]
        while k != 0:
            i = 0
            j = k
            while i < j:
                perm[i], perm[j] = perm[j], perm[i]
                i += 1
                j -= 1
            flips += 1
            k = perm[0]
        if flips > max_flips:
            max_flips = flips
        if even:
            checksum += flips
        else:
            checksum -= flips
        even = not even
        while True:
            if r == n:
                print(checksum)
                print(max_flips)
                return
            first = current[0]
            for i in range(r):
                current[i] = current[i + 1]
            current[r] = first
            count[r] -= 1
            if count[r] > 0:
                break
            r += 1


fannkuch(10)
