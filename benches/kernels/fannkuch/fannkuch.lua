-- Pancake flips over all permutations: short int tables, index arithmetic, nested loops.

local function numbers(n)
  local xs = {}
  for i = 1, n do xs[i] = i end
  return xs
end

local function fannkuch(n)
  local perm = numbers(n)
  local current = numbers(n)
  local count = numbers(n)
  local checksum, max_flips = 0, 0
  local even = true
  local r = n
  while true do
    while r > 1 do
      count[r] = r
      r = r - 1
    end
    for i = 1, n do perm[i] = current[i] end
    local flips = 0
    local k = perm[1]
    while k ~= 1 do
      local i, j = 1, k
      while i < j do
        perm[i], perm[j] = perm[j], perm[i]
        i = i + 1
        j = j - 1
      end
      flips = flips + 1
      k = perm[1]
    end
    if flips > max_flips then max_flips = flips end
    if even then
      checksum = checksum + flips
    else
      checksum = checksum - flips
    end
    even = not even
    while true do
      if r == n then
        print(string.format("%d", checksum))
        print(string.format("%d", max_flips))
        return
      end
      local first = current[1]
      for i = 1, r do current[i] = current[i + 1] end
      current[r + 1] = first
      count[r + 1] = count[r + 1] - 1
      if count[r + 1] > 0 then break end
      r = r + 1
    end
  end
end

fannkuch(10)
