# Particles in a box: int, float and bool fields of objects, read and written in loops.


class Particle:
    __slots__ = ("x", "y", "vx", "vy", "bounces", "awake")

    def __init__(self, x, y, vx, vy, awake):
        self.x = x
        self.y = y
        self.vx = vx
        self.vy = vy
        self.bounces = 0
        self.awake = awake


def particles(n):
    out = []
    seed = 42
    for i in range(n):
        seed = seed * 16807 % 2147483647
        x = float(seed % 1000)
        seed = seed * 16807 % 2147483647
        y = float(seed % 1000)
        seed = seed * 16807 % 2147483647
        vx = (seed % 65 - 32) / 8.0
        seed = seed * 16807 % 2147483647
        vy = (seed % 65 - 32) / 8.0
        out.append(Particle(x, y, vx, vy, i % 10 != 0))
    return out


def step(ps, size):
    for p in ps:
        if p.awake:
            p.x += p.vx
            p.y += p.vy
            if p.x < 0.0 or p.x > size:
                p.vx = 0.0 - p.vx
                p.bounces += 1
            if p.y < 0.0 or p.y > size:
                p.vy = 0.0 - p.vy
                p.bounces += 1


def run(n, steps):
    ps = particles(n)
    for _ in range(steps):
        step(ps, 1000.0)
    bounces = 0
    total = 0.0
    for p in ps:
        bounces += p.bounces
        total += p.x * 8.0 + p.y
    print(bounces)
    print(int(total))


run(1000, 100000)
