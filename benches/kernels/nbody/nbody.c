// Five bodies under gravity: double fields of structs in nested loops.

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

struct body {
  double x, y, z;
  double vx, vy, vz;
  double mass;
};

#define SOLAR_MASS 39.47841760435743
#define DAYS 365.24

static void offset_momentum(struct body *bodies, int64_t n) {
  double px = 0.0, py = 0.0, pz = 0.0;
  for (int64_t i = 0; i < n; i++) {
    const struct body *b = &bodies[i];
    px += b->vx * b->mass;
    py += b->vy * b->mass;
    pz += b->vz * b->mass;
  }
  // The sun gets the momentum that keeps the centre of mass at rest.
  bodies[0].vx = -px / SOLAR_MASS;
  bodies[0].vy = -py / SOLAR_MASS;
  bodies[0].vz = -pz / SOLAR_MASS;
}

static void advance(struct body *bodies, int64_t n, double dt) {
  for (int64_t i = 0; i < n; i++) {
    struct body *a = &bodies[i];
    for (int64_t j = i + 1; j < n; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x;
      double dy = a->y - b->y;
      double dz = a->z - b->z;
      double d2 = dx * dx + dy * dy + dz * dz;
      double mag = dt / (d2 * sqrt(d2));
      double ma = a->mass * mag;
      double mb = b->mass * mag;
      a->vx -= dx * mb;
      a->vy -= dy * mb;
      a->vz -= dz * mb;
      b->vx += dx * ma;
      b->vy += dy * ma;
      b->vz += dz * ma;
    }
  }
  for (int64_t i = 0; i < n; i++) {
    struct body *b = &bodies[i];
    b->x += dt * b->vx;
    b->y += dt * b->vy;
    b->z += dt * b->vz;
  }
}

static double energy(const struct body *bodies, int64_t n) {
  double e = 0.0;
  for (int64_t i = 0; i < n; i++) {
    const struct body *a = &bodies[i];
    e += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
    for (int64_t j = i + 1; j < n; j++) {
      const struct body *b = &bodies[j];
      double dx = a->x - b->x;
      double dy = a->y - b->y;
      double dz = a->z - b->z;
      e -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz);
    }
  }
  return e;
}

static void run(int64_t steps) {
  struct body bodies[] = {
    {.mass = SOLAR_MASS},
    {
      .x = 4.84143144246472090,
      .y = -1.16032004402742839,
      .z = -0.103622044471123109,
      .vx = 0.00166007664274403694 * DAYS,
      .vy = 0.00769901118419740425 * DAYS,
      .vz = -0.0000690460016972063023 * DAYS,
      .mass = 0.000954791938424326609 * SOLAR_MASS,
    },
    {
      .x = 8.34336671824457987,
      .y = 4.12479856412430479,
      .z = -0.403523417114321381,
      .vx = -0.00276742510726411104 * DAYS,
      .vy = 0.00499852801234917238 * DAYS,
      .vz = 0.0000230417297573763929 * DAYS,
      .mass = 0.000285885980666130812 * SOLAR_MASS,
    },
    {
      .x = 12.8943695621391310,
      .y = -15.1111514016986312,
      .z = -0.223307578892655734,
      .vx = 0.00296460137564761618 * DAYS,
      .vy = 0.00237847173959480950 * DAYS,
      .vz = -0.0000296589568540237556 * DAYS,
      .mass = 0.0000436624404335156298 * SOLAR_MASS,
    },
    {
      .x = 15.3796971148509165,
      .y = -25.9193146099879641,
      .z = 0.179258772950371181,
      .vx = 0.00268067772490389322 * DAYS,
      .vy = 0.00162824170038242295 * DAYS,
      .vz = -0.0000951592254519715870 * DAYS,
      .mass = 0.0000515138902046611451 * SOLAR_MASS,
    },
  };
  int64_t n = sizeof bodies / sizeof bodies[0];
  offset_momentum(bodies, n);
  printf("%" PRId64 "\n", (int64_t)(-energy(bodies, n) * 1000000000.0));
  for (int64_t step = 0; step < steps; step++) {
    advance(bodies, n, 0.01);
  }
  printf("%" PRId64 "\n", (int64_t)(-energy(bodies, n) * 1000000000.0));
}

int main(void) {
  run(2500000);
}
