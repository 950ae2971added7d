-- Calls of small functions, which call still smaller ones.

local function clamp(x, low, high)
  if x < low then return low end
  if x > high then return high end
  return x
end

local function mix(a, b)
  return (a * 31 + b) % 65521
end

local function distance(a, b)
  if a < b then return b - a end
  return a - b
end

local function step(x, i)
  local y = mix(x, i)
  return clamp(distance(x, y) + mix(y, 7), 100, 120000)
end

local function run(n)
  local x = 1
  local total = 0
  for i = 0, n - 1 do
    x = step(x, i)
    total = total + clamp(x, 1000, 100000)
  end
  print(string.format("%d", x))
  print(string.format("%d", total))
end

run(15000000)
