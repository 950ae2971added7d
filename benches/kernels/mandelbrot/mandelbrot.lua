-- Points of the Mandelbrot set: float arithmetic in a loop with an early exit.

local function escapes_after(cr, ci, limit)
  local zr, zi = 0.0, 0.0
  local n = 0
  while n < limit do
    local zr2 = zr * zr
    local zi2 = zi * zi
    if zr2 + zi2 > 4.0 then return n end
    zi = 2.0 * zr * zi + ci
    zr = zr2 - zi2 + cr
    n = n + 1
  end
  return limit
end

local function run(size, limit)
  local inside, steps = 0, 0
  for y = 0, size - 1 do
    local ci = 2.0 * y / size - 1.0
    for x = 0, size - 1 do
      local cr = 3.0 * x / size - 2.0
      local n = escapes_after(cr, ci, limit)
      steps = steps + n
      if n == limit then inside = inside + 1 end
    end
  end
  print(string.format("%d", inside))
  print(string.format("%d", steps))
end

run(700, 400)
