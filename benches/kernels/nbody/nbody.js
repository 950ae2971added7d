// Five bodies under gravity: float fields of objects in nested loops.

class Body {
  constructor(x, y, z, vx, vy, vz, mass) {
    this.x = x;
    this.y = y;
    this.z = z;
    this.vx = vx;
    this.vy = vy;
    this.vz = vz;
    this.mass = mass;
  }
}

const solarMass = 39.47841760435743;
const days = 365.24;

function planets() {
  return [
    new Body(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, solarMass),
    new Body(
      4.84143144246472090,
      -1.16032004402742839,
      -0.103622044471123109,
      0.00166007664274403694 * days,
      0.00769901118419740425 * days,
      -0.0000690460016972063023 * days,
      0.000954791938424326609 * solarMass,
    ),
    new Body(
      8.34336671824457987,
      4.12479856412430479,
      -0.403523417114321381,
      -0.00276742510726411104 * days,
      0.00499852801234917238 * days,
      0.0000230417297573763929 * days,
      0.000285885980666130812 * solarMass,
    ),
    new Body(
      12.8943695621391310,
      -15.1111514016986312,
      -0.223307578892655734,
      0.00296460137564761618 * days,
      0.00237847173959480950 * days,
      -0.0000296589568540237556 * days,
      0.0000436624404335156298 * solarMass,
    ),
    new Body(
      15.3796971148509165,
      -25.9193146099879641,
      0.179258772950371181,
      0.00268067772490389322 * days,
      0.00162824170038242295 * days,
      -0.0000951592254519715870 * days,
      0.0000515138902046611451 * solarMass,
    ),
  ];
}

// Gives the sun the momentum that keeps the centre of mass at rest.
function offsetMomentum(bodies) {
  let px = 0.0;
  let py = 0.0;
  let pz = 0.0;
  for (const b of bodies) {
    px += b.vx * b.mass;
    py += b.vy * b.mass;
    pz += b.vz * b.mass;
  }
  const sun = bodies[0];
  sun.vx = -px / solarMass;
  sun.vy = -py / solarMass;
  sun.vz = -pz / solarMass;
}

function advance(bodies, dt) {
  const n = bodies.length;
  for (let i = 0; i < n; i++) {
    const a = bodies[i];
    for (let j = i + 1; j < n; j++) {
      const b = bodies[j];
      const dx = a.x - b.x;
      const dy = a.y - b.y;
      const dz = a.z - b.z;
      const d2 = dx * dx + dy * dy + dz * dz;
      const mag = dt / (d2 * Math.sqrt(d2));
      const ma = a.mass * mag;
      const mb = b.mass * mag;
      a.vx -= dx * mb;
      a.vy -= dy * mb;
      a.vz -= dz * mb;
      b.vx += dx * ma;
      b.vy += dy * ma;
      b.vz += dz * ma;
    }
  }
  for (let i = 0; i < n; i++) {
    const b = bodies[i];
    b.x += dt * b.vx;
    b.y += dt * b.vy;
    b.z += dt * b.vz;
  }
}

function energy(bodies) {
  let e = 0.0;
  const n = bodies.length;
  for (let i = 0; i < n; i++) {
    const a = bodies[i];
    e += 0.5 * a.mass * (a.vx * a.vx + a.vy * a.vy + a.vz * a.vz);
    for (let j = i + 1; j < n; j++) {
      const b = bodies[j];
      const dx = a.x - b.x;
      const dy = a.y - b.y;
      const dz = a.z - b.z;
      e -= (a.mass * b.mass) / Math.sqrt(dx * dx + dy * dy + dz * dz);
    }
  }
  return e;
}

function run(steps) {
  const bodies = planets();
  offsetMomentum(bodies);
  console.log(Math.trunc(-energy(bodies) * 1000000000.0));
  for (let step = 0; step < steps; step++) {
    advance(bodies, 0.01);
  }
  console.log(Math.trunc(-energy(bodies) * 1000000000.0));
}

run(2500000);
