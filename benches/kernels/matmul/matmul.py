# Naive product of two square matrices: lists of lists of floats.


def matrix(n, seed):
    scale = seed / n / n
    return [[scale * (i - j) * (i + j) for j in range(n)] for i in range(n)]


def multiply(a, b):
    n = len(a)
    rows = []
    for i in range(n):
        ai = a[i]
        row = []
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += ai[k] * b[k][j]
            row.append(total)
        rows.append(row)
    return rows


def run(n):
    c = multiply(matrix(n, 1.0), matrix(n, 2.0))
    trace = 0.0
    for i in range(n):
        trace += c[i][i] * (i + 1)
    print(int(trace * -1000000.0))


run(540)
