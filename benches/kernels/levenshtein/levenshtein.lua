-- Edit distance of two texts: characters of strings, two rows of ints.

local function random_text(n, start)
  local letters = "abcdefgh"
  local seed = start
  local text = {}
  for i = 1, n do
    seed = seed * 16807 % 2147483647
    local k = seed % 8 + 1
    text[i] = letters:sub(k, k)
  end
  return table.concat(text)
end

local function distance(s, t)
  local byte = string.byte
  local m, n = #s, #t
  local previous, current = {}, {}
  for j = 0, n do
    previous[j] = j
    current[j] = 0
  end
  for i = 1, m do
    current[0] = i
    local c = byte(s, i)
    for j = 1, n do
      local best = previous[j - 1]
      if c ~= byte(t, j) then
        best = best + 1
      end
      local deleted = previous[j] + 1
      if deleted < best then best = deleted end
      local inserted = current[j - 1] + 1
      if inserted < best then best = inserted end
      current[j] = best
    end
    previous, current = current, previous
  end
  return previous[n]
end

print(string.format("%d", distance(random_text(12000, 1), random_text(12800, 2))))
