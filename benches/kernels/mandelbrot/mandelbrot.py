# Points of the Mandelbrot set: float arithmetic in a loop with an early exit.


def escapes_after(cr, ci, limit):
    zr = 0.0
    zi = 0.0
    for n in range(limit):
        zr2 = zr * zr
        zi2 = zi * zi
        if zr2 + zi2 > 4.0:
            return n
        zi = 2.0 * zr * zi + ci
        zr = zr2 - zi2 + cr
    return limit


def run(size, limit):
    inside = 0
    steps = 0
    for y in range(size):
        ci = 2.0 * y / size - 1.0
        for x in range(size):
            cr = 3.0 * x / size - 2.0
            n = escapes_after(cr, ci, limit)
            steps += n
            if n == limit:
                inside += 1
    print(inside)
    print(steps)


run(700, 400)
