-- Counting in a table with int keys.

local function count(n, range)
  local counts = {}
  local seed = 42
  for _ = 1, n do
    seed = seed * 16807 % 2147483647
    local key = seed % range
    counts[key] = (counts[key] or 0) + 1
  end
  return counts
end

local function run(n, range)
  local counts = count(n, range)
  local sum, size = 0, 0
  for key = 0, range - 1 do
    local c = counts[key]
    if c then
      size = size + 1
      sum = sum + key * c % 1009
    end
  end
  print(string.format("%d", size))
  print(string.format("%d", sum))
end

run(20000000, 60000)
