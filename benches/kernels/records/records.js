// Particles in a box: int, float and bool fields of objects, read and written in loops.

class Particle {
  constructor(x, y, vx, vy, awake) {
    this.x = x;
    this.y = y;
    this.vx = vx;
    this.vy = vy;
    this.bounces = 0;
    this.awake = awake;
  }
}

function particles(n) {
  const out = [];
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 16807) % 2147483647;
    const x = seed % 1000;
    seed = (seed * 16807) % 2147483647;
    const y = seed % 1000;
    seed = (seed * 16807) % 2147483647;
    const vx = ((seed % 65) - 32) / 8.0;
    seed = (seed * 16807) % 2147483647;
    const vy = ((seed % 65) - 32) / 8.0;
    out.push(new Particle(x, y, vx, vy, i % 10 !== 0));
  }
  return out;
}

function step(ps, size) {
  for (const p of ps) {
    if (p.awake) {
      p.x += p.vx;
      p.y += p.vy;
      if (p.x < 0.0 || p.x > size) {
        p.vx = 0.0 - p.vx;
        p.bounces++;
      }
      if (p.y < 0.0 || p.y > size) {
        p.vy = 0.0 - p.vy;
        p.bounces++;
      }
    }
  }
}

function run(n, steps) {
  const ps = particles(n);
  for (let i = 0; i < steps; i++) step(ps, 1000.0);
  let bounces = 0;
  let sum = 0.0;
  for (const p of ps) {
    bounces += p.bounces;
    sum += p.x * 8.0 + p.y;
  }
  console.log(bounces);
  console.log(Math.trunc(sum));
}

run(1000, 100000);
