# The game of life on a torus: rows of ints, eight neighbours each.


def soup(width, height):
    rows = []
    seed = 42
    for _ in range(height):
        row = []
        for _ in range(width):
            seed = seed * 16807 % 2147483647
            row.append(seed % 2)
        rows.append(row)
    return rows


def next_rows(rows):
    height = len(rows)
    width = len(rows[0])
    out = []
    for y in range(height):
        above = rows[y - 1]
        here = rows[y]
        below = rows[(y + 1) % height]
        row = []
        for x in range(width):
            left = x - 1
            right = x + 1
            if right == width:
                right = 0
            around = (
                above[left]
                + above[x]
                + above[right]
                + here[left]
                + here[right]
                + below[left]
                + below[x]
                + below[right]
            )
            row.append(1 if around == 3 or (around == 2 and here[x] == 1) else 0)
        out.append(row)
    return out


def run(size, generations):
    rows = soup(size, size)
    for _ in range(generations):
        rows = next_rows(rows)
    alive = 0
    total = 0
    for y in range(size):
        for x in range(size):
            if rows[y][x] == 1:
                alive += 1
                total = (total * 31 + y * size + x) % 1000000007
    print(alive)
    print(total)


run(200, 1200)
