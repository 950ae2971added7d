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

function run(n)
  local range = 60000
  local counts = count(n, range)
  local sum = 0
  for key = 0, range - 1 do
    local c = counts[key]
    if c then sum = sum + key * c % 1009 end
  end
  return sum
end
