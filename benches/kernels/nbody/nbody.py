# Five bodies under gravity: float fields of objects in nested loops.

from math import sqrt


class Body:
    __slots__ = ("x", "y", "z", "vx", "vy", "vz", "mass")

    def __init__(self, x, y, z, vx, vy, vz, mass):
        self.x = x
        self.y = y
        self.z = z
        self.vx = vx
        self.vy = vy
        self.vz = vz
        self.mass = mass


SOLAR_MASS = 39.47841760435743
DAYS = 365.24


def planets():
    return [
        Body(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, SOLAR_MASS),
        Body(
            4.84143144246472090,
            -1.16032004402742839,
            -0.103622044471123109,
            0.00166007664274403694 * DAYS,
            0.00769901118419740425 * DAYS,
            -0.0000690460016972063023 * DAYS,
            0.000954791938424326609 * SOLAR_MASS,
        ),
        Body(
            8.34336671824457987,
            4.12479856412430479,
            -0.403523417114321381,
            -0.00276742510726411104 * DAYS,
            0.00499852801234917238 * DAYS,
            0.0000230417297573763929 * DAYS,
            0.000285885980666130812 * SOLAR_MASS,
        ),
        Body(
            12.8943695621391310,
            -15.1111514016986312,
            -0.223307578892655734,
            0.00296460137564761618 * DAYS,
            0.00237847173959480950 * DAYS,
            -0.0000296589568540237556 * DAYS,
            0.0000436624404335156298 * SOLAR_MASS,
        ),
        Body(
            15.3796971148509165,
            -25.9193146099879641,
            0.179258772950371181,
            0.00268067772490389322 * DAYS,
            0.00162824170038242295 * DAYS,
            -0.0000951592254519715870 * DAYS,
            0.0000515138902046611451 * SOLAR_MASS,
        ),
    ]


def offset_momentum(bodies):
    """Gives the sun the momentum that keeps the centre of mass at rest."""
    px = py = pz = 0.0
    for b in bodies:
        px += b.vx * b.mass
        py += b.vy * b.mass
        pz += b.vz * b.mass
    sun = bodies[0]
    sun.vx = -px / SOLAR_MASS
    sun.vy = -py / SOLAR_MASS
    sun.vz = -pz / SOLAR_MASS


def advance(bodies, dt):
    n = len(bodies)
    for i in range(n):
        a = bodies[i]
        for j in range(i + 1, n):
            b = bodies[j]
            dx = a.x - b.x
            dy = a.y - b.y
            dz = a.z - b.z
            d2 = dx * dx + dy * dy + dz * dz
            mag = dt / (d2 * sqrt(d2))
            ma = a.mass * mag
            mb = b.mass * mag
            a.vx -= dx * mb
            a.vy -= dy * mb
            a.vz -= dz * mb
            b.vx += dx * ma
            b.vy += dy * ma
            b.vz += dz * ma
    for b in bodies:
        b.x += dt * b.vx
        b.y += dt * b.vy
        b.z += dt * b.vz


def energy(bodies):
    e = 0.0
    n = len(bodies)
    for i in range(n):
        a = bodies[i]
        e += 0.5 * a.mass * (a.vx * a.vx + a.vy * a.vy + a.vz * a.vz)
        for j in range(i + 1, n):
            b = bodies[j]
            dx = a.x - b.x
            dy = a.y - b.y
            dz = a.z - b.z
            e -= a.mass * b.mass / sqrt(dx * dx + dy * dy + dz * dz)
    return e


def run(steps):
    bodies = planets()
    offset_momentum(bodies)
    print(int(-energy(bodies) * 1000000000.0))
    for _ in range(steps):
        advance(bodies, 0.01)
    print(int(-energy(bodies) * 1000000000.0))


run(2500000)
