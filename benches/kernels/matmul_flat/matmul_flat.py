# Naive product of two square matrices, each in one list of floats, row after row.


def matrix(n, seed):
    scale = seed / n / n
    return [scale * (i - j) * (i + j) for i in range(n) for j in range(n)]


def multiply(a, b, n):
    cells = []
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += a[i * n + k] * b[k * n + j]
            cells.append(total)
    return cells


def run(n):
    c = multiply(matrix(n, 1.0), matrix(n, 2.0), n)
    trace = 0.0
    for i in range(n):
        trace += c[i * n + i] * (i + 1)
    print(int(trace * -1000000.0))


run(640)
