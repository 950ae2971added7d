-- Particles in a box: int, float and bool fields of tables, read and written in loops.

local function particles(n)
  local out = {}
  local seed = 42
  for i = 0, n - 1 do
    seed = seed * 16807 % 2147483647
    local x = seed % 1000
    seed = seed * 16807 % 2147483647
    local y = seed % 1000
    seed = seed * 16807 % 2147483647
    local vx = (seed % 65 - 32) / 8.0
    seed = seed * 16807 % 2147483647
    local vy = (seed % 65 - 32) / 8.0
    out[i + 1] = { x = x, y = y, vx = vx, vy = vy, bounces = 0, awake = i % 10 ~= 0 }
  end
  return out
end

local function step(ps, size)
  for i = 1, #ps do
    local p = ps[i]
    if p.awake then
      p.x = p.x + p.vx
      p.y = p.y + p.vy
      if p.x < 0.0 or p.x > size then
        p.vx = 0.0 - p.vx
        p.bounces = p.bounces + 1
      end
      if p.y < 0.0 or p.y > size then
        p.vy = 0.0 - p.vy
        p.bounces = p.bounces + 1
      end
    end
  end
end

local function run(n, steps)
  local ps = particles(n)
  for _ = 1, steps do step(ps, 1000.0) end
  local bounces, sum = 0, 0.0
  for i = 1, #ps do
    local p = ps[i]
    bounces = bounces + p.bounces
    sum = sum + p.x * 8.0 + p.y
  end
  print(string.format("%d", bounces))
  print(string.format("%d", math.floor(sum)))
end

run(1000, 100000)
