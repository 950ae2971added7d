-- Spectral norm of an infinite matrix given by a formula: ints into floats, calls in loops.

local function a(i, j)
  return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1)
end

local function multiply(v, out)
  local n = #v
  for i = 1, n do
    local sum = 0.0
    for j = 1, n do
      sum = sum + a(i - 1, j - 1) * v[j]
    end
    out[i] = sum
  end
end

local function multiply_transposed(v, out)
  local n = #v
  for i = 1, n do
    local sum = 0.0
    for j = 1, n do
      sum = sum + a(j - 1, i - 1) * v[j]
    end
    out[i] = sum
  end
end

local function filled(n, value)
  local xs = {}
  for i = 1, n do xs[i] = value end
  return xs
end

local function run(n)
  local u = filled(n, 1.0)
  local v = filled(n, 0.0)
  local t = filled(n, 0.0)
  for _ = 1, 10 do
    multiply(u, t)
    multiply_transposed(t, v)
    multiply(v, t)
    multiply_transposed(t, u)
  end
  local vbv, vv = 0.0, 0.0
  for i = 1, n do
    vbv = vbv + u[i] * v[i]
    vv = vv + v[i] * v[i]
  end
  print(string.format("%d", math.floor(math.sqrt(vbv / vv) * 1000000000.0)))
end

run(1600)
