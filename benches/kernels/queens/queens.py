# All placements of queens on a board: recursion with bool lists as sets.


def place(row, n, columns, rising, falling):
    if row == n:
        return 1
    found = 0
    for column in range(n):
        up = row + column
        down = row - column + n - 1
        if not columns[column] and not rising[up] and not falling[down]:
            columns[column] = True
            rising[up] = True
            falling[down] = True
            found += place(row + 1, n, columns, rising, falling)
            columns[column] = False
            rising[up] = False
            falling[down] = False
    return found


def queens(n):
    return place(0, n, [False] * n, [False] * (2 * n), [False] * (2 * n))


for n in range(4, 14):
    print(queens(n))
