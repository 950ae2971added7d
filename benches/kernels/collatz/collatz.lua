-- The start below a limit with the longest Collatz sequence: an int loop with branches.

local function steps(start)
  local n = start
  local count = 0
  while n ~= 1 do
    if n % 2 == 0 then
      n = n / 2
    else
      n = 3 * n + 1
    end
    count = count + 1
  end
  return count
end

local function run(limit)
  local best, longest = 0, 0
  for start = 1, limit - 1 do
    local count = steps(start)
    if count > longest then
      longest = count
      best = start
    end
  end
  print(string.format("%d", best))
  print(string.format("%d", longest))
end

run(1000000)
